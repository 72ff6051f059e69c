"""One file: its events, or the reason why there are none, and what the journal notes of either."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from small_line import noise

from featurizers import write_audio
from pipelines.archive.outcomes import Task
from pipelines.archive.tagging import Settings, merge_events, outcome_of, tag_file
from pipelines.events import Event
from pipelines.model import Model

RATE_HZ = 16_000


class Raising(NamedTuple):
    """A tagger that raises."""

    error: Exception
    fingerprint: str = "raising"

    def tag(self, *_: object, **__: object) -> Any:
        raise self.error


def silent(_seconds: float) -> None:
    """Nobody listens to progress."""


def test_events_are_those_of_the_model(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    write_audio(path, noise(6.0, seed=1), RATE_HZ)
    outcome = outcome_of(model, Settings(min_score=0.012), Task(5, str(path), True), silent)
    assert outcome.events == model.tag(path, min_score=0.012).events
    assert len(outcome.events) > 2
    assert (outcome.number, outcome.status, outcome.reason, outcome.seconds) == (5, "done", "", 6.0)
    assert (outcome.size, outcome.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    heard = tag_file(model, Settings(channel=0), str(path), True, silent)
    assert [event.channel for event in heard.events] == [0] * len(model.tag(path))  # type: ignore[union-attr]


def test_the_start_of_the_recording_comes_with_the_events(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "20240506_070809.flac"
    write_audio(path, noise(1.0), RATE_HZ)
    outcome = outcome_of(model, Settings(), Task(1, str(path), True), silent)
    assert outcome.recording_start == "2024-05-06T07:08:09"


def test_an_audit_is_noted_as_json_and_changes_no_event(model: Model, tmp_path: Path) -> None:
    from pipelines.audit import estimate

    write_audio(tmp_path / "a.flac", noise(30.0, seed=1), RATE_HZ)
    task = Task(1, str(tmp_path / "a.flac"), True)
    audited, plain = (outcome_of(model, Settings(audit_share=share), task, silent) for share in (1.0, 0.0))
    assert audited.events == plain.events
    assert plain.audit is None
    assert audited.audit is not None
    assert str(estimate([audited.audit])).startswith("estimated events missed by the switch: ")


@pytest.mark.parametrize(
    ("name", "content", "is_named", "status", "reason"),
    [
        ("a.wav", b"", False, "failed", "is empty (0 bytes)"),
        ("a.wav", b"no sound\n" * 20, False, "failed", "is not a media file that FFmpeg can read"),
        ("a.txt", b"no sound\n" * 20, False, "skipped", "is not a media file that FFmpeg can read"),
        ("a.txt", b"no sound\n" * 20, True, "failed", "is not a media file that FFmpeg can read"),
        ("two\nlines.wav", b"no sound\n" * 20, True, "failed", "is not a media file that FFmpeg can read"),
    ],
)
def test_files_without_sound_fail_if_they_were_meant_to_have_some(
    model: Model, tmp_path: Path, name: str, content: bytes, is_named: bool, status: str, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    outcome = outcome_of(model, Settings(), Task(1, str(tmp_path / name), is_named), silent)
    assert outcome.status == status
    assert outcome.reason.startswith(reason)
    assert outcome.size == len(content)  # known, so that it is not tried again before it changes


def test_a_file_that_ends_early_says_how_far_it_was_read(model: Model, tmp_path: Path) -> None:
    write_audio(tmp_path / "a.flac", noise(6.0), RATE_HZ)
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(whole[: len(whole) // 2])
    outcome = outcome_of(model, Settings(), Task(1, str(tmp_path / "a.flac"), False), silent)
    assert outcome.status == "failed"
    assert "cut off" in outcome.reason
    assert 2.5 < outcome.seconds < 3.5
    assert outcome.events == ()


@pytest.mark.parametrize(
    ("error", "reason", "is_tried_again"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied", True),
        (OSError(errno.EIO, "Input/output error"), "Input/output error", True),
        (OSError(errno.EINVAL, "Invalid argument"), "Invalid argument", False),
        (MemoryError("cannot allocate 8 GB"), "a fault in the program: MemoryError: cannot allocate 8 GB", False),
        (RuntimeError("of two\nlines"), "a fault in the program: RuntimeError: of two\\nlines (test_tagging.py", False),
    ],
)
def test_whatever_is_raised_is_a_reason(tmp_path: Path, error: Exception, reason: str, is_tried_again: bool) -> None:
    (tmp_path / "a.wav").write_bytes(b"something")
    outcome = outcome_of(Raising(error), Settings(), Task(1, str(tmp_path / "a.wav"), True), silent)
    assert outcome.status == "failed"
    assert outcome.reason.startswith(reason)
    assert (outcome.size is None) == is_tried_again


def test_a_file_that_is_gone_is_tried_again(model: Model, tmp_path: Path) -> None:
    outcome = outcome_of(model, Settings(), Task(1, str(tmp_path / "gone.wav"), False), silent)
    assert (outcome.status, outcome.reason, outcome.size) == ("failed", "does not exist", None)


def test_a_pipe_in_a_folder_is_not_waited_for(model: Model, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    outcome = outcome_of(model, Settings(), Task(1, str(tmp_path / "pipe.wav"), False), silent)
    assert (outcome.status, outcome.reason) == ("skipped", "is no regular file")


def event(onset: float, offset: float, label: str = "a", score: float = 0.5) -> Event:
    return Event(onset, offset, label, score)


@pytest.mark.parametrize(
    ("events", "gap", "merged"),
    [
        ([event(0, 1), event(2, 3)], 1.0, [event(0, 3)]),
        ([event(0, 1), event(2, 3)], 0.9, [event(0, 1), event(2, 3)]),
        ([event(0, 1), event(1, 2)], 0.0, [event(0, 2)]),
        ([event(0, 9), event(2, 3, score=0.9)], 0.0, [event(0, 9, score=0.9)]),
        ([event(0, 1), event(1, 2, "b"), event(2, 3)], 1.0, [event(0, 3), event(1, 2, "b")]),
        ([event(0, 1), event(2, 3), event(4, 5)], 1.0, [event(0, 5)]),
        ([], 1.0, []),
    ],
)
def test_events_of_one_label_merge_across_small_gaps(events: list[Event], gap: float, merged: list[Event]) -> None:
    assert merge_events(reversed(events), gap) == merged


def test_merging_reaches_the_results(model: Model, tmp_path: Path) -> None:
    write_audio(tmp_path / "a.flac", noise(6.0, seed=1), RATE_HZ)
    task = Task(1, str(tmp_path / "a.flac"), True)
    call: Callable[[float | None], Any] = lambda gap: outcome_of(model, Settings(merge_gap_seconds=gap), task, silent)  # noqa: E731
    assert {one.label for one in call(100.0).events} == {one.label for one in call(None).events}
    assert len(call(100.0).events) == len({one.label for one in call(None).events}) < len(call(None).events)
