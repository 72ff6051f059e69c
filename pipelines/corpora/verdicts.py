"""What a person said of found events: accepted ones are events, rejected ones are none, the rest nobody knows.

A table with a column `verdict` (pipelines.review writes one) judges events one by one. It says nothing of the time
between them, so only what was accepted or rejected counts as labelled:

    found     ==accept==     ==reject==   ==unsure==
    events    ==========
    labelled  ==========     ==========
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.corpora.tables import Row
from pipelines.errors import UserError
from pipelines.events import Event

Span = tuple[float, float]


class Reviewed(NamedTuple):
    """What verdicts say of one recording: its accepted events, and the sorted spans within which nothing else is."""

    events: tuple[Event, ...]
    labelled_spans: tuple[Span, ...]


def is_judged(row: Row) -> bool:
    """Whether somebody accepted or rejected the row's event."""
    return row.verdict in ("accept", "reject")


def is_true(row: Row) -> bool:
    """Whether the row's event took place: one that was accepted, or of a table without verdicts."""
    return row.verdict in (None, "accept")


def reviewed(path: Path, rows: Sequence[Row]) -> Reviewed:
    """What the verdicts on a recording come to; where one that is unsure or missing overlaps, nothing is labelled.

    Raises:
        UserError: if one event was both accepted and rejected.
    """
    verdicts: dict[tuple[float, float, str], str] = {}
    judged: list[Span] = []
    unknown: list[Span] = []
    for row in rows:
        if row.event is None:
            continue
        span = row.event[:2]
        if not is_judged(row):
            unknown.append(span)
            continue
        judged.append(span)
        verdict = verdicts.setdefault(row.event[:3], row.verdict or "")
        if verdict != row.verdict:
            raise UserError(
                f"{path}: {row.event.label!r} at {span[0]:g} s is accepted in one row and rejected in another; keep one"
            )
    events = [row.event for row in rows if row.event is not None and row.verdict == "accept"]
    return Reviewed(tuple(events), tuple(_without(_joined(judged), _joined(unknown))))


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The same time in spans that neither touch nor overlap, in order."""
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _without(spans: Iterable[Span], holes: Sequence[Span]) -> list[Span]:
    """What is left of joined spans outside joined holes."""
    left: list[Span] = []
    for begin, end in spans:
        for hole_begin, hole_end in holes:
            if hole_begin < end and begin < hole_end:
                if begin < hole_begin:
                    left.append((begin, hole_begin))
                begin = min(end, hole_end)
        if begin < end:
            left.append((begin, end))
    return left
