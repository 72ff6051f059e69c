"""What the validation split decides, and how times become figures; hand-worked cases."""

from pathlib import Path

import pytest
import torch

from featurizers import Grid
from pipelines.decoding import Placement
from pipelines.evaluate import Visit, budget_shift, work_of
from pipelines.events import Event, Recording
from pipelines.heads import Held
from pipelines.keywords import candidates, comparison_metrics, decisions_of, placements_of
from pipelines.line import Track
from pipelines.metrics import RecordingResult, work_metrics

GRID = Grid(0.1)
LABELS = ("go", "stop")


def track_of(level: list[list[float]], index: list[int], num_frames: int, logits: torch.Tensor | None = None) -> Track:
    """A track with these levels at these open frames."""
    levels = torch.tensor(level).reshape(-1, 2)
    is_open = torch.zeros(num_frames, dtype=torch.bool)
    is_open[index] = True
    held = Held(levels, torch.ones_like(levels), torch.tensor(index, dtype=torch.int64))
    return Track(held, is_open, logits, GRID, len(index), num_frames * 0.1)


def test_candidates_carry_the_logits_that_the_head_gave() -> None:
    found = candidates(track_of([[20.0, -9.0], [-9.0, -2.0]], [5, 30], 50), LABELS)
    assert [event.label for event in found] == ["go", "stop"]
    assert [event.score for event in found] == pytest.approx([20.0, -2.0], rel=1e-6)


def test_the_budgets_shift_opens_that_share_of_all_frames() -> None:
    logits = torch.randn(70_000, generator=torch.Generator().manual_seed(0))
    tracks = [track_of([], [], 1, logits[:30_000]), track_of([], [], 1, logits[30_000:])]
    shift = budget_shift(tracks, 0.12)
    assert float((logits > shift).float().mean()) == pytest.approx(0.12, abs=0.005)
    assert budget_shift([track_of([], [], 1)], 0.12) == 0.0  # a gate that learned nothing


def test_events_are_placed_by_the_median_of_the_hits() -> None:
    truth = [Event(10.0 * n, 10.0 * n + 0.4, "go") for n in range(1, 8)]
    # Found with the default place, 0.2 s late at onset and 0.05 s early at offset; one wild outlier.
    found = [Event(t.onset_seconds + 0.2, t.offset_seconds - 0.05, "go", 3.0) for t in truth[:-1]]
    found.append(Event(truth[-1].onset_seconds - 3, truth[-1].offset_seconds, "go", 3.0))
    result = RecordingResult(found, truth, 100.0, "talkative", "r")
    place = placements_of([result], LABELS)["go"]
    assert place.onset_delay_seconds == pytest.approx(0.6 + 0.2)
    assert place.offset_delay_seconds == pytest.approx(0.15 - 0.05)
    assert placements_of([result], LABELS)["stop"].onset_delay_seconds == 0.6  # too few hits: as it was


def test_decisions_are_probabilities() -> None:
    decisions = decisions_of({"go": 0.0, "stop": 2.0}, dict.fromkeys(LABELS, Placement()))
    assert decisions["go"].threshold == 0.5
    assert decisions["stop"].threshold == pytest.approx(0.880797, abs=1e-6)


def test_a_busy_moment_of_the_machine_does_not_count() -> None:
    quiet = Recording(Path("a.flac"), (), kind="quiet")
    track = track_of([], list(range(10)), 100)  # 10 s, a tenth of its frames open
    times = [(2.0, 10.0, 1.0), (2.0, 10.0, 1.0), (9.0, 50.0, 7.0)]
    visits = [Visit(track, track, *each) for each in times]
    figures = work_metrics(work_of(visits, [quiet] * 3))
    assert figures["quiet_seconds_of_work"] == pytest.approx(6.0)
    assert figures["quiet_speedup"] == pytest.approx(5.0)
    # Saved 8 of the (1 - 0.1) * (10 - 1) that could be saved.
    assert figures["quiet_saved_share"] == pytest.approx(8 / 8.1)


def test_the_comparison_is_relative_to_the_dense_twin_per_kind() -> None:
    truth = [Event(10.0 * n, 10.0 * n + 0.4, "go") for n in range(1, 6)]

    def result(num_found: int, kind: str, name: str) -> RecordingResult:
        found = [event._replace(score=4.0) for event in truth[:num_found]]
        return RecordingResult(found, truth, 3600.0, kind, name)

    switched = [result(4, "talkative", "a"), result(4, "talkative", "b"), result(5, "quiet", "c")]
    dense = [result(5, "talkative", "a"), result(5, "talkative", "b"), result(5, "quiet", "c")]
    thresholds = dict.fromkeys(LABELS, 0.0)
    metrics = comparison_metrics(switched, dense, LABELS, thresholds, thresholds)
    assert metrics["talkative_recall_change_vs_dense"] == pytest.approx(-0.2)
    assert metrics["quiet_recall_change_vs_dense"] == pytest.approx(0.0)
    assert metrics["recall_change_vs_dense"] == pytest.approx(-2 / 15)
    assert metrics["talkative_dense_recall_at_1_false_alarm_per_hour"] == 1.0
