"""Verdicts on found events become a corpus: accepted are there, rejected are not, of the rest nobody knows."""

from pathlib import Path

import numpy as np
import pytest

from featurizers import Grid, write_audio
from pipelines.corpora import EventTable
from pipelines.corpora.table_formats import TableError
from pipelines.corpora.table_writing import write_table
from pipelines.corpora.tables import read_table
from pipelines.errors import UserError
from pipelines.events import Event
from pipelines.tasks import SoundEventDetection

HEAD = "file,onset_seconds,offset_seconds,label,score,verdict\n"


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    for place in ("train/a.flac", "train/b.flac", "train/c.flac"):
        (tmp_path / "audio" / place).parent.mkdir(parents=True, exist_ok=True)
        write_audio(tmp_path / "audio" / place, np.zeros(80_000, dtype=np.float32), 8000)
    return tmp_path / "audio"


def corpus(audio: Path, text: str, **options: object) -> EventTable:
    table = audio.parent / "verdicts.csv"
    table.write_text(HEAD + text)
    return EventTable(str(audio), str(table), **options)  # type: ignore[arg-type]


def test_only_what_was_reviewed_counts_as_labelled(audio: Path, tmp_path: Path) -> None:
    found = corpus(
        audio,
        "train/a.flac,1,2,dog,0.9,accept\ntrain/a.flac,4,5,dog,0.8,reject\ntrain/a.flac,7,8,dog,0.7,unsure\n"
        "train/a.flac,8,9,dog,0.6,\ntrain/b.flac,1,2,cat,0.5,reject\ntrain/c.flac,1,2,dog,0.5,\n",
    )
    a, b = found.prepare(tmp_path)  # in c nobody judged anything
    assert a.events == (Event(1.0, 2.0, "dog", 0.9),)
    assert a.labelled_spans == ((1.0, 2.0), (4.0, 5.0))
    assert (b.events, b.labelled_spans, b.clip_labels) == ((), ((1.0, 2.0),), None)
    assert found.labels == ("dog",)  # no cat was ever accepted


def test_a_rejected_event_teaches_that_nothing_is_there_and_the_rest_teaches_nothing(
    audio: Path, tmp_path: Path
) -> None:
    text = "a,1,2,dog,0.9,accept\na,4,5,dog,0.8,reject\na,7,8,dog,0.7,unsure\n"
    (recording,) = corpus(audio, text).prepare(tmp_path)
    targets = SoundEventDetection().targets(recording, ["dog"], Grid(0.5), 20)
    assert targets.labels[:, 0].nonzero()[:, 0].tolist() == [2, 3]
    assert targets.weights[:, 0].nonzero()[:, 0].tolist() == [2, 3, 8, 9]


def test_where_an_event_that_nobody_judged_overlaps_nothing_is_labelled(audio: Path, tmp_path: Path) -> None:
    text = (
        "a,1,4,dog,0.9,accept\na,2,3,cat,0.8,unsure\na,3.5,6,cat,0.8,\na,3,3.25,dog,0.7,reject\na,8,9,dog,0.7,reject\n"
    )
    (recording,) = corpus(audio, text).prepare(tmp_path)
    assert recording.labelled_spans == ((1.0, 2.0), (3.0, 3.5), (8.0, 9.0))


def test_files_are_found_by_the_path_that_the_job_knew(audio: Path, tmp_path: Path) -> None:
    text = "/elsewhere/archive/train/a.flac,1,2,dog,0.9,accept\n"
    (recording,) = corpus(audio, text).prepare(tmp_path)
    assert recording.source == audio / "train" / "a.flac"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,1,2,dog,0.9,acept\n", "line 2: verdict 'acept' is none of accept, reject, unsure; did you mean accept?"),
        ("a,1,2,dog,0.9,yes\n", "line 2: verdict 'yes' is none of .*; leave it empty where nobody judged"),
    ],
)
def test_an_unknown_verdict_is_named_with_its_line(audio: Path, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        corpus(audio, text).prepare(tmp_path)


def test_two_reviewers_who_disagree_are_told(audio: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'dog' at 1 s is accepted in one row and rejected in another; keep one"):
        corpus(audio, "a,1,2,dog,0.9,accept\na,1,2,dog,0.9,reject\n").prepare(tmp_path)


def test_verdicts_and_complete_annotation_of_one_recording_need_a_word_on_where_it_is_complete(
    audio: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text("file,onset,offset,label\na,1,2,dog\n")
    (tmp_path / "spans.csv").write_text("file,onset,offset\na,0,3\n")
    tables = [str(tmp_path / "labels.csv"), str(tmp_path / "verdicts.csv")]
    corpus(audio, "a,4,5,dog,0.9,accept\nb,4,5,dog,0.9,reject\n")
    with pytest.raises(UserError, match=r"one table annotates all of it, another has verdicts .*labelled_spans"):
        EventTable(str(audio), tables).prepare(tmp_path)
    a, b = EventTable(str(audio), tables, labelled_spans=str(tmp_path / "spans.csv")).prepare(tmp_path)
    assert [event[:2] for event in a.events] == [(1.0, 2.0), (4.0, 5.0)]
    assert a.labelled_spans == ((0.0, 3.0), (4.0, 5.0))
    assert b.labelled_spans == ((4.0, 5.0),)


@pytest.mark.parametrize("name", ["copy.csv", "copy.parquet"])
def test_written_verdicts_are_read_again(audio: Path, tmp_path: Path, name: str) -> None:
    corpus(audio, "a,1,2,dog,0.9,accept\na,4,5,dog,0.8,\nb,7,8,dog,0.7,unsure\n")
    rows = read_table(tmp_path / "verdicts.csv").rows
    write_table(tmp_path / name, rows)
    assert [row[1:] for row in read_table(tmp_path / name).rows] == [row[1:] for row in rows]
    assert [row.verdict for row in rows] == ["accept", "", "unsure"]
    with pytest.raises(TableError, match="the format dcase has no column for score, verdict"):
        write_table(tmp_path / "copy.tsv", rows)
    with pytest.raises(TableError, match="cannot mix verdicts with rows that nobody is to judge"):
        write_table(tmp_path / name, [*rows, rows[0]._replace(verdict=None)])
