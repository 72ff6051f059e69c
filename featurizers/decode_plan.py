"""Which compressed pictures must be decoded so that the wanted ones come out as in a full decode.

    decode order    K0 p  b  b  p  K1 l  l  p  p  K2 ...      K key frame, l: decoded after K1, but shown before it
    wanted                            ^                       needs K0 .. l: it looks back over its key frame
    wanted                                  ^                 needs K1 .. p, without the two l
    wanted             ^                          ^           needs K0 .. b, then (the decoder starts anew) K2

A picture is safe to decode from a key frame that comes before it in both orders, of decoding and of showing. A stream
with gradual refresh has no such key frame; there a picture is safe once the refresh that begins at the entry is done.
Source: ITU-T H.264, D.2.8 (recovery point); H.265, 3.10 and 8.1.3 (leading pictures of a random access point).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
NO_ENTRY = -1


class CodedPictures(NamedTuple):
    """K compressed pictures, without gaps, in decoding order; indices below count from the first of them.

    Args:
        times: (K,) float64, presentation time in seconds.
        entries: (E,) int64, ascending: where decoding may start.
        exact_from: (E,) int64: what is decoded and shown no earlier than this picture is exact when decoding started
            at the entry; the entry itself, or where its gradual refresh is done (K or more: not read yet).
        is_from_start: the first of them is the first of the video, where a full decode starts too: entry or not, what
            no entry leads to is decoded from there.
    """

    times: NDArray[np.float64]
    entries: Indices
    exact_from: Indices
    is_from_start: bool = True


class DecoderRun(NamedTuple):
    """How far a decoder is.

    Args:
        entry: where it started; may be negative: forgotten.
        position: the next picture it takes.
        waiting: pictures that it took and has not given out.
    """

    entry: int
    position: int
    waiting: frozenset[int] = frozenset()


class Span(NamedTuple):
    """Pictures to decode one after another.

    Args:
        first, last: both included; first > last: nothing has to be taken, what is wanted waits in the decoder.
        restart: the decoder starts anew at `first`; otherwise it goes on.
        wanted: which pictures are to come out.
    """

    first: int
    last: int
    restart: bool
    wanted: frozenset[int]


class Plan(NamedTuple):
    """Spans in decoding order, and pictures that nothing leads to any more."""

    spans: list[Span]
    unreachable: list[int]


def nearest(times: NDArray[np.float64], wanted_seconds: NDArray[np.float64]) -> Indices:
    """Index of the time nearest to each wanted one; of two equally near the earlier.

    Args:
        times: (K,) ascending, at least one.
        wanted_seconds: (N,).
    """
    after = np.searchsorted(times, wanted_seconds)
    before = np.maximum(after - 1, 0)
    after = np.minimum(after, len(times) - 1)
    is_after_nearer = times[after] - wanted_seconds < np.abs(wanted_seconds - times[before])
    return np.where(is_after_nearer, after, before)


def wanted_entries(coded: CodedPictures, wanted: Indices) -> Indices:
    """For each wanted picture, the latest entry that it is exact from; NO_ENTRY: there is none."""
    times, entries, exact_from, is_from_start = coded
    nowhere = 0 if is_from_start else NO_ENTRY
    if not len(entries):
        return np.full(len(wanted), nowhere)
    number = np.searchsorted(entries, wanted, side="right") - 1
    limit = len(times) - 1
    while True:
        exact = exact_from[np.maximum(number, 0)]
        is_early = (wanted < exact) | (times[wanted] < times[np.minimum(exact, limit)])
        is_early &= number >= 0
        if not is_early.any():
            return np.where(number < 0, nowhere, entries[number])
        number = number - is_early


def plan_spans(coded: CodedPictures, wanted: Indices, run: DecoderRun | None = None) -> Plan:
    """The least decoding, group by group, that brings out every wanted picture as a full decode would.

    Args:
        wanted: indices in any order.
        run: of the decoder as it stands; it goes on where that is no detour.
    """
    entries = wanted_entries(coded, wanted)
    entry_of = dict(zip(wanted.tolist(), entries.tolist(), strict=True))
    if run is not None and not _leads_to(run, entry_of):
        run = None
    spans: list[Span] = []
    unreachable: list[int] = []
    first, last, restart, chosen = 0, -1, True, set[int]()
    if run is not None:
        first, last, restart = run.position, run.position - 1, False
    for picture, entry in sorted(entry_of.items(), key=lambda item: (item[1], item[0])):
        if run is not None and (picture in run.waiting or entry <= last + 1):
            chosen.add(picture)
            last = max(last, picture) if picture >= run.position else last
        elif entry == NO_ENTRY:
            unreachable.append(picture)
        elif chosen and entry <= last + 1:
            chosen.add(picture)
            last = max(last, picture)
        else:
            if chosen:
                spans.append(Span(first, last, restart, frozenset(chosen)))
            first, last, restart, chosen, run = entry, picture, True, {picture}, None
    if chosen:
        spans.append(Span(first, last, restart, frozenset(chosen)))
    return Plan(spans, unreachable)


def _leads_to(run: DecoderRun, entry_of: dict[int, int]) -> bool:
    """Whether going on brings out all that cannot wait for a later start."""
    for picture, entry in entry_of.items():
        is_ahead = picture >= run.position and (entry >= run.entry or entry == NO_ENTRY)
        if not (picture in run.waiting or is_ahead):
            return False
    return True
