"""Tagging of whole archives: one journal, many workers, tables and exports made from what the journal holds.

inputs.py    names to files; shards
journal.py   what a job knows, in one SQLite file
outcomes.py  what passes between job, workers and journal
tagging.py   one file: its events, or why there are none
workers.py   processes that may hang or die
folder.py    the folder of a job, held by one call at a time
finish.py    tables, exports, clips, the audit's estimate
options.py   what the command takes
job.py       all of them together: tag_archive
merge.py     shards become one
rows.py      the rows of the two tables
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .job import JobProgress, Summary, tag_archive
    from .merge import merge_shards
    from .rows import EventRow, FileRow

__all__ = ["EventRow", "FileRow", "JobProgress", "Summary", "merge_shards", "tag_archive"]

_HOMES = {
    "job": ("JobProgress", "Summary", "tag_archive"),
    "merge": ("merge_shards",),
    "rows": ("EventRow", "FileRow"),
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: exports read rows.py, and job.py writes exports.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{home}", __name__), name)
    raise AttributeError(f"module 'pipelines.archive' has no attribute {name!r}")
