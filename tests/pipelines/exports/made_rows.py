"""Rows of an invented tagging job."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from pipelines.archive.rows import EventRow, FileRow
from pipelines.exports import Rows

AWKWARD = 'a\t"b", <c> & --> d\r\ne;\u2028\N{SNOWMAN}'
# What a table must hold: any text without halves of characters. Some of it is what formats trip over.
texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\t\r\n\",;&<>-\\/'\0\x85\u2028 .~"), max_size=12
)


def file_row(file: str, status: Any = "done") -> FileRow:
    done = status == "done"
    numbers = (60.0, 0.1) if done else (0.0, 0.0)
    return FileRow(file, status, "" if done else "damaged", *numbers, 0.25, "", 48_000 if done else 0)


def event_row(file: str, onset: float = 1.0, offset: float = 2.0, label: str = "yes", **others: Any) -> EventRow:
    return EventRow(file, onset, offset, label, **{**DEFAULTS, **others})


DEFAULTS: dict[str, Any] = {
    "score": 0.5,
    "channel": 0,
    "recording_start": "",
    "model_fingerprint": "f00d",
    "version": "0.1.0",
}


def rows(items: Sequence[Any]) -> Rows[Any]:
    """As a job provides them: to be gone through more than once."""
    return lambda: iter(items)
