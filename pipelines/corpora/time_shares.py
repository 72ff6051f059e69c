"""Splits by time, where there is but one recording of a kind: each is cut, and its parts are labelled one by one.

recording    [..##...##.....###|....##..|#...]     a cut within an event moves to its end
             train              valid.   test      each split has the whole file, and labelled time in its part alone
"""

from collections.abc import Mapping, Sequence

from pipelines.errors import UserError
from pipelines.events import Event, Recording

SPLITS = ("train", "validation", "test")


def checked_shares(shares: Mapping[str, float], splits: object) -> dict[str, float]:
    """The shares, if they are shares of splits.

    Raises:
        UserError: if they are not, or splits are given as well.
    """
    if splits is not None:
        raise UserError("time_shares and splits both say where a recording belongs; leave one of them out")
    if unknown := [split for split in shares if split not in SPLITS]:
        raise UserError(f"time_shares names {unknown[0]!r}; a split is one of {', '.join(SPLITS)}")
    if not all(share > 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"time_shares={dict(shares)} must be above 0 and add up to 1")
    return dict(shares)


def cut_in_time(recording: Recording, end_seconds: float, shares: Mapping[str, float]) -> list[Recording]:
    """The recording once for each split, its events and labelled time those of one part.

    Args:
        recording: of no split yet.
        end_seconds: where it ends on the media clock.
        shares: split -> share of it, in order of time.
    """
    parts, begin, passed = [], 0.0, 0.0
    for place, (split, share) in enumerate(shares.items(), start=1):
        passed += share
        is_last = place == len(shares)
        end = end_seconds if is_last else max(begin, _after_events(recording.events, passed * end_seconds))
        events = tuple(e for e in recording.events if begin <= e.onset_seconds < end)
        spans = recording.labelled_spans if recording.labelled_spans is not None else ((0.0, end_seconds),)
        within = tuple((max(begin, a), min(end, b)) for a, b in spans if max(begin, a) < min(end, b))
        parts.append(recording._replace(events=events, labelled_spans=within, split=split))
        begin = end
    return parts


def _after_events(events: Sequence[Event], seconds: float) -> float:
    """This time, or the end of the events that it lies in."""
    for event in sorted(events):
        if event.onset_seconds < seconds < event.offset_seconds:
            seconds = event.offset_seconds
    return seconds
