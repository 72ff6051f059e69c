"""Sound event detection as a task: targets against hand-worked frames, tuning and figures on made-up scores."""

from pathlib import Path

import pytest
import torch

from featurizers import Grid
from pipelines.events import Event, Recording
from pipelines.heads import Held
from pipelines.line import Track
from pipelines.recipe import EvaluateOptions
from pipelines.spans import SpanDecision
from pipelines.tasks import Judged, SoundEventDetection, Targets

GRID = Grid(0.1)
LABELS = ("bell", "dog")


def targets_of(*events: Event, grid: Grid = GRID, spans: tuple[tuple[float, float], ...] | None = None) -> Targets:
    task = SoundEventDetection(open_before_seconds=0.1, open_after_seconds=0.2)
    return task.targets(Recording(Path("a.flac"), events, labelled_spans=spans), LABELS, grid, 20)


def ones(values: torch.Tensor) -> list[int]:
    return values.nonzero()[:, 0].tolist()


def test_frames_of_which_an_event_takes_half_are_wanted_and_the_switch_opens_a_little_earlier_and_later() -> None:
    # 0.36 to 0.94 s: frame 3 (0.3 to 0.4) has 0.04 of it, frame 9 (0.9 to 1.0) as much; 4 to 8 are whole.
    targets = targets_of(Event(0.36, 0.94, "bell"))
    assert ones(targets.labels[:, 0]) == [4, 5, 6, 7, 8]
    assert ones(targets.switch) == [3, 4, 5, 6, 7, 8, 9, 10]  # 0.26 to 1.14 s
    assert not targets.labels[:, 1].any()


def test_events_of_two_labels_overlap_and_one_shorter_than_a_frame_is_not_lost() -> None:
    targets = targets_of(Event(0.5, 0.8, "bell"), Event(0.72, 0.73, "dog"), Event(1.0, 1.1, "cat"))
    assert ones(targets.labels[:, 0]) == [5, 6, 7]
    assert ones(targets.labels[:, 1]) == [7]


def test_the_grids_origin_is_the_recordings_start_and_its_ends_cut_events() -> None:
    late = targets_of(Event(7.36, 7.94, "bell"), grid=GRID._replace(origin_seconds=7.0))
    assert torch.equal(late.labels, targets_of(Event(0.36, 0.94, "bell")).labels)
    assert ones(targets_of(Event(-1.0, 0.2, "bell"), Event(1.9, 9.0, "bell")).labels[:, 0]) == [0, 1, 19]


def test_time_that_nobody_labelled_asks_nothing() -> None:
    assert ones(targets_of(spans=((0.5, 0.7), (1.5, 9.0))).weights[:, 1]) == [5, 6, 15, 16, 17, 18, 19]
    assert not targets_of(spans=()).weights.any()


def track_of(*spans: tuple[int, int, int], num_frames: int = 200) -> Track:
    """All frames open; logit 3 on the spans (column, first frame, end frame), -3 elsewhere."""
    level = torch.full((num_frames, 2), -3.0)
    for column, first, end in spans:
        level[first:end, column] = 3.0
    held = Held(level, torch.zeros_like(level), torch.arange(num_frames))
    return Track(held, torch.ones(num_frames, dtype=torch.bool), None, GRID, num_frames, num_frames * 0.1)


TRUTH = (Event(2.0, 4.0, "bell"), Event(3.0, 5.0, "dog"), Event(10.0, 11.0, "bell"))
PERFECT = track_of((0, 20, 40), (1, 30, 50), (0, 100, 110))
ONE_MISSED = track_of((0, 20, 40), (1, 30, 50))


def judged(track: Track, dense: Track, kinds: tuple[str, ...] = ("busy", "busy")) -> Judged:
    recordings = [Recording(Path(f"{number}.flac"), TRUTH, kind=kind) for number, kind in enumerate(kinds)]
    tracks, dense_tracks = [track] * len(kinds), [dense] * len(kinds)
    tuning = SoundEventDetection().tune(tracks, dense_tracks, recordings, LABELS, EvaluateOptions())
    return Judged(recordings, tracks, dense_tracks, LABELS, tuning)


def test_what_was_tuned_finds_every_event_of_perfect_scores_where_it_is() -> None:
    task, given = SoundEventDetection(), judged(PERFECT, PERFECT)
    found = task.decode(PERFECT.held, GRID, 20.0, LABELS, given.tuning.decisions)
    assert [event.label for event in found] == [event.label for event in TRUTH]
    for event, true in zip(found, TRUTH, strict=True):
        assert event[:2] == pytest.approx(true[:2])
    assert task.moments(given, 10) == []


