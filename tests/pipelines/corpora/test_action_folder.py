"""Clips of one's own: layouts, subjects that stay in one split, what cannot be used, mistakes named."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipelines.corpora import ActionFolder
from pipelines.corpora.table_formats import TableError
from pipelines.errors import UserError
from pipelines.events import Event, Recording


def put_clip(path: Path, num_pictures: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(num_pictures):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def splits(recordings: list[Recording]) -> dict[str, str]:
    return {recording.source.name: recording.split for recording in recordings}


def test_class_folders_are_split_file_by_file_and_that_is_said(tmp_path: Path) -> None:
    for label in ("run", "walk"):
        for number in range(10):
            put_clip(tmp_path / label / f"{label}{number}.mp4")
    corpus = ActionFolder(str(tmp_path), validation_share=0.2, test_share=0.3)
    said: list[str] = []
    recordings = corpus.prepare(tmp_path, progress=lambda what, _done, _total: said.append(what))
    assert corpus.labels == ("run", "walk")
    for label in corpus.labels:
        of_label = [r.split for r in recordings if r.clip_labels == (label,)]
        assert [of_label.count(split) for split in ("train", "validation", "test")] == [5, 2, 3]
    assert all(r.events == () and r.labelled_spans == () for r in recordings)
    assert "file by file: no subjects are known" in said[-1]
    assert "file by file" in corpus.card()
    assert recordings == ActionFolder(str(tmp_path), validation_share=0.2, test_share=0.3).prepare(tmp_path)
    assert splits(recordings) != splits(corpus.prepare(tmp_path, seed=1))


def test_subjects_in_names_are_never_shared_between_splits(tmp_path: Path) -> None:
    for number in range(12):
        put_clip(tmp_path / ("run", "walk")[number % 2] / f"P{number // 2}_{number}.mp4")
    recordings = ActionFolder(str(tmp_path), subject=r"^(P\d+)_").prepare(tmp_path)
    by_subject: dict[str, set[str]] = {}
    for recording in recordings:
        by_subject.setdefault(recording.group, set()).add(recording.split)
    assert len(by_subject) == 6
    assert all(len(of_subject) == 1 for of_subject in by_subject.values())
    assert {split for of_subject in by_subject.values() for split in of_subject} == {"train", "validation", "test"}


def test_kinetics_layout_keeps_its_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        put_clip(tmp_path / split / "run" / f"{split}.mp4")
    recordings = ActionFolder(str(tmp_path)).prepare(tmp_path)
    assert splits(recordings) == {"train.mp4": "train", "val.mp4": "validation", "test.mp4": "test"}


def test_ucf101_lists_give_test_and_whole_subjects_of_train_give_validation(tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for subject in range(1, 6):
        for label, clip in (("Run", 1), ("Run", 2), ("Walk", 1)):
            name = f"{label}/v_{label}_g{subject:02d}_c{clip:02d}.avi"
            put_clip(tmp_path / "videos" / name)
            lines["test" if subject == 1 else "train"].append(name)
    (lists / "classInd.txt").write_text("1 Run\n2 Walk\n")
    (lists / "trainlist01.txt").write_text("".join(f"{name} 1\n" for name in lines["train"]))
    (lists / "testlist01.txt").write_text("".join(f"{name}\n" for name in lines["test"]))
    recordings = ActionFolder(str(tmp_path / "videos"), lists=str(lists)).prepare(tmp_path)
    assert len(recordings) == 15
    assert {r.group for r in recordings if r.split == "test"} == {"g01"}
    assert len({r.group for r in recordings if r.split == "validation"}) == 1
    assert len({r.group for r in recordings if r.split == "train"}) == 3
    assert {r.clip_labels for r in recordings} == {("Run",), ("Walk",)}
    (lists / "testlist01.txt").write_text("Run/v_Run_g02_c01.avi\nRun/v_Run_g09_c01.avi\n")
    with pytest.raises(TableError, match=r"testlist01.txt, line 2: there is no clip 'Run/v_Run_g09_c01.avi'"):
        ActionFolder(str(tmp_path / "videos"), lists=str(lists)).prepare(tmp_path)
    with pytest.raises(UserError, match=r"trainlist02.txt is missing"):
        ActionFolder(str(tmp_path / "videos"), lists=str(lists), fold=2).prepare(tmp_path)


def test_index_rows_with_times_are_events_and_rows_without_are_labels_of_clips(tmp_path: Path) -> None:
    for name in "abcd":
        put_clip(tmp_path / f"{name}.mp4")
    index = tmp_path / "index.csv"
    index.write_text(
        "file,label,group,split,onset,offset,licence\na.mp4,run,P1,train,0.5,1.0,x\na.mp4,fall,P1,train,0,0.5,x\n"
        "b.mp4,walk,P2,val,,,x\nc.mp4,,P3,test,,,x\nd.mp4,odd,P3,test,,,x\n"
    )
    corpus = ActionFolder(str(tmp_path), index="index.csv", ignored_labels=["odd"])
    a, b, c = corpus.prepare(tmp_path)
    assert corpus.labels == ("fall", "run", "walk")
    assert (a.events, a.clip_labels) == ((Event(0.0, 0.5, "fall"), Event(0.5, 1.0, "run")), None)
    assert (b.split, b.events, b.clip_labels, b.labelled_spans) == ("validation", (), ("walk",), ())
    assert (c.split, c.group, c.events, c.clip_labels, c.labelled_spans) == ("test", "P3", (), None, None)


def test_an_ignored_action_with_times_leaves_its_video_as_one_in_which_nothing_is_to_be_found(tmp_path: Path) -> None:
    for name in "abc":
        put_clip(tmp_path / f"{name}.mp4")
    (tmp_path / "index.csv").write_text(
        "file,label,group,split,onset,offset\na.mp4,walk,P1,train,0.5,1.0\nb.mp4,fall,P2,val,0,0.5\n"
        "b.mp4,walk,P2,val,0.5,1.0\nc.mp4,fall,P3,test,0.2,0.5\n"
    )
    corpus = ActionFolder(str(tmp_path), index="index.csv", ignored_labels=["walk"])
    a, b, _ = corpus.prepare(tmp_path)
    assert corpus.labels == ("fall",)
    assert (a.events, a.clip_labels, a.labelled_spans) == ((), None, None)
    assert b.events == (Event(0.0, 0.5, "fall"),)


def test_files_without_pictures_are_left_out_by_name_with_the_reason(tmp_path: Path) -> None:
    for number in range(4):
        put_clip(tmp_path / "run" / f"{number}.mp4")
    (tmp_path / "run" / "notes.txt").write_text("no video")
    (tmp_path / "run" / "empty.mp4").write_bytes(b"")
    with av.open(str(tmp_path / "run" / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    corpus = ActionFolder(str(tmp_path))
    assert len(corpus.prepare(tmp_path)) == 4
    reasons = {path.name: reason for path, reason in corpus.unusable}
    assert set(reasons) == {"notes.txt", "empty.mp4", "sound.wav"}
    assert reasons["sound.wav"] == "no video stream"
    assert "3 files could not be used" in corpus.card()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.mp4,run,P1,train,,\nb.mp4,run,P1,test,,", r"the group 'P1' is in two splits: .*a\.mp4 in train, .*b\.mp4"),
        ("x.mp4,run,P1,train,,", r"index\.csv, line 2: there is no clip 'x\.mp4'"),
        ("a.mp4,run,P1,later,,", "line 2: split 'later' is unknown; it is one of train"),
        ("a.mp4,run,P1,train,1.5,", "line 2: onset '1.5' and offset '' must both be numbers"),
        ("a.mp4,run,P1,train,1.5,1.0", "an event has a label and 0 <= onset < offset"),
        ("a.mp4,run,P1,train,7.0,8.0", r"line 2: onset 7 s lies past the end of a\.mp4"),
        ("a.mp4,run,P1,train,0,1\na.mp4,run,P1,train,,", "some of its rows have onset and offset, others have not"),
        ("a.mp4,run,P1,train,,\na.mp4,run,P2,train,,", "its rows give different values of group: P1, P2"),
        ("a.mp4,run,P1,train,,\nb.mp4,run,P2,,,", r"b\.mp4 has no split, but other clips have"),
        ("a.mp4,run,P1,,,\nb.mp4,run,P2,,,", "2 subjects to draw validation and test from; there must be at least 3"),
    ],
)
def test_mistake_in_an_index_is_named(tmp_path: Path, rows: str, message: str) -> None:
    for name in "ab":
        put_clip(tmp_path / f"{name}.mp4")
    (tmp_path / "index.csv").write_text(f"file,label,group,split,onset,offset\n{rows}\n")
    with pytest.raises(UserError, match=message):
        ActionFolder(str(tmp_path), index=str(tmp_path / "index.csv")).prepare(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": "nowhere"}, "root='nowhere' is no folder"),
        ({"index": "a.csv", "lists": "b"}, "give one of them"),
        ({"fold": 4}, "fold=4 must be 1, 2 or 3"),
        ({"test_share": 0.0}, "test_share=0.0 must be above 0 and at most 0.5"),
        ({"subject": "P(1"}, "is no regular expression"),
        ({"subject": "P1"}, "has no group; put the subject into brackets"),
    ],
)
def test_mistake_in_an_argument_is_named(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ActionFolder(**{"root": str(tmp_path), **arguments})


def test_labels_that_were_not_given_and_folders_without_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no labelled clips"):
        ActionFolder(str(tmp_path)).prepare(tmp_path)
    put_clip(tmp_path / "run" / "a.mp4")
    with pytest.raises(UserError, match="has the label 'run', which `labels` does not name"):
        ActionFolder(str(tmp_path), labels=["walk"]).prepare(tmp_path)
    put_clip(tmp_path / "train" / "run" / "a.mp4")
    with pytest.raises(UserError, match="has folders of splits and 'run' beside them"):
        ActionFolder(str(tmp_path)).prepare(tmp_path)
