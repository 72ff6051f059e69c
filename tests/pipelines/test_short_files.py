"""Many short files at once: those that are said to be closed are, and what is found is what each alone would give."""

from pathlib import Path

import pytest
import torch
from small_line import RATE_HZ, noise

from featurizers import write_audio
from pipelines.archive.outcomes import Outcome, Task
from pipelines.archive.tagging import Settings, outcome_of, outcomes_of
from pipelines.model import Model
from pipelines.short_files import SURE_LOGITS
from surnn import EventGate


def silent(*_: object) -> None:
    """Nobody listens."""


def write_short_files(folder: Path, number: int = 40) -> list[str]:
    """Cuts of 0.03 to 11 s out of noise with bursts; many hold none."""
    random, paths = torch.Generator().manual_seed(5), []
    samples = noise(60.0, seed=2)
    for each in range(number):
        begin, seconds = torch.rand(2, generator=random).tolist()
        length = (0.03 + 0.7 * seconds) if each % 5 else 2.0 + 9.0 * seconds
        first = int(begin * 45.0 * RATE_HZ)
        paths.append(str(folder / f"20240506_0708{each:02d}.flac"))
        write_audio(paths[-1], samples[first : first + int(length * RATE_HZ)], RATE_HZ)
    return paths


def highest_logits(model: Model, paths: list[str]) -> dict[str, float]:
    """What the switch says at most of each file, its threshold taken off."""
    logits = {path: model.track(path).switch_logits for path in paths}
    return {path: float(each.max()) for path, each in logits.items() if each is not None}


def close_half(model: Model, paths: list[str]) -> None:
    """Move the threshold so that half of the files open nowhere."""
    highest = sorted(highest_logits(model, paths).values())
    middle = len(highest) // 2
    assert isinstance(model.line.gate, EventGate)
    model.line.gate.threshold_shift += (highest[middle - 1] + highest[middle]) / 2


def test_files_said_to_be_closed_are_those_that_a_walk_finds_closed(model: Model, tmp_path: Path) -> None:
    paths = write_short_files(tmp_path)
    close_half(model, paths)
    told = {events.source: events for events in model.tag_closed(paths, at=silent)}
    for path in paths:
        track, alone = model.track(path), model.tag(path)
        assert track.switch_logits is not None
        is_sure = bool((track.switch_logits < -2 * SURE_LOGITS).all()) and alone.seconds < 10.0
        assert is_sure <= (path in told) <= (alone.frames_open == 0)
        if path in told:
            there = told[path]
            assert (there.events, there.seconds, there.frames_open, there.recording_start) == (
                *(alone.events, alone.seconds, alone.frames_open, alone.recording_start),
            )
    assert 5 < len(told) < len(paths) - 5


def test_a_switch_near_its_threshold_is_asked_again(model: Model, tmp_path: Path) -> None:
    paths = write_short_files(tmp_path, 4)
    chosen, highest = next(iter(highest_logits(model, paths).items()))
    assert isinstance(model.line.gate, EventGate)
    model.line.gate.threshold_shift += highest + SURE_LOGITS / 2
    assert model.tag(chosen).frames_open == 0
    assert chosen not in [events.source for events in model.tag_closed(paths, at=silent)]


@pytest.mark.parametrize("settings", [Settings(), Settings(gate="open"), Settings(audit_share=1.0), Settings(0.0)])
def test_a_group_of_files_has_the_outcomes_of_each_alone(model: Model, tmp_path: Path, settings: Settings) -> None:
    short = write_short_files(tmp_path, 15)
    close_half(model, short)
    paths = [*short, str(tmp_path / "gone.wav"), str(tmp_path / "bad.wav"), str(tmp_path)]
    (tmp_path / "bad.wav").write_bytes(b"no sound at all")
    tasks = [Task(number, path, True) for number, path in enumerate(paths, 1)]

    def but_for_work(outcome: Outcome) -> Outcome:
        return outcome._replace(work_seconds=0.0)

    together = list(outcomes_of(model, settings, tasks, at=silent, heard=silent))
    alone = [outcome_of(model, settings, task, silent) for task in tasks]
    assert list(map(but_for_work, together)) == list(map(but_for_work, alone))
    assert all(outcome.work_seconds > 0 for outcome in together)


def test_whoever_is_read_is_told_first(model: Model, tmp_path: Path) -> None:
    tasks = [Task(number, path, True) for number, path in enumerate(write_short_files(tmp_path, 6), 1)]
    told: list[Task | None] = []
    outcomes = list(outcomes_of(model, Settings(), tasks, at=told.append, heard=silent))
    assert told[:7] == [*tasks, None]
    assert told[7:] == [task for task, outcome in zip(tasks, outcomes, strict=True) if task in told[7:]]


def test_a_fault_of_the_many_is_no_fault_of_the_one(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object, **__: object) -> None:
        raise RuntimeError("of one among many")

    tasks = [Task(number, path, True) for number, path in enumerate(write_short_files(tmp_path, 4), 1)]
    alone = list(outcomes_of(model, Settings(), tasks, at=silent, heard=silent))
    monkeypatch.setattr(model, "tag_closed", fault)
    together = outcomes_of(model, Settings(), tasks, at=silent, heard=silent)
    assert [outcome.events for outcome in together] == [outcome.events for outcome in alone]
