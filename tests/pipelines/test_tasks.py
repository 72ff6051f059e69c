"""Targets of keyword spotting, against hand-worked frames."""

from pathlib import Path

import torch

from featurizers import Grid
from pipelines.events import Event, Recording
from pipelines.tasks import KeywordSpotting

GRID = Grid(0.1)


def recording(*events: Event) -> Recording:
    return Recording(Path("a.flac"), events)


def wanted(task: KeywordSpotting, events: list[Event], grid: Grid = GRID) -> tuple[list[int], list[int], list[int]]:
    """Frames asked to be 1, frames asked nothing, frames asked open, for the first of two labels."""
    targets = task.targets(recording(*events), ("go", "stop"), grid, 20)
    columns = (targets.labels[:, 0], targets.weights[:, 0] == 0, targets.switch)
    ones, free, is_open = (values.nonzero()[:, 0].tolist() for values in columns)
    return ones, free, is_open


def test_frames_that_end_just_after_a_word_are_wanted_and_those_within_it_are_free() -> None:
    task = KeywordSpotting(
        before_seconds=0.0, after_seconds=0.3, slack_seconds=0.2, open_before_seconds=0.2, open_after_seconds=0.25
    )
    # The word lasts from 0.55 to 1.05 s; frame k ends at (k + 1) / 10 s. Wanted: ends in (1.05, 1.35], frames 10 to 12.
    # Free: the rest of (0.55, 1.55], frames 5 to 9 and 13, 14. Open: (0.85, 1.30], frames 8 to 12.
    assert wanted(task, [Event(0.55, 1.05, "go")]) == ([10, 11, 12], [5, 6, 7, 8, 9, 13, 14], [8, 9, 10, 11, 12])


def test_a_word_close_behind_another_of_its_label_is_still_wanted() -> None:
    task = KeywordSpotting(after_seconds=0.2, slack_seconds=0.5)
    ones, free, _ = wanted(task, [Event(0.05, 0.25, "go"), Event(0.35, 0.55, "go")])
    assert ones == [2, 3, 5, 6]
    assert not set(ones) & set(free)


def test_the_grids_origin_is_the_recordings_start() -> None:
    task = KeywordSpotting()
    shifted = [Event(7.55, 8.05, "go")]
    assert wanted(task, shifted, GRID._replace(origin_seconds=7.0)) == wanted(task, [Event(0.55, 1.05, "go")])


def test_other_labels_and_unknown_ones_ask_nothing_of_a_label() -> None:
    targets = KeywordSpotting().targets(
        recording(Event(0.5, 0.8, "stop"), Event(1, 1.2, "tea")), ("go", "stop"), GRID, 20
    )
    assert torch.equal(targets.labels[:, 0], torch.zeros(20))
    assert torch.equal(targets.weights[:, 0], torch.ones(20))
    assert targets.labels[:, 1].any()


def test_words_at_the_edges_of_a_recording_are_cut_there() -> None:
    ones, _, is_open = wanted(KeywordSpotting(), [Event(0.0, 0.02, "go"), Event(1.8, 1.95, "go")])
    assert min(is_open) == 0
    assert max(ones) == 19
