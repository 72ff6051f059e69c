"""Events with an onset and an offset: the plain loop over every frame is what the fast way must equal."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import median_filter  # type: ignore[import-untyped]

from featurizers import Grid
from pipelines.events import Event
from pipelines.heads import Held
from pipelines.line import Track
from pipelines.metrics import RecordingResult
from pipelines.metrics.sound import event_counts, f1_micro
from pipelines.spans import SpanDecision, decode_spans, filtered_scores, tune_spans

GRID = Grid(0.5, origin_seconds=10.0)
ONE = ("bell",)


def held_of(rows: dict[int, list[tuple[float, float]]]) -> Held:
    """{frame: (level, decay) of every label}."""
    numbers = torch.tensor([rows[frame] for frame in sorted(rows)], dtype=torch.float64).reshape(len(rows), -1, 2)
    return Held(numbers[..., 0], numbers[..., 1], torch.tensor(sorted(rows), dtype=torch.int64))


def held_curve(probabilities: list[float]) -> Held:
    """One label, every frame open."""
    return held_of({frame: [(math.log(p / (1 - p)), 0.0)] for frame, p in enumerate(probabilities)})


def spans_of(probabilities: list[float], decision: SpanDecision) -> list[tuple[int, int]]:
    """First and end frame of the events of a curve of probabilities."""
    seconds = len(probabilities) * GRID.hop_seconds
    events = decode_spans(held_curve(probabilities), GRID, ONE, decisions=decision, seconds=seconds)
    return [(round((e.onset_seconds - 10) / 0.5), round((e.offset_seconds - 10) / 0.5)) for e in events]


def plain_loop(held: Held, column: int, decision: SpanDecision, num_frames: int) -> list[tuple[int, int, float]]:
    """The definition, frame by frame: first, end and score of every event."""
    curve, last = [], None
    level, decay, index = held.level[:, column].tolist(), held.decay[:, column].tolist(), held.index.tolist()
    for frame in range(num_frames):
        last = index.index(frame) if frame in index else last
        curve.append(-math.inf if last is None else level[last] - decay[last] * (frame - index[last]) * 0.5)
    curve = median_filter(np.array(curve), decision.median_frames, mode="reflect").tolist()
    open_at, close_at = (math.log(p / (1 - p)) for p in decision[:2])
    found: list[list[float]] = []
    is_open = False
    for frame, score in enumerate(curve):
        if score < close_at:
            is_open = False
        elif is_open:
            found[-1] = [found[-1][0], frame + 1, max(found[-1][2], score)]
        elif score >= open_at:
            is_open = True
            found.append([frame, frame + 1, score])
    joined: list[list[float]] = []
    for first, end, score in found:
        if joined and (first - joined[-1][1]) * 0.5 <= decision.merge_seconds:
            joined[-1] = [joined[-1][0], end, max(joined[-1][2], score)]
        else:
            joined.append([first, end, score])
    long = [row for row in joined if (row[1] - row[0]) * 0.5 >= decision.min_seconds]
    return [(int(first), int(end), 1 / (1 + math.exp(-score))) for first, end, score in long]


LEVELS = st.tuples(st.integers(-4, 4).map(float), st.sampled_from([0.0, 0.25, 1.0, 4.0]))
DECISIONS = st.builds(
    lambda pair, *rest: SpanDecision(max(pair), min(pair), *rest),
    st.tuples(st.sampled_from([0.1, 0.3, 0.6, 0.9]), st.sampled_from([0.1, 0.3, 0.6, 0.9])),
    st.sampled_from([1, 3, 5, 9]),
    st.sampled_from([0.0, 0.5, 1.0, 1.7]),
    st.sampled_from([0.0, 0.5, 1.2, 3.0]),
)


@settings(max_examples=120, deadline=None)
@given(
    st.dictionaries(st.integers(0, 40), st.lists(LEVELS, min_size=3, max_size=3), min_size=1),
    st.lists(DECISIONS, min_size=3, max_size=3),
    st.integers(0, 12),
    st.sampled_from([1, 2, 7, 1000]),
)
def test_blocks_of_any_size_give_the_events_of_a_plain_loop_over_every_frame(
    rows: dict[int, list[tuple[float, float]]], decisions: list[SpanDecision], closed_at_end: int, block_frames: int
) -> None:
    held, labels, num_frames = held_of(rows), ("a", "b", "c"), max(rows) + 1 + closed_at_end
    events = decode_spans(
        held,
        GRID,
        labels,
        decisions=dict(zip(labels, decisions, strict=True)),
        seconds=num_frames * 0.5,
        block_frames=block_frames,
    )
    expected: list[tuple[float, float, str, Any]] = []
    for column, (label, decision) in enumerate(zip(labels, decisions, strict=True)):
        for first, end, score in plain_loop(held, column, decision, num_frames):
            expected.append((10 + first * 0.5, 10 + end * 0.5, label, pytest.approx(score)))
    assert [event[:4] for event in events] == sorted(expected, key=lambda event: event[:3])


def test_an_event_opens_at_the_higher_threshold_and_closes_below_the_lower() -> None:
    curve = [0.1, 0.5, 0.8, 0.5, 0.4, 0.3, 0.5, 0.1, 0.7]
    assert spans_of(curve, SpanDecision(0.6, 0.4)) == [(2, 5), (8, 9)]
    assert spans_of(curve, SpanDecision(0.45, 0.45)) == [(1, 4), (6, 7), (8, 9)]
    assert spans_of(curve, SpanDecision(0.6, 0.05)) == [(2, 9)]


def test_gaps_are_merged_first_and_what_is_then_too_short_is_left_out() -> None:
    curve = [0.9, 0.1, 0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9]  # one frame each; 1, 2 and 3 frames apart
    assert spans_of(curve, SpanDecision()) == [(0, 1), (2, 3), (5, 6), (9, 10)]
    assert spans_of(curve, SpanDecision(merge_seconds=0.5)) == [(0, 3), (5, 6), (9, 10)]
    assert spans_of(curve, SpanDecision(merge_seconds=0.5, min_seconds=1.0)) == [(0, 3)]
    assert spans_of(curve, SpanDecision(merge_seconds=1.4, min_seconds=3.0)) == [(0, 6)]
    assert spans_of(curve, SpanDecision(merge_seconds=1.0, min_seconds=3.5)) == []


def test_a_median_filter_drops_short_bursts_and_fills_short_gaps_also_at_the_ends() -> None:
    high, low = 0.9, 0.1
    curve = [high, low, low, high, low, low, high, high, low, high, high]
    # width 3: the very first frame is its own neighbour, so it stays
    assert spans_of(curve, SpanDecision(median_frames=3)) == [(0, 1), (6, 11)]
    curve = [low, low, low, high, high, low, low, low, high, high, high, low, high, high, low, low, low]
    # width 5: two frames go; of 8 to 14 the gap is filled, and frame 13 has two high ones among its five
    assert spans_of(curve, SpanDecision(median_frames=5)) == [(8, 13)]


def test_an_event_ends_where_the_held_score_falls_below_close_at() -> None:
    # level 2, falling by 1 a second, that is 0.5 a frame: at frame 4 + k the score is 2 - k / 2, below 0.4 at k = 4
    held = held_of({4: [(2.0, 1.0)]})
    close_at = 1 / (1 + math.exp(-0.4))
    (event,) = decode_spans(held, GRID, ONE, decisions=SpanDecision(0.8, close_at), seconds=100.0)
    assert (event.onset_seconds, event.offset_seconds) == (12.0, 14.0)
    assert event.score == pytest.approx(1 / (1 + math.exp(-2.0)))


def test_a_score_that_holds_ends_with_the_recording() -> None:
    held = held_of({3: [(2.0, 0.0)]})
    (event,) = decode_spans(held, GRID, ONE, decisions=SpanDecision(), seconds=60_000.2)
    assert (event.onset_seconds, event.offset_seconds) == (11.5, 60_010.2)


def test_nothing_begins_before_the_first_open_frame() -> None:
    held = held_of({3: [(-50.0, 0.0)]})
    (event,) = decode_spans(held, GRID, ONE, decisions=SpanDecision(0.0, 0.0), seconds=4.0)
    assert event.onset_seconds == 11.5
    nothing = held._replace(level=held.level[:0], decay=held.decay[:0], index=held.index[:0])
    assert decode_spans(nothing, GRID, ONE, decisions=SpanDecision(0.0, 0.0), seconds=4.0) == []


def test_the_score_is_the_highest_threshold_at_which_the_event_would_have_been_found() -> None:
    curve = [0.1, 0.6, 0.95, 0.7, 0.7, 0.1]
    seconds = len(curve) * 0.5
    (event,) = decode_spans(held_curve(curve), GRID, ONE, decisions=SpanDecision(median_frames=3), seconds=seconds)
    assert event.score == pytest.approx(0.7)
    for open_at, number in ((event.score - 1e-6, 1), (event.score + 1e-6, 0)):
        decision = SpanDecision(open_at, 0.5, 3)
        assert len(decode_spans(held_curve(curve), GRID, ONE, decisions=decision, seconds=seconds)) == number


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (SpanDecision(0.4, 0.5), "bell: close_at=0.5, open_at=0.4: the rule is 0 <= close_at <= open_at <= 1"),
        (SpanDecision(math.nan, 0.5), "open_at=nan"),
        (SpanDecision(median_frames=4), "median_frames=4 must be odd"),
        (SpanDecision(min_seconds=-1.0), "min_seconds=-1.0"),
        (SpanDecision(merge_seconds=math.inf), "merge_seconds=inf"),
    ],
)
def test_a_decision_without_sense_is_refused(decision: SpanDecision, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_spans(held_curve([0.5]), GRID, ONE, decisions=decision, seconds=0.5)


def test_a_duration_shorter_than_the_scores_is_refused() -> None:
    with pytest.raises(ValueError, match=r"frame 2 is open, but seconds=1.0 hold 2 frames only"):
        decode_spans(held_curve([0.5, 0.5, 0.5]), GRID, ONE, decisions=SpanDecision(), seconds=1.0)


def soundscape(seed: int, seconds: float = 120.0) -> tuple[Track, list[Event]]:
    """Scores as a model might give them: events of two labels under noise, one badly calibrated, flicker between."""
    random = np.random.default_rng(seed)
    grid = Grid(0.05, origin_seconds=3.0 * seed)
    num_frames = grid.num_frames(seconds)
    levels = np.zeros((num_frames, 3))
    truth: list[Event] = []
    for column, (label, usual, high, low) in enumerate([("bell", 0.4, 6.0, 3.0), ("engine", 4.0, -2.0, -6.0)]):
        levels[:, column] = low + 0.5 * random.standard_normal(num_frames)
        levels[random.random(num_frames) < 0.02, column] = high
        for _ in range(12):
            onset, length = random.uniform(0, seconds - 6), usual * random.uniform(0.8, 1.25)
            if any(e.label == label and e.onset_seconds - grid.origin_seconds - onset < 7 for e in truth):
                continue
            first, end = round(onset / 0.05), round((onset + length) / 0.05)
            levels[first:end, column] = high + random.standard_normal(end - first)
            levels[first:end, column] = np.where(random.random(end - first) < 0.1, low, levels[first:end, column])
            truth.append(Event(grid.onset_seconds(first), grid.onset_seconds(end), label))
    tensor = torch.from_numpy(levels).float()
    held = Held(tensor, torch.zeros_like(tensor), torch.arange(num_frames))
    is_open = torch.ones(num_frames, dtype=torch.bool)
    return Track(held, is_open, None, grid, num_frames, seconds), truth


LABELS = ("bell", "engine", "whistle")


def f1_of(tracks: list[Track], truths: list[list[Event]], label: str, decision: SpanDecision) -> float:
    results = []
    for number, (track, truth) in enumerate(zip(tracks, truths, strict=True)):
        found = decode_spans(track.held, track.grid, LABELS, decisions=decision, seconds=track.seconds)
        results.append(RecordingResult(found, truth, track.seconds, "", str(number)))
    return f1_micro(event_counts(results, [label]), np.ones(len(results)))


def test_tuned_decisions_have_the_f1_they_are_said_to_have_and_beat_the_default() -> None:
    tracks, truths = map(list, zip(*(soundscape(seed) for seed in range(4)), strict=True))
    tuned = tune_spans(tracks, truths, LABELS)
    for label in ("bell", "engine"):
        assert tuned.f1[label] == pytest.approx(f1_of(tracks, truths, label, tuned.decisions[label]))
        assert tuned.f1[label] > 0.9
        assert f1_of(tracks, truths, label, SpanDecision()) < 0.3
    unseen, true = map(list, zip(*(soundscape(seed) for seed in range(10, 14)), strict=True))
    assert all(f1_of(unseen, true, label, tuned.decisions[label]) > 0.85 for label in ("bell", "engine"))
    assert repr(tune_spans(tracks, truths, LABELS)) == repr(tuned)  # NaN is not equal to itself


def test_a_label_without_a_true_event_gets_the_fallback() -> None:
    track, truth = soundscape(0)
    fallback = SpanDecision(0.7, 0.6, 3)
    tuned = tune_spans([track], [truth], LABELS, fallback=fallback)
    assert tuned.decisions["whistle"] == fallback
    assert math.isnan(tuned.f1["whistle"])


def test_a_label_that_was_never_heard_gets_the_fallback() -> None:
    track, truth = soundscape(0)
    unheard = track._replace(held=Held(track.held.level[:0], track.held.decay[:0], track.held.index[:0]))
    assert tune_spans([unheard], [truth], LABELS).decisions == dict.fromkeys(LABELS, SpanDecision())


def test_as_many_tracks_as_lists_of_events_are_wanted() -> None:
    with pytest.raises(ValueError, match="0 tracks and 1 lists of true events"):
        tune_spans([], [[]], LABELS)


def test_scores_to_be_judged_are_those_that_decoding_sees() -> None:
    held = held_of({2: [(1.0, 0.0), (0.5, 0.2)], 3: [(5.0, 0.0), (2.0, 0.0)], 4: [(2.0, 0.0), (-1.0, 0.0)]})
    decisions = {"bell": SpanDecision(median_frames=3), "dog": SpanDecision()}
    scores = filtered_scores(held, GRID, ("bell", "dog"), decisions, 6)
    none = -math.inf  # nothing has been heard yet
    assert scores[:, 0].tolist() == [none, none, 1.0, 2.0, 2.0, 2.0]
    assert scores[:, 1].tolist() == [none, none, 0.5, 2.0, -1.0, -1.0]
