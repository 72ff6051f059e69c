"""Recordings of one's own with their labels, and what is said when the two do not fit."""

from pathlib import Path

import numpy as np
import pytest

from featurizers.media import write_audio
from pipelines.corpora import DESED, EventTable
from pipelines.corpora.desed import PARTS
from pipelines.corpora.table_formats import TableError
from pipelines.errors import UserError
from pipelines.events import Event
from pipelines.recipe import load_recipe

RATE_HZ = 8000


def put_audio(path: Path, seconds: float = 2.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, np.zeros(round(seconds * RATE_HZ), dtype=np.float32), RATE_HZ)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    for place in ("train/a.flac", "train/b.flac", "val/c.flac", "test/d.flac"):
        put_audio(tmp_path / "audio" / place)
    return tmp_path / "audio"


def put(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_rows_become_recordings_with_splits_by_folder(audio: Path, tmp_path: Path) -> None:
    text = "file,onset,offset,label\ntrain/a.flac,1.0,1.5,dog\na,0.25,0.5,cat\nc.flac,,,\nd.flac,0,2,dog\n"
    corpus = EventTable(str(audio), put(tmp_path / "events.csv", text))
    assert corpus.labels == ("cat", "dog")
    a, d, c = corpus.prepare(tmp_path)  # by path: test/d, train/a, val/c
    a, d = d, a
    assert (a.source, a.split) == (audio / "train" / "a.flac", "train")
    assert a.events == (Event(0.25, 0.5, "cat"), Event(1.0, 1.5, "dog"))
    assert (a.clip_labels, a.labelled_spans) == (None, None)
    assert (c.split, c.events, c.labelled_spans) == ("validation", (), None)
    assert d.split == "test"
    assert "onset_seconds from 'onset'" in corpus.card()


def test_one_table_per_recording_and_none_empty_is_lost(audio: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    put(labels / "a.txt", "0.5\t1.0\tknock\n")
    put(labels / "c.txt", "")
    put(labels / "d.Table.1.selections.txt", "Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n")
    recordings = EventTable(str(audio), str(labels / "*.txt")).prepare(tmp_path)
    assert {r.source.stem: len(r.events) for r in recordings} == {"a": 1, "c": 0, "d": 0}


def test_weak_clips_have_clip_labels_and_no_moment_annotated(audio: Path, tmp_path: Path) -> None:
    weak = put(tmp_path / "weak.tsv", "filename\tevent_labels\na.flac\tdog,cat\n")
    strong = put(tmp_path / "strong.tsv", "filename\tonset\toffset\tevent_label\nb.flac\t0\t1\tdog\n")
    b, a = sorted(EventTable(str(audio), [weak, strong]).prepare(tmp_path), key=lambda r: r.clip_labels is not None)
    assert (a.clip_labels, a.labelled_spans, a.events) == (("dog", "cat"), (), ())
    assert (b.clip_labels, b.labelled_spans) == (None, None)


def test_labelled_spans_and_a_table_of_files(audio: Path, tmp_path: Path) -> None:
    events = put(tmp_path / "events.csv", "file,onset,offset,label\na.flac,0.5,1,dog\n")
    spans = put(tmp_path / "spans.csv", "file,onset,offset\na.flac,1.5,2\na.flac,0,1\n")
    files = put(tmp_path / "index.csv", "file,label,source_group,split\na.flac,x,g1,train\nb.flac,x,g2,test\n")
    a, b = EventTable(str(audio), events, files=files, labelled_spans=spans).prepare(tmp_path)
    assert (a.split, a.group, a.labelled_spans) == ("train", "g1", ((0.0, 1.0), (1.5, 2.0)))
    assert (b.split, b.group, b.events, b.labelled_spans) == ("test", "g2", (), None)


def test_splits_by_lists_folders_and_patterns(audio: Path, tmp_path: Path) -> None:
    events = put(tmp_path / "events.csv", "file,onset,offset,label\na,0,1,x\nb,0,1,x\nc,0,1,x\nd,0,1,x\n")
    listed = put(tmp_path / "test.txt", "c.flac\nb\n")
    splits = {"train": ["train/a*"], "validation": ["test"], "test": [f"@{listed}"]}
    recordings = EventTable(str(audio), events, splits=splits).prepare(tmp_path)
    assert {r.source.stem: r.split for r in recordings} == {
        "a": "train", "b": "test", "c": "test", "d": "validation",
    }  # fmt: skip
    with pytest.raises(UserError, match=r"c\.flac belongs to no split"):
        EventTable(str(audio), events, splits={"train": ["train"], "test": ["test"]}).prepare(tmp_path)
    with pytest.raises(UserError, match="belongs to both train and test"):
        EventTable(str(audio), events, splits={"train": ["*"], "test": ["test"]}).prepare(tmp_path)


def test_no_split_is_ever_drawn(tmp_path: Path) -> None:
    put_audio(tmp_path / "audio" / "a.flac")
    events = put(tmp_path / "events.csv", "file,onset,offset,label\na,0,1,x\n")
    with pytest.raises(UserError, match="no split is known; a split is one of train, validation, test; add a column"):
        EventTable(str(tmp_path / "audio"), events).prepare(tmp_path)


def test_a_group_in_two_splits_is_refused(audio: Path, tmp_path: Path) -> None:
    text = "file,onset,offset,label,split,group\na,0,1,x,train,fox 7\nd,0,1,x,test,fox 7\n"
    with pytest.raises(UserError, match=r"group 'fox 7' is in two splits: .*d\.flac in test, .*a\.flac in train"):
        EventTable(str(audio), put(tmp_path / "events.csv", text)).prepare(tmp_path)


def test_times_just_past_the_end_are_cut_and_others_named(audio: Path, tmp_path: Path) -> None:
    within = put(tmp_path / "within.csv", "file,onset,offset,label\na.flac,1,2.05,x\n")
    assert EventTable(str(audio), within).prepare(tmp_path)[0].events == (Event(1.0, 2.0, "x"),)
    past = put(tmp_path / "past.csv", "file,onset,offset,label\nb.flac,0,1,x\na.flac,1,2.5,x\n")
    with pytest.raises(TableError, match=r"past.csv, line 3: offset 2.5 s lies past the end of a.flac \(2.000 s\)"):
        EventTable(str(audio), past).prepare(tmp_path)


MISTAKES = {
    "unknown file": ("aa.flac,0,1,dog", "line 2: there is no recording 'aa.flac' in .*did you mean"),
    "ambiguous file": ("twin,0,1,dog", "line 2: 'twin' may be .*test/twin.flac or .*train/twin.flac"),
    "unknown label": ("a.flac,0,1,dgo", "line 2: label 'dgo' is none of dog, cat; did you mean dog"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_rows_that_do_not_fit_are_named_by_file_and_line(mistake: str, audio: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        put_audio(audio / split / "twin.flac")
    row, message = MISTAKES[mistake]
    table = put(tmp_path / "events.csv", f"file,onset,offset,label\n{row}\n")
    with pytest.raises(TableError, match=f"events.csv, {message}"):
        EventTable(str(audio), table, labels=["dog", "cat"]).prepare(tmp_path)


def test_ignored_labels_leave_recordings_without_events(audio: Path, tmp_path: Path) -> None:
    table = put(tmp_path / "events.csv", "file,onset,offset,label\na.flac,0,1,unsure\n")
    corpus = EventTable(str(audio), table, labels=["dog"], ignored_labels=["unsure"])
    assert corpus.labels == ("dog",)
    assert corpus.prepare(tmp_path)[0].events == ()


def test_missing_tables_and_folders_are_named(audio: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        _ = EventTable(str(audio), str(tmp_path / "*.csv")).labels
    table = put(tmp_path / "events.csv", "file,onset,offset,label\na,0,1,x\n")
    with pytest.raises(UserError, match="is no folder"):
        EventTable(str(tmp_path / "nowhere"), table).prepare(tmp_path)
    with pytest.raises(UserError, match="splits names 'training'"):
        EventTable(str(audio), table, splits={"training": []})


def test_a_recipe_can_name_the_corpus(audio: Path, tmp_path: Path) -> None:
    recipe = Path(__file__).parents[3] / "recipes" / "kws.yaml"
    table = put(tmp_path / "events.csv", "file;von;bis;label\na.flac;0;1;dog\n")
    text = recipe.read_text().splitlines()
    begin = next(n for n, line in enumerate(text) if line.startswith("corpus:"))
    end = next(n for n, line in enumerate(text) if n > begin and line and not line.startswith(" "))
    text[begin:end] = [
        "corpus:",
        "  class_path: pipelines.corpora.EventTable",
        "  init_args:",
        f"    audio: {audio}",
        f"    tables: [{table}]",
        "    columns: {onset_seconds: von, offset_seconds: bis}",
        "    separator: ';'",
        "    splits: {train: [train], validation: [val], test: [test]}",
    ]
    corpus = load_recipe(put(tmp_path / "own.yaml", "\n".join(text))).corpus.build()
    assert corpus.labels == ("dog",)
    assert corpus.prepare(tmp_path)[0].events == (Event(0.0, 1.0, "dog"),)


def _put_desed(root: Path) -> None:
    strong = "filename\tonset\toffset\tevent_label\n"
    for part in PARTS:
        put_audio(root / part.audio / "Yabc_30.000_40.000.wav")
        if part.table is not None:
            (root / part.table).parent.mkdir(parents=True, exist_ok=True)
            rows = "Yabc_30.000_40.000.wav\t0.5\t2.3\tDog\nYgone_0.000_10.000.wav\t0\t1\tCat\n"
            weak = "filename\tevent_labels\nYabc_30.000_40.000.wav\tDog,Speech\n"
            put(root / part.table, weak if part.name == "weak" else strong + rows)


def test_desed_is_read_from_its_own_folders(tmp_path: Path) -> None:
    _put_desed(tmp_path)
    corpus = DESED(str(tmp_path), parts=("weak", "unlabelled", "strong", "synthetic_validation", "validation"))
    of = {recording.kind: recording for recording in corpus.prepare(tmp_path)}
    assert (of["weak"].clip_labels, of["weak"].labelled_spans, of["weak"].split) == (("Dog", "Speech"), (), "train")
    assert (of["unlabelled"].clip_labels, of["unlabelled"].labelled_spans) == (None, ())
    assert of["strong"].events == (Event(0.5, 2.0, "Dog"),)  # 2.3 s is past the end of the clip by less than 0.5 s
    assert (of["synthetic_validation"].split, of["validation"].split) == ("validation", "test")
    assert of["validation"].group == "Yabc"
    assert "1 clips of strong were not there" in corpus.card()


def test_desed_names_the_part_that_is_missing(tmp_path: Path) -> None:
    _put_desed(tmp_path)
    (tmp_path / "metadata/train/audioset_strong.tsv").unlink()
    with pytest.raises(UserError, match=r"audioset_strong\.tsv is missing; leave its part out"):
        DESED(str(tmp_path), parts=("strong",)).prepare(tmp_path)


def test_labels_can_count_as_others(audio: Path, tmp_path: Path) -> None:
    text = "file,onset,offset,label\ntrain/a.flac,1.0,1.5,nail\ntest/d.flac,0,1,pad\nval/c.flac,0,1,tap\n"
    table = put(tmp_path / "events.csv", text)
    corpus = EventTable(str(audio), table, labels=["tap"], renamed_labels={"nail": "tap", "pad": "tap"})
    assert {event.label for recording in corpus.prepare(tmp_path) for event in recording.events} == {"tap"}
    assert EventTable(str(audio), table, renamed_labels={"nail": "tap", "pad": "tap"}).labels == ("tap",)
    assert EventTable(str(audio), table, renamed_labels={"nail": "hard", "*": "soft"}).labels == ("hard", "soft")


def test_tables_are_looked_for_beside_the_recordings_too(audio: Path) -> None:
    put(audio / "events.csv", "file,onset,offset,label\ntrain/a.flac,1.0,1.5,dog\n")
    put(audio / "index.csv", "file\ntrain/a.flac\nval/c.flac\n")
    recordings = EventTable(str(audio), "events.csv", files="index.csv").prepare(audio)
    assert [(r.source.stem, len(r.events)) for r in recordings] == [("a", 1), ("c", 0)]


def test_a_recording_is_cut_in_time_and_never_within_an_event(tmp_path: Path) -> None:
    put_audio(tmp_path / "one.flac", 10.0)
    rows = ["0.5,1.0,a", "4.5,5.25,a", "5.1,6.0,b", "6.2,6.4,a", "7.75,8.0,b", "9.0,9.5,a"]
    put(tmp_path / "events.csv", "file,onset,offset,label\n" + "".join(f"one,{row}\n" for row in rows))
    shares = {"train": 0.5, "validation": 0.25, "test": 0.25}
    parts = EventTable(str(tmp_path), "events.csv", time_shares=shares).prepare(tmp_path)
    # 5.0 lies within the event that ends at 5.25, and this within the one that ends at 6.0; 7.5 lies in none
    assert [part.split for part in parts] == ["train", "validation", "test"]
    assert [part.labelled_spans for part in parts] == [((0.0, 6.0),), ((6.0, 7.5),), ((7.5, 10.0),)]
    assert [[e.onset_seconds for e in part.events] for part in parts] == [[0.5, 4.5, 5.1], [6.2], [7.75, 9.0]]


def test_time_shares_that_make_no_sense_are_refused(audio: Path) -> None:
    for given, told in (
        ({"time_shares": {"train": 0.5, "test": 0.4}}, "must be above 0 and add up to 1"),
        ({"time_shares": {"train": 0.5, "dev": 0.5}}, "time_shares names 'dev'"),
        ({"time_shares": {"train": 1.0}, "splits": {"train": ["a"]}}, "leave one of them out"),
    ):
        with pytest.raises(UserError, match=told):
            EventTable(str(audio), "events.csv", **given)
