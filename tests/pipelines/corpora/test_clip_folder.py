"""Folders and tables of clips: classes, sounding parts, splits that keep speakers apart, what is left out and why."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile  # type: ignore[import-untyped]

from pipelines.corpora.clip_folder import ClipFolder
from pipelines.errors import UserError
from pipelines.events import Event, Recording

SPEAKERS = ("ann", "bob", "cy", "dee", "eve")


def write_clip(path: Path, onset: float = 0.3, offset: float = 0.7, level: float = 0.3) -> None:
    """A second of silence with a tone in it, at 8 kHz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(8_000) / 8_000
    soundfile.write(path, level * np.sin(2 * np.pi * 440 * time) * ((time >= onset) & (time < offset)), 8_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two words and other speech, each by five speakers in folders of their own, two takes each."""
    for word in ("red", "blue", "_unknown_"):
        for speaker in SPEAKERS:
            for take in range(2):
                write_clip(tmp_path / "clips" / word / speaker / f"{take}.wav")
    (tmp_path / "clips" / "red" / "notes.txt").write_text("not a sound")
    return tmp_path / "clips"


def splits_of(recordings: list[Recording]) -> dict[str, set[str]]:
    return {split: {r.group for r in recordings if r.split == split} for split in ("train", "validation", "test")}


def test_folders_are_classes_and_speakers_stay_on_one_side(folder: Path, tmp_path: Path) -> None:
    corpus = ClipFolder(str(folder))
    assert corpus.labels == ("blue", "red")
    recordings = corpus.prepare(tmp_path / "cache")
    assert len(recordings) == 30
    for recording in recordings:
        label = recording.source.parent.parent.name
        is_word = label != "_unknown_"
        assert recording.clip_labels == ((label,) if is_word else ())
        assert recording.kind == ("clip" if is_word else "negative")
        assert [e.label for e in recording.events] == ([label] if is_word else [])
        for event in recording.events:
            assert event[:2] == pytest.approx((0.3, 0.7), abs=0.011)  # 10 ms frames
    splits = splits_of(recordings)
    assert sorted(speaker for group in splits.values() for speaker in group) == sorted(SPEAKERS)
    assert {split: len(groups) for split, groups in splits.items()} == {"train": 2, "validation": 1, "test": 2}
    assert "drawn by whole groups (5 speakers or sources)" in corpus.card()


def test_what_is_drawn_follows_the_seed(folder: Path, tmp_path: Path) -> None:
    def drawn(seed: int) -> dict[str, set[str]]:
        return splits_of(ClipFolder(str(folder), seed=seed).prepare(tmp_path / "cache"))

    assert drawn(0) == drawn(0)
    assert any(drawn(seed) != drawn(0) for seed in range(1, 6))


def test_labels_given_make_all_other_classes_negatives(folder: Path, tmp_path: Path) -> None:
    corpus = ClipFolder(str(folder), labels=["red"])
    recordings = corpus.prepare(tmp_path / "cache")
    assert corpus.labels == ("red",)
    assert sum(r.kind == "negative" for r in recordings) == 20
    with pytest.raises(UserError, match=r"labels names 'rad'.*did you mean red"):
        _ = ClipFolder(str(folder), labels=["rad"]).labels


def test_groups_of_each_split_can_be_named(folder: Path, tmp_path: Path) -> None:
    corpus = ClipFolder(str(folder), splits={"validation": ["ann"], "test": ["bob", "cy"]})
    splits = splits_of(corpus.prepare(tmp_path / "cache"))
    assert splits == {"train": {"dee", "eve"}, "validation": {"ann"}, "test": {"bob", "cy"}}
    assert "test: bob, cy; all others to train" in corpus.card()
    for wrong, message in (
        ({"validation": ["anne"]}, "did you mean ann"),
        ({"validation": ["ann"], "test": ["ann"]}, "in validation and in test"),
    ):
        with pytest.raises(UserError, match=message):
            ClipFolder(str(folder), splits=wrong).prepare(tmp_path / "cache")


def test_the_group_may_be_in_the_name(tmp_path: Path) -> None:
    for word in ("0", "1"):
        for speaker in SPEAKERS:
            write_clip(tmp_path / "clips" / word / f"{word}_{speaker}_0.wav")
    recordings = ClipFolder(str(tmp_path / "clips"), group_pattern="_([a-z]+)_").prepare(tmp_path / "cache")
    assert {r.group for r in recordings} == set(SPEAKERS)
    with pytest.raises(UserError, match="does not match group_pattern"):
        ClipFolder(str(tmp_path / "clips"), group_pattern="_([A-Z]+)_").prepare(tmp_path / "cache")
    with pytest.raises(UserError, match="no parentheses"):
        ClipFolder(str(tmp_path / "clips"), group_pattern="abc")
    with pytest.raises(UserError, match="no regular expression"):
        ClipFolder(str(tmp_path / "clips"), group_pattern="(")


def test_without_groups_clips_are_split_at_random_only_if_told_and_the_card_says_so(tmp_path: Path) -> None:
    for word in ("red", "blue"):
        for take in range(10):
            write_clip(tmp_path / "clips" / word / f"{take}.wav")
    with pytest.raises(UserError, match=r"no speaker or source .* is known.*split_clips_at_random: true"):
        ClipFolder(str(tmp_path / "clips")).prepare(tmp_path / "cache")
    corpus = ClipFolder(str(tmp_path / "clips"), split_clips_at_random=True)
    recordings = corpus.prepare(tmp_path / "cache")
    counts = {split: sum(r.split == split for r in recordings) for split in ("train", "validation", "test")}
    assert counts == {"train": 12, "validation": 3, "test": 5}
    assert "may have been trained on" in corpus.card()


def test_folders_named_as_splits_are_the_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for word in ("red", "blue"):
            write_clip(tmp_path / "clips" / split / word / "0.wav")
    recordings = ClipFolder(str(tmp_path / "clips")).prepare(tmp_path / "cache")
    assert [(r.split, r.events[0].label) for r in recordings] == [
        ("test", "blue"), ("test", "red"), ("train", "blue"), ("train", "red"), ("validation", "blue"),
        ("validation", "red"),
    ]  # fmt: skip


def test_two_speakers_cannot_be_dealt_to_three_splits(tmp_path: Path) -> None:
    for speaker in SPEAKERS[:2]:
        write_clip(tmp_path / "clips" / "red" / speaker / "0.wav")
    with pytest.raises(UserError, match=r"2 speakers or sources \(ann, bob\)"):
        ClipFolder(str(tmp_path / "clips")).prepare(tmp_path / "cache")


def test_unusable_files_are_listed_with_reasons_and_a_silent_negative_is_not_one(folder: Path, tmp_path: Path) -> None:
    write_clip(folder / "red" / "ann" / "0.wav", level=0.0)
    write_clip(folder / "_unknown_" / "ann" / "0.wav", level=0.0)
    (folder / "blue" / "bob" / "1.wav").write_bytes(b"no sound")
    corpus = ClipFolder(str(folder))
    assert len(corpus.prepare(tmp_path / "cache")) == 28
    reasons = {u.path.relative_to(folder).as_posix(): u.reason for u in corpus.unusable}
    assert reasons.pop("blue/bob/1.wav").startswith("cannot be read")
    assert reasons == {"red/ann/0.wav": "is silent"}
    assert "2 files were left out: blue/bob/1.wav (cannot be read" in corpus.card()


def table_of(folder: Path) -> pd.DataFrame:
    rows = [
        {"file": f"{word}/{speaker}/{take}.wav", "label": word, "speaker": speaker}
        for word in ("red", "blue") for speaker in SPEAKERS for take in range(2)
    ]  # fmt: skip
    assert all((folder / str(row["file"])).exists() for row in rows)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_table_names_label_and_speaker_and_the_sound_is_found(folder: Path, tmp_path: Path, suffix: str) -> None:
    table, path = table_of(folder), tmp_path / f"clips.{suffix}"
    if suffix == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, sep="," if suffix == "csv" else "\t", index=False)
    recordings = ClipFolder(str(folder), table=str(path)).prepare(tmp_path / "cache")
    assert len(recordings) == 20  # those that it does not name are left out
    assert {r.group for r in recordings} == set(SPEAKERS)
    assert recordings[0].events[0][:3] == pytest.approx((0.3, 0.7, "blue"), abs=0.011)


def test_a_tables_times_and_splits_are_taken_as_they_are(folder: Path, tmp_path: Path) -> None:
    table = table_of(folder).assign(onset=0.35, offset=0.6)
    table["subset"] = ["val" if s == "ann" else "eval" if s == "bob" else "train" for s in table["speaker"]]
    table.to_csv(tmp_path / "clips.csv", index=False)
    corpus = ClipFolder(str(folder), table=str(tmp_path / "clips.csv"), labels=["red"])
    recordings = corpus.prepare(tmp_path / "cache")
    assert splits_of(recordings) == {"train": {"cy", "dee", "eve"}, "validation": {"ann"}, "test": {"bob"}}
    assert {r.events for r in recordings} == {(Event(0.35, 0.6, "red"),), ()}
    assert "those of the table" in corpus.card()


def test_a_speaker_in_two_splits_is_refused(folder: Path, tmp_path: Path) -> None:
    table = table_of(folder).assign(split=["train", "test"] * 10)
    table.to_csv(tmp_path / "clips.csv", index=False)
    with pytest.raises(UserError, match="the group 'ann' is in two splits"):
        ClipFolder(str(folder), table=str(tmp_path / "clips.csv")).prepare(tmp_path / "cache")


def test_mistakes_in_a_table_are_named_by_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text("file,label,speaker\nred/ann/0.wav,red,ann\nred/ann/9.wav,red,ann\n")
    with pytest.raises(UserError, match=r"clips\.csv, line 3: there is no recording 'red/ann/9\.wav'"):
        ClipFolder(str(folder), table=str(tmp_path / "clips.csv")).prepare(tmp_path / "cache")


def test_a_folder_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        ClipFolder(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no clips"):
        _ = ClipFolder(str(tmp_path / "empty")).labels
    write_clip(tmp_path / "loose" / "0.wav")
    with pytest.raises(UserError, match=r"0\.wav lies in no folder of a class"):
        _ = ClipFolder(str(tmp_path / "loose")).labels
    with pytest.raises(UserError, match="splits names 'tests'"):
        ClipFolder(str(tmp_path), splits={"tests": []})