def test_figures_stand_beside_the_dense_twins_over_all_recordings_and_per_kind() -> None:
    task = SoundEventDetection()
    metrics = task.metrics(judged(ONE_MISSED, PERFECT, ("busy", "quiet")))
    assert metrics["dense_event_f1_200ms_macro"] == 1.0
    assert metrics["event_f1_200ms_macro"] == pytest.approx((2 / 3 + 1) / 2)  # of 4 bells 2 are found: 2 * 2 / (2 + 4)
    # PSDS1 is the mean over labels less their deviation: hit rates 0.5 and 1, so 0.75 - 0.25; of the twin 1.
    assert metrics["psds1_all_thresholds"] == pytest.approx(0.5, abs=1e-3)
    assert metrics["dense_psds1_all_thresholds"] == pytest.approx(1.0, abs=1e-3)
    assert metrics["quiet_psds1_change_vs_dense"] == pytest.approx(-0.5, abs=1e-3)
    assert "everything open: 1.00" in task.headline(metrics, "quiet")


def test_time_that_nobody_labelled_counts_for_no_figure() -> None:
    # Of 20 s only the first 8 are labelled: a false bell at 15 s and the true one at 10 s lie outside.
    given = judged(track_of((0, 20, 40), (1, 30, 50), (0, 150, 160)), PERFECT, ("busy",))
    given = given._replace(tuning=given.tuning._replace(decisions=dict.fromkeys(LABELS, SpanDecision())))
    part = [recording._replace(labelled_spans=((0.0, 8.0),)) for recording in given.recordings]
    task = SoundEventDetection()
    whole, within = task.metrics(given), task.metrics(given._replace(recordings=part))
    assert [each["num_events"] for each in (whole, within)] == [3, 2]
    assert [each["hours"] * 3600 for each in (whole, within)] == pytest.approx([20, 8])
    assert whole["event_f1_200ms_micro"] == pytest.approx(2 * 2 / (3 + 3))
    assert within["event_f1_200ms_micro"] == 1.0
    assert whole["frame_error"] == pytest.approx(2 / 20)  # a second of each
    assert within["frame_error"] == 0.0
    assert within["psds1_all_thresholds"] == pytest.approx(1.0, abs=1e-3)
    assert whole["psds1_all_thresholds"] < 0.9
    assert whole["frame_error_change_vs_dense"] != whole["frame_error_change_vs_dense"]  # of 0 there is no share


def test_thresholds_are_set_on_labelled_time_alone() -> None:
    loud = track_of((0, 20, 40), *((0, first, first + 1) for first in range(90, 190, 5)))  # blips after 9 s
    loud.held.level[20:40, 0] = torch.linspace(2, 4, 20)  # on either side of them
    recording = Recording(Path("a.flac"), TRUTH[:1], labelled_spans=((0.0, 8.0),))
    task, options = SoundEventDetection(), EvaluateOptions()
    within = task.tune([loud], [loud], [recording], LABELS, options).decisions["bell"]
    whole = task.tune([loud], [loud], [recording._replace(labelled_spans=None)], LABELS, options).decisions["bell"]
    assert (within.median_frames, within.min_seconds) == (1, 0)
    assert whole.median_frames > 1 or whole.min_seconds > 0  # blips would be false alarms


def test_the_worst_mistakes_are_events_where_there_is_none_and_the_longest_missed() -> None:
    given = judged(track_of((0, 20, 40), (1, 150, 170)), PERFECT, ("busy",))
    decisions = dict.fromkeys(LABELS, SpanDecision())
    moments = SoundEventDetection().moments(given._replace(tuning=given.tuning._replace(decisions=decisions)), 10)
    assert [(m.event.label, m.event.onset_seconds, m.is_miss) for m in moments] == [
        ("dog", 15.0, False),
        ("dog", 3.0, True),
        ("bell", 10.0, True),
    ]
    assert moments[0].score == pytest.approx(0.9526, abs=1e-4)


def test_one_score_takes_the_place_of_every_threshold_to_open() -> None:
    decisions = {"bell": SpanDecision(0.99, 0.2), "dog": SpanDecision(0.99, 0.9)}
    task = SoundEventDetection()
    assert task.decode(PERFECT.held, GRID, 20.0, LABELS, decisions) == []
    assert len(task.decode(PERFECT.held, GRID, 20.0, LABELS, decisions, min_score=0.9)) == 3
