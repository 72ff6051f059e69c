"""What a tagging job has found: which events a page shows, where their files are now, which model found them."""

import heapq
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.archive.rows import EventRow
from pipelines.corpora.table_formats import Mistakes
from pipelines.corpora.tables import read_table
from pipelines.events import Event

ORDERS = ("score", "uncertain", "random")


class Choice(NamedTuple):
    """The events that a page shows, the first to judge first, and how many there are in all."""

    events: tuple[EventRow, ...]
    num_found: int


def choose_events(events: Iterable[EventRow], number: int, order: str, *, seed: int = 0) -> Choice:
    """At most `number` events of any number of them, which are never all in memory.

    Args:
        order: score: the highest scores; uncertain: the lowest, which were nearest to being left out; random: a fair
            sample of all scores, the highest of them first.
        seed: of the sample.
    """
    draw = random.Random(seed)
    keys: dict[str, Callable[[EventRow], float]] = {
        "score": lambda row: -row.score,
        "uncertain": lambda row: row.score,
        "random": lambda _: draw.random(),
    }
    num_found = 0

    def ranked() -> Iterable[tuple[float, int, EventRow]]:
        nonlocal num_found
        for row in events:
            num_found += 1
            yield keys[order](row), num_found, row  # of equal ones the first that was found

    chosen = [row for _, _, row in heapq.nsmallest(number, ranked())]
    if order == "random":
        chosen.sort(key=lambda row: -row.score)
    return Choice(tuple(chosen), num_found)


def find_media(file: str, root: Path | None) -> Path | None:
    """Where a file is now that a job knows by the path its user gave; None if it is gone.

    Args:
        root: look here first, for the path or its longest end that exists here: the archive may have moved.
    """
    path = Path(file)
    parts = path.relative_to(path.anchor).parts
    ends = [] if root is None else [root.joinpath(*parts[first:]) for first in range(len(parts))]
    return next((place for place in [*ends, path] if place.is_file()), None)


def find_model(fingerprint: str, folders: Iterable[Path]) -> Path | None:
    """The folder of this fingerprint among model, NAME/model and runs/NAME/model in each folder; None if none is."""
    from pipelines.model import fingerprint as fingerprint_of  # brings torch

    for folder in folders:
        for model in (
            place for pattern in ("model", "*/model", "runs/*/model") for place in sorted(folder.glob(pattern))
        ):
            try:
                if fingerprint_of(model) == fingerprint:
                    return model
            except OSError:
                continue  # no model, or a run that has not come to its end
    return None


def read_truth(table: Path, files: Sequence[str]) -> Mapping[str, tuple[Event, ...]]:
    """File of the job -> its true events, by onset; files that the table does not name are missing.

    A table names a file by its path, any end of it, or its name without suffix. Rows for files outside the job are
    passed over. Of a table with verdicts, the accepted events are true.

    Raises:
        TableError: if the table is wrong, or a row may mean several files.
    """
    known: dict[str, set[str]] = {}
    for file in files:
        path = Path(file)
        for name in {path.stem, *("/".join(path.parts[first:]) for first in range(len(path.parts)))}:
            known.setdefault(name, set()).add(file)
    mistakes = Mistakes(table)
    truth: dict[str, list[Event]] = {}
    for row in read_table(table).rows:
        name = Path(row.file.replace("\\", "/")).as_posix()
        named = known.get(name, set())
        if len(named) > 1:
            mistakes.add(row.line, f"{row.file!r} may be {' or '.join(sorted(named)[:2])}; write its path")
        for file in named:
            events = truth.setdefault(file, [])
            if row.event is not None and row.verdict in (None, "accept"):
                events.append(row.event)
    mistakes.raise_any()
    return {file: tuple(sorted(events, key=lambda event: event[:3])) for file, events in truth.items()}
