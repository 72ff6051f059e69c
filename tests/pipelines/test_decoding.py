"""Events lie where the whole score curve, closed frames included, has its peaks."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featurizers import Grid
from pipelines.decoding import Placement, decode_peaks, is_peak
from pipelines.events import Event
from pipelines.heads import Held

GRID = Grid(0.5, origin_seconds=10.0)


def held_of(rows: dict[int, tuple[float, float]]) -> Held:
    """One label: {frame: (level, decay)}."""
    level, decay = zip(*rows.values(), strict=True)
    return Held(torch.tensor(level)[:, None], torch.tensor(decay)[:, None], torch.tensor(list(rows)))


def curve_of(rows: dict[int, tuple[float, float]], num_frames: int) -> list[float]:
    """The score of every frame, said or held."""
    curve, last = [], None
    for frame in range(num_frames):
        last = frame if frame in rows else last
        curve.append(-math.inf if last is None else rows[last][0] - rows[last][1] * (frame - last) * 0.5)
    return curve


@given(
    st.dictionaries(
        st.integers(0, 30),
        st.tuples(st.integers(-3, 3).map(float), st.sampled_from([0.0, 0.25, 1.0, 4.0])),
        min_size=1,
    ),
    st.integers(0, 8),
)
def test_peaks_are_those_of_the_dense_curve(rows: dict[int, tuple[float, float]], separation: int) -> None:
    rows = dict(sorted(rows.items()))
    curve = curve_of(rows, 40)
    brute = []
    for frame, score in enumerate(curve):
        before = curve[max(0, frame - separation) : frame]
        after = curve[frame + 1 : frame + 1 + separation]
        if math.isfinite(score) and all(s < score for s in before) and all(s <= score for s in after):
            brute.append(frame)
    held = held_of(rows)
    found = held.index[is_peak(held, GRID, separation)[:, 0]].tolist()
    # without separation every frame is a peak of its own, closed ones too, which are no news
    assert found == [frame for frame in brute if frame in rows]
    if separation:
        assert set(brute) <= set(rows)


@given(
    st.dictionaries(
        st.integers(0, 30), st.tuples(st.integers(-3, 3).map(float), st.sampled_from([0.0, 0.25, 4.0])), min_size=1
    ),
    st.sampled_from([0.0, 0.5, 1.5, 4.0]),
    st.integers(1, 5),
)
def test_events_do_not_depend_on_how_many_frames_are_looked_at_together(
    rows: dict[int, tuple[float, float]], separation_seconds: float, block_rows: int
) -> None:
    held = held_of(dict(sorted(rows.items())))
    whole, cut = (
        decode_peaks(held, GRID, ["a"], thresholds=0.2, separation_seconds=separation_seconds, block_rows=number)
        for number in (1000, block_rows)
    )
    assert cut == whole


def test_a_lower_score_on_the_slope_of_a_held_one_is_no_peak() -> None:
    # frame 0 says 5 and falls by 0.5 a frame: 3.5 is still held when frame 4 says 3, and 0 when frame 10 does
    assert is_peak(held_of({0: (5.0, 1.0), 4: (3.0, 1.0)}), GRID, 2)[:, 0].tolist() == [True, False]
    assert is_peak(held_of({0: (5.0, 1.0), 10: (3.0, 1.0)}), GRID, 2)[:, 0].tolist() == [True, True]


def test_labels_peak_on_their_own() -> None:
    held = Held(torch.tensor([[1.0, 3.0], [2.0, 2.0]]), torch.ones(2, 2), torch.tensor([0, 1]))
    assert is_peak(held, GRID, 1).tolist() == [[False, True], [True, False]]


def test_no_open_frame_no_event() -> None:
    nothing = Held(torch.zeros(0, 1), torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64))
    assert decode_peaks(nothing, GRID, ["a"], thresholds=0.0) == []


def test_of_two_peaks_nearer_than_the_separation_the_higher_stands() -> None:
    rows = {0: (2.0, 9.0), 3: (1.0, 9.0), 9: (1.0, 9.0)}
    assert [e.onset_seconds for e in decode_at_frame_ends(rows, separation_seconds=1.5)] == [10.5, 15.0]
    assert [e.onset_seconds for e in decode_at_frame_ends(rows, separation_seconds=1.0)] == [10.5, 12.0, 15.0]


def decode_at_frame_ends(rows: dict[int, tuple[float, float]], separation_seconds: float) -> list[Event]:
    placements = {"a": Placement(0.0, 0.0)}
    return decode_peaks(
        held_of(rows), GRID, ["a"], thresholds=0.0, placements=placements, separation_seconds=separation_seconds
    )


def test_a_peak_counts_from_its_label_s_threshold_on() -> None:
    level = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    held = Held(level, torch.full((2, 2), 9.0), torch.tensor([0, 10]))
    exactly = float(torch.tensor(1.0).sigmoid())
    found = decode_peaks(held, GRID, ["a", "b"], thresholds={"a": 0.5, "b": exactly})
    assert [(event.label, round(event.score, 6)) for event in found] == [("a", 0.5), ("a", 0.731059), ("b", 0.731059)]
    assert decode_peaks(held, GRID, ["a", "b"], thresholds=1) == []


def test_events_lie_before_the_end_of_their_peak_frame() -> None:
    placements = {"a": Placement(onset_delay_seconds=1.25, offset_delay_seconds=0.25)}
    (event,) = decode_peaks(held_of({7: (2.0, 1.0)}), GRID, ["a"], thresholds=0.5, placements=placements)
    assert event == Event(14.0 - 1.25, 14.0 - 0.25, "a", pytest.approx(torch.tensor(2.0).sigmoid().item()))


def test_no_event_begins_before_its_recording() -> None:
    placements = {"a": Placement(onset_delay_seconds=3.0, offset_delay_seconds=2.0)}
    (event,) = decode_peaks(held_of({0: (2.0, 1.0)}), GRID, ["a"], thresholds=0.5, placements=placements)
    assert (event.onset_seconds, event.offset_seconds) == (10.0, 10.0)


def test_events_are_sorted_by_onset() -> None:
    held = Held(torch.tensor([[0.0, 2.0], [2.0, 0.0]]), torch.ones(2, 2), torch.tensor([0, 1]))
    placements = {"a": Placement(0.75, 0.0), "b": Placement(0.0, 0.0)}  # the later peak begins earlier
    found = decode_peaks(held, GRID, ["a", "b"], thresholds=0.6, placements=placements)
    assert [(event.label, event.onset_seconds) for event in found] == [("a", 10.25), ("b", 10.5)]
