"""Reading Speech Commands: a small tree of the same layout stands in for it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]

from pipelines.corpora.speech_commands import SpeechCommands
from pipelines.errors import UserError

SPEAKERS = ("0a7c2a8d", "1b4c9b89", "2c6d3924", "3d53244b")
Tree = Path


def write_clip(path: Path, onset: float = 0.3, offset: float = 0.7, level: float = 0.3) -> None:
    """A second of silence with a tone in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(16_000) / 16_000
    tone = level * np.sin(2 * np.pi * 440 * time) * ((time >= onset) & (time < offset))
    soundfile.write(path, tone, 16_000, subtype="PCM_16")


@pytest.fixture
def data(tmp_path: Path) -> Tree:
    """Words yes, no and other, four speakers with two takes each; the third validates, the fourth tests."""
    data = tmp_path / "root" / "SpeechCommands" / "speech_commands_v0.02"
    for word in ("yes", "no", "cat", "dog"):
        for speaker in SPEAKERS:
            for take in range(2):
                write_clip(data / word / f"{speaker}_nohash_{take}.wav")
    for place, name in ((2, "validation_list.txt"), (3, "testing_list.txt")):
        lines = [f"{w}/{SPEAKERS[place]}_nohash_{t}.wav" for w in ("yes", "no", "cat", "dog") for t in (0, 1)]
        (data / name).write_text("\n".join(lines) + "\n")
    for noise in ("running_tap", "white_noise", "exercise_bike"):
        write_clip(data / "_background_noise_" / f"{noise}.wav", 0.0, 1.0)
    (data / "_background_noise_" / "README.md").write_text("noise")
    return data


def test_official_lists_make_the_splits_and_speakers_the_groups(data: Tree, tmp_path: Path) -> None:
    corpus = SpeechCommands(str(tmp_path / "root"), labels=["yes", "no"], other_share=1.0)
    recordings = corpus.prepare(tmp_path / "cache")
    words = [r for r in recordings if r.kind == "word"]
    of_split = {split: {r.group for r in words if r.split == split} for split in ("train", "validation", "test")}
    assert of_split == {"train": set(SPEAKERS[:2]), "validation": {SPEAKERS[2]}, "test": {SPEAKERS[3]}}
    assert len(words) == 16
    assert {r.source for r in words} == {p for w in ("yes", "no") for p in (data / w).glob("*.wav")}
    for recording in words:
        assert recording.clip_labels == (recording.source.parent.name,)
        (event,) = recording.events
        assert event.label == recording.source.parent.name
        assert (event.onset_seconds, event.offset_seconds) == pytest.approx((0.3, 0.7), abs=0.011)  # 10 ms frames
        assert recording.labelled_spans is None


def test_other_words_and_noise_are_annotated_and_have_nothing_in_them(data: Tree, tmp_path: Path) -> None:
    recordings = SpeechCommands(str(data), labels=["yes", "no"], other_share=1.0).prepare(tmp_path / "cache")
    rest = [r for r in recordings if r.kind != "word"]
    assert {(r.events, r.clip_labels) for r in rest} == {((), ())}
    assert sum(r.kind == "other" for r in rest) == 16
    noise = {r.source.stem: r.split for r in rest if r.kind == "noise"}
    assert noise == {"running_tap": "validation", "white_noise": "train", "exercise_bike": "test"}


def test_a_share_of_other_words_is_the_same_one_every_time_and_noise_can_be_left_out(
    data: Tree, tmp_path: Path
) -> None:
    def others(share: float) -> set[Path]:
        corpus = SpeechCommands(str(data.parent), labels=["yes"], other_share=share, noise=False)
        recordings = corpus.prepare(tmp_path / "cache")
        assert sum(r.kind == "word" for r in recordings) == 8
        return {r.source for r in recordings if r.kind == "other"}

    assert others(0.0) == set()
    assert others(0.5) == others(0.5)
    assert set() < others(0.5) < others(1.0)
    assert len(others(1.0)) == 24


def test_unusable_clips_are_listed_with_reasons(data: Tree, tmp_path: Path) -> None:
    write_clip(data / "yes" / f"{SPEAKERS[0]}_nohash_0.wav", level=0.0)
    write_clip(data / "cat" / f"{SPEAKERS[0]}_nohash_0.wav", level=0.0)  # silence is not a word: it stays
    (data / "no" / f"{SPEAKERS[1]}_nohash_1.wav").write_bytes(b"no sound")
    (data / "no" / f"{SPEAKERS[3]}_nohash_1.wav").unlink()
    corpus = SpeechCommands(str(data), labels=["yes", "no"], other_share=1.0)
    recordings = corpus.prepare(tmp_path / "cache")
    reasons = {f"{u.path.parent.name}/{u.path.name[:8]}": u.reason for u in corpus.unusable}
    assert reasons.pop(f"no/{SPEAKERS[1]}").startswith("cannot be read")
    assert reasons == {f"yes/{SPEAKERS[0]}": "is silent", f"no/{SPEAKERS[3]}": "is listed, but not there"}
    assert len(recordings) == 32 - 3 + 3
    assert "3 files were left out: " in corpus.card()
    assert "(is silent)" in corpus.card()


def test_what_was_measured_is_kept_until_the_file_changes(data: Tree, tmp_path: Path) -> None:
    corpus = SpeechCommands(str(data), labels=["yes"], other_share=0.0, noise=False)
    seen: list[tuple[str, int, int]] = []
    first = corpus.prepare(tmp_path / "cache", progress=lambda *step: seen.append(step))
    assert seen[-1] == ("finding the sound in clips", 8, 8)
    seen.clear()
    assert corpus.prepare(tmp_path / "cache", progress=lambda *step: seen.append(step)) == first
    assert seen == []
    write_clip(first[0].source, 0.5, 0.9, level=0.2)
    again = corpus.prepare(tmp_path / "cache", progress=lambda *step: seen.append(step))
    assert seen[-1][2] == 1
    assert again[0].events[0].onset_seconds == pytest.approx(0.5, abs=0.011)


def test_a_missing_data_set_word_or_list_is_named(data: Tree, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no Speech Commands .*download: true"):
        SpeechCommands(str(tmp_path / "elsewhere")).prepare(tmp_path)
    with pytest.raises(UserError, match=r"labels names 'yess'.*did you mean yes"):
        SpeechCommands(str(data), labels=["yess"]).prepare(tmp_path)
    (data / "validation_list.txt").unlink()
    with pytest.raises(UserError, match=r"lacks .*validation_list\.txt"):
        SpeechCommands(str(data), labels=["yes"]).prepare(tmp_path)
    with pytest.raises(UserError, match=r"other_share=1\.5"):
        SpeechCommands(str(data), other_share=1.5)
    with pytest.raises(UserError, match="labels is empty"):
        SpeechCommands(str(data), labels=[])


def test_it_is_fetched_only_where_it_is_wanted_and_missing(
    data: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def fetch(url: str, _archive: str, **_options: object) -> None:
        fetched.append(url)
        raise OSError("no network here")

    monkeypatch.setattr("torchaudio.datasets.speechcommands.download_url_to_file", fetch)
    wanted = SpeechCommands(str(tmp_path / "empty"), download=True)
    assert wanted.must_fetch
    with pytest.raises(UserError, match=r"cannot be fetched into .*no network here"):
        wanted.prepare(tmp_path / "cache")
    assert fetched[0].endswith("speech_commands_v0.02.tar.gz")
    there = SpeechCommands(str(data), labels=["yes"], download=True)
    assert not there.must_fetch
    there.prepare(tmp_path / "cache")
    assert len(fetched) == 1
