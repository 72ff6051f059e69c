"""Groups of pictures worked by hand: what must be decoded for what is wanted, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurizers.decode_plan import (
    CodedPictures,
    DecoderRun,
    Plan,
    Span,
    nearest,
    plan_spans,
    wanted_entries,
)


def coded(shown: str, entries: dict[int, int], *, is_from_start: bool = True) -> CodedPictures:
    """`shown`: place in order of presentation of each picture, in decoding order."""
    times = np.array([float(place) for place in shown.split()])
    ordered = sorted(entries.items())
    return CodedPictures(
        times,
        np.array([entry for entry, _ in ordered], np.int64),
        np.array([exact for _, exact in ordered], np.int64),
        is_from_start,
    )


def plan(pictures: CodedPictures, wanted: list[int], run: DecoderRun | None = None) -> Plan:
    return plan_spans(pictures, np.array(wanted, np.int64), run)


# decode order     K0 p1 p2 p3 K4 p5 p6 p7 K8 p9
CLOSED = coded("0 1 2 3 4 5 6 7 8 9", {0: 0, 4: 4, 8: 8})
# decode order     K0 p2 b1 K5 l3 l4 p7 b6: two pictures after the second key frame are shown before it
OPEN = coded("0 2 1 5 3 4 7 6", {0: 0, 3: 3})


@pytest.mark.parametrize(
    ("wanted", "spans"),
    [
        ([2], [Span(0, 2, True, frozenset({2}))]),
        ([6], [Span(4, 6, True, frozenset({6}))]),
        ([1, 3], [Span(0, 3, True, frozenset({1, 3}))]),
        ([1, 9], [Span(0, 1, True, frozenset({1})), Span(8, 9, True, frozenset({9}))]),
        ([3, 4], [Span(0, 4, True, frozenset({3, 4}))]),  # the next group follows at once: go on
        ([2, 4], [Span(0, 2, True, frozenset({2})), Span(4, 4, True, frozenset({4}))]),  # 3 is not worth it
        ([], []),
    ],
)
def test_a_group_is_decoded_from_its_key_frame_to_its_last_wanted_picture(wanted: list[int], spans: list[Span]) -> None:
    assert plan(CLOSED, wanted) == Plan(spans, [])


def test_a_picture_that_looks_back_over_its_key_frame_is_decoded_from_the_one_before() -> None:
    assert wanted_entries(OPEN, np.arange(8)).tolist() == [0, 0, 0, 3, 0, 0, 3, 3]
    assert plan(OPEN, [4]).spans == [Span(0, 4, True, frozenset({4}))]
    assert plan(OPEN, [7]).spans == [Span(3, 7, True, frozenset({7}))]
    assert plan(OPEN, [5, 7]).spans == [Span(0, 7, True, frozenset({5, 7}))]  # one pass serves both


def test_with_gradual_refresh_a_picture_is_safe_only_once_the_refresh_is_done() -> None:
    pictures = coded("0 1 2 3 4 5 6 7", {0: 0, 2: 5, 6: 99})  # from 2 on all is exact at 5; the third is not read yet
    assert wanted_entries(pictures, np.arange(8)).tolist() == [0, 0, 0, 0, 0, 2, 2, 2]
    assert plan(pictures, [4]).spans == [Span(0, 4, True, frozenset({4}))]
    assert plan(pictures, [7]).spans == [Span(2, 7, True, frozenset({7}))]


def test_a_decoder_goes_on_where_that_is_no_detour() -> None:
    run = DecoderRun(entry=0, position=2)
    assert plan(CLOSED, [3], run).spans == [Span(2, 3, False, frozenset({3}))]
    assert plan(CLOSED, [7], run).spans == [Span(4, 7, True, frozenset({7}))]
    assert plan(CLOSED, [2, 5], run).spans == [Span(2, 2, False, frozenset({2})), Span(4, 5, True, frozenset({5}))]
    assert plan(CLOSED, [4], DecoderRun(0, 4)).spans == [Span(4, 4, False, frozenset({4}))]


def test_a_decoder_that_has_passed_a_picture_starts_again() -> None:
    assert plan(CLOSED, [1, 3], DecoderRun(0, 2)).spans == [Span(0, 3, True, frozenset({1, 3}))]


def test_a_picture_that_waits_in_the_decoder_is_not_decoded_again() -> None:
    run = DecoderRun(entry=0, position=3, waiting=frozenset({1, 2}))
    assert plan(CLOSED, [2], run).spans == [Span(3, 2, False, frozenset({2}))]
    assert plan(CLOSED, [2, 3], run).spans == [Span(3, 3, False, frozenset({2, 3}))]


def test_a_decoder_that_started_at_an_open_group_does_not_give_the_pictures_before_it() -> None:
    assert plan(OPEN, [5], DecoderRun(entry=3, position=4)).spans == [Span(0, 5, True, frozenset({5}))]


def test_where_the_beginning_is_forgotten_only_the_decoder_leads_on() -> None:
    tail = coded("4 5 6 7 8 9", {4: 4}, is_from_start=False)
    assert plan(tail, [2]) == Plan([], [2])
    assert plan(tail, [3], DecoderRun(entry=-9, position=1)).spans == [Span(1, 3, False, frozenset({3}))]
    assert plan(tail, [1], DecoderRun(entry=-9, position=2)) == Plan([], [1])
    assert plan(tail, [5]).spans == [Span(4, 5, True, frozenset({5}))]


def test_a_video_that_begins_without_a_key_frame_is_decoded_from_its_beginning() -> None:
    assert plan(coded("0 1 2", {}), [2]).spans == [Span(0, 2, True, frozenset({2}))]
    leading = coded("2 0 1 3", {0: 0})  # cut out of a longer one: two pictures before the first key frame
    assert plan(leading, [1]).spans == [Span(0, 1, True, frozenset({1}))]


def test_the_nearest_picture_is_the_earlier_one_of_two_equally_near() -> None:
    times = np.array([0.0, 1.0, 3.0])
    assert nearest(times, np.array([-5.0, 0.0, 0.5, 0.51, 2.0, 2.01, 9.0])).tolist() == [0, 0, 0, 1, 1, 2, 2]


@st.composite
def streams(draw: st.DrawFn) -> CodedPictures:
    """Groups of 1 to 6 pictures, each with up to 2 that are shown before its key frame."""
    places: list[int] = []
    entries: dict[int, int] = {}
    for _ in range(draw(st.integers(1, 5))):
        size, first = draw(st.integers(1, 6)), len(places)
        leading = draw(st.integers(0, min(2, size - 1))) if first else 0
        rest = draw(st.permutations(range(first + leading + 1, first + size)))
        places += [first + leading, *range(first, first + leading), *rest]
        entries[first] = first
    return coded(" ".join(map(str, places)), entries)


@given(streams(), st.data())
def test_what_is_decoded_is_the_way_from_key_frames_to_wanted_pictures_each_picture_once(
    pictures: CodedPictures, data: st.DataObject
) -> None:
    wanted = data.draw(st.lists(st.integers(0, len(pictures.times) - 1), unique=True))
    spans, unreachable = plan(pictures, wanted)
    assert not unreachable
    assert sorted(picture for span in spans for picture in span.wanted) == sorted(wanted)
    taken = [picture for span in spans for picture in range(span.first, span.last + 1)]
    times, entries = pictures.times, pictures.entries
    entry_of = {w: max(e for e in entries if e <= w and times[e] <= times[w]) for w in wanted}
    assert sorted(taken) == sorted({p for w, entry in entry_of.items() for p in range(entry, w + 1)})
    assert all(span.restart and span.last in span.wanted for span in spans)
