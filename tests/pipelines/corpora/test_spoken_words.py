"""The corpus as a whole: files and tables, repeatability, reuse, interruption, mistakes."""

import csv
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]

from pipelines.corpora import SpokenWords, speech_spans
from pipelines.corpora.espeak import voices
from pipelines.errors import UserError
from pipelines.events import Recording

HOURS = 20.0 / 3600.0


def small(num_workers: int, own_seed: int = 7) -> SpokenWords:
    return SpokenWords(
        ["yes", "no", "stop"],
        train_hours={"practice": HOURS, "talkative": 2 * HOURS},
        validation_hours={"talkative": HOURS},
        test_hours={"talkative": HOURS, "quiet": HOURS},
        stream_seconds=20.0,
        seed=own_seed,
        num_workers=num_workers,
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    return small(2).prepare(tmp_path_factory.mktemp("corpus"), seed=3)


def contents(recordings: list[Recording]) -> dict[str, bytes]:
    """Every file that was staged, by name."""
    return {path.name: path.read_bytes() for path in recordings[0].source.parent.iterdir()}


def test_streams_of_every_split_and_kind_are_staged(prepared: list[Recording]) -> None:
    assert [(recording.split, recording.kind) for recording in prepared] == [
        ("train", "practice"),
        ("train", "talkative"),
        ("train", "talkative"),
        ("validation", "talkative"),
        ("test", "talkative"),
        ("test", "quiet"),
    ]
    for recording in prepared:
        file = soundfile.info(recording.source)
        assert (file.format, file.subtype, file.samplerate, file.channels) == ("FLAC", "PCM_16", 16000, 1)
        assert file.frames == 20 * 16000
        assert recording.events
        assert list(recording.events) == sorted(recording.events)
        assert {event.label for event in recording.events} <= {"yes", "no", "stop"}
        assert all(0.0 <= event.onset_seconds < event.offset_seconds <= 20.0 for event in recording.events)
    assert len({recording.group for recording in prepared}) == 3


def test_tables_tell_shares_and_voices_of_the_split_alone(prepared: list[Recording]) -> None:
    folder = prepared[0].source.parent
    spans = speech_spans(folder)
    with (folder / "recordings.csv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    with (folder / "events.csv").open() as file:
        events = list(csv.DictReader(file))
    allowed = {split: {f"{v.accent}+{v.variant}" for v in voices(split)} for split in ("train", "validation", "test")}
    assert all(row["voice"] in allowed[rows[row["file"]]["split"]] for row in events)
    for recording in prepared:
        row = rows[recording.source.name]
        speech = spans[recording.source]
        assert all(left[1] < right[0] for left, right in itertools.pairwise(speech))
        assert sum(offset - onset for onset, offset in speech) / 20.0 == pytest.approx(
            float(row["speech_share"]), abs=1e-4
        )
        keywords = sum(event.offset_seconds - event.onset_seconds for event in recording.events) / 20.0
        assert keywords == pytest.approx(float(row["keyword_share"]), abs=1e-4)
        for event in recording.events:  # a keyword is speech
            middle = (event.onset_seconds + event.offset_seconds) / 2.0
            assert any(onset <= middle <= offset for onset, offset in speech)


def test_same_seed_gives_the_same_bytes_with_one_process_or_two(prepared: list[Recording], tmp_path: Path) -> None:
    again = small(1).prepare(tmp_path, seed=3)
    assert contents(again) == contents(prepared)


@pytest.mark.parametrize(("own_seed", "seed"), [(7, 4), (8, 3)], ids=["asked for", "its own"])
def test_another_seed_gives_other_streams(prepared: list[Recording], tmp_path: Path, own_seed: int, seed: int) -> None:
    other = small(1, own_seed).prepare(tmp_path, seed=seed)
    assert not set(contents(other).values()) & {r.source.read_bytes() for r in prepared}


def test_complete_corpus_is_reused(prepared: list[Recording]) -> None:
    calls: list[str] = []
    before = {path: path.stat().st_mtime_ns for path in prepared[0].source.parent.iterdir()}
    again = small(1).prepare(prepared[0].source.parent.parent, seed=3, progress=lambda what, *_: calls.append(what))
    assert again == prepared
    assert not calls
    assert {path: path.stat().st_mtime_ns for path in prepared[0].source.parent.iterdir()} == before


def test_interrupted_corpus_is_continued(prepared: list[Recording], tmp_path: Path) -> None:
    def stop_after_two(what: str, done: int, total: int) -> None:
        assert total in (3, 6)
        if what == "mixing" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(1).prepare(tmp_path, seed=3, progress=stop_after_two)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.flac")}
    assert len(kept) == 2
    seen: list[tuple[str, int]] = []
    again = small(1).prepare(tmp_path, seed=3, progress=lambda what, done, _total: seen.append((what, done)))
    assert seen == [("mixing", 3), ("mixing", 4), ("mixing", 5), ("mixing", 6)]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(again) == contents(prepared)


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals to a process group")
def test_ctrl_c_ends_all_processes_promptly(tmp_path: Path) -> None:
    script = tmp_path / "prepare.py"
    script.write_text(
        "from pathlib import Path\n"
        "from pipelines.corpora import SpokenWords\n"
        "if __name__ == '__main__':\n"
        "    corpus = SpokenWords(['yes', 'no'], train_hours={'talkative': 2.0}, stream_seconds=60.0)\n"
        f"    corpus.prepare(Path({str(tmp_path)!r}), seed=0, progress=lambda *step: print(*step, flush=True))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"speaking 1 ")
    os.killpg(process.pid, signal.SIGINT)
    begun = time.monotonic()
    process.wait(timeout=10.0)
    assert time.monotonic() - begun < 4.0  # 2 s on a machine that does nothing else
    assert process.stderr.read().strip().endswith(b"KeyboardInterrupt")
    process.stdout.close()
    process.stderr.close()
    deadline = time.monotonic() + 3.0
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("processes outlived the one that started them")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"words": ["###"]}, "the word '###' cannot be said"),
        ({"words": [True, "go"]}, "words holds True, which is not text"),
        (
            {"train_hours": {"noisy": 1.0}},
            "train_hours names the kind 'noisy'; the kinds are practice, talkative, quiet",
        ),
        ({"test_hours": {"practice": 1.0}}, "test_hours names the kind 'practice', which is for training only"),
        ({"test_hours": {"quiet": -1.0}}, "test_hours has -1.0 hours of 'quiet'"),
        ({"words": []}, r"words=\[\] must be a list of at least one word"),
        ({"stream_seconds": 1.0}, r"stream_seconds=1.0 must be from 10 to 3600"),
        ({"num_workers": 0}, "num_workers=0 must be at least 1"),
        ({"seed": -1}, "seed=-1 must be a whole number from 0"),
    ],
)
def test_mistake_in_an_argument_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SpokenWords(**arguments)  # type: ignore[arg-type]


def test_homophones_are_refused_before_anything_is_staged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'two' and 'too' sound the same"):
        SpokenWords(["two", "too"]).prepare(tmp_path, seed=0)
    assert not list(tmp_path.iterdir())


def test_card_names_engine_licence_and_words() -> None:
    card = small(1).card()
    for fact in ("espeak-ng", "GPL-3.0", "yes, no, stop", "No recording of a person"):
        assert fact in card


def test_speech_sounds_where_the_tables_say(prepared: list[Recording]) -> None:
    # Keywords well above the noise are louder than the stretch from a second before to a second after, as a rule.
    folder = prepared[0].source.parent
    with (folder / "events.csv").open() as file:
        strong = [row for row in csv.DictReader(file) if float(row["snr_db"]) > 15.0]
    assert strong
    gains = []
    for row in strong:
        samples = soundfile.read(folder / row["file"])[0]
        onset, offset = (round(float(row[edge]) * 16000) for edge in ("onset_seconds", "offset_seconds"))
        whole = np.sqrt(np.mean(np.square(samples[max(onset - 16000, 0) : offset + 16000])))
        gains.append(np.sqrt(np.mean(np.square(samples[onset:offset]))) / whole)
    assert np.median(gains) > 1.0
