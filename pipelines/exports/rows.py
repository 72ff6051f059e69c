"""How exports get at the rows of a job: as often as they like, never all at once."""

import itertools
from collections.abc import Callable, Iterator
from typing import TypeVar

from pipelines.archive.rows import EventRow, FileRow

Row = TypeVar("Row", FileRow, EventRow)
Rows = Callable[[], Iterator[Row]]  # each call begins anew; by file, then by onset


def by_recording(files: Rows[FileRow], events: Rows[EventRow]) -> Iterator[tuple[FileRow, Iterator[EventRow]]]:
    """Each recording that was read, with its events; those of one must be consumed before the next is asked for.

    A recording without events has its turn too, a failed one has not: of it nobody knows what is in it.

    Raises:
        ValueError: if events are not in the order of the files.
    """
    groups = itertools.groupby(events(), key=lambda event: event.file)
    group = next(groups, None)
    for row in files():
        if group is not None and group[0] == row.file:
            yield row, group[1]
            group = next(groups, None)
        elif row.status == "done":
            yield row, iter(())
    if group is not None:
        raise ValueError(f"the events of {group[0]} do not follow the order of the files; sort both tables by file")
