"""The raw cells of a table of events, line by line: text with a separator, Raven, Audacity, Parquet."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pipelines.errors import UserError

Format = Literal["dcase", "raven", "audacity", "csv", "parquet"]
Cell = str | float | Sequence[str] | None
Record = tuple[int, list[Cell]]

SHOWN_MISTAKES = 10
AUDACITY_TITLES = ("onset_seconds", "offset_seconds", "label", "low_hz", "high_hz")
_RAVEN_SUFFIX = re.compile(r"(\.table\.\d+)?(\.selections?)?$", re.IGNORECASE)


class TableError(UserError):
    """Mistakes in a table, each with file and line."""


class Mistakes:
    """Collects what is wrong with a table, so that all of it can be put right at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._texts: list[str] = []

    def add(self, line: int | None, text: str) -> None:
        """Note one; line None: the table as a whole."""
        self._texts.append(f"{self.path}{'' if line is None else f', line {line}'}: {text}")

    def raise_any(self) -> None:
        """Raise what was noted.

        Raises:
            TableError: if anything was.
        """
        if self._texts:
            more = len(self._texts) - SHOWN_MISTAKES
            shown = self._texts[:SHOWN_MISTAKES] + ([f"and {more} more"] if more > 0 else [])
            raise TableError("\n".join(shown))

    def stop(self, line: int | None, text: str) -> TableError:
        """The error for a mistake after which nothing more can be read."""
        self.add(line, text)
        return TableError(self._texts[-1])


class Records(NamedTuple):
    """The lines of a table: titles of the columns, and (line, cells)."""

    titles: list[str]
    lines: list[Record]


def read_records(path: Path, format: Format, separator: str | None, mistakes: Mistakes) -> Records:
    """The cells of a table as they stand.

    Raises:
        TableError: if it cannot be read as what it should be.
    """
    if format == "parquet":
        return _parquet_records(path, mistakes)
    if format == "audacity":
        return _audacity_records(path, mistakes)
    records = _text_records(path, separator or ("," if format == "csv" else "\t"), mistakes)
    if format == "raven":
        return _one_view(_times_within_files(records, mistakes))
    if not records.lines:
        raise mistakes.stop(None, "has a header and no rows; a table names at least one recording")
    return records


def recording_of(path: Path) -> str:
    """The recording that a Raven or Audacity table is of: its own name without endings such as .Table.1.selections."""
    return _RAVEN_SUFFIX.sub("", path.stem)


def format_of(path: Path) -> Format:
    """The format of a table by its name, and for .txt by its first line.

    Raises:
        TableError: if the name tells nothing.
    """
    formats: dict[str, Format] = {".tsv": "dcase", ".csv": "csv", ".parquet": "parquet"}
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return "raven" if _text(path).lower().startswith("selection\t") else "audacity"
    if suffix not in formats:
        raise TableError(f"{path}: the name does not tell the format; say `format: csv` (or dcase, raven, audacity)")
    return formats[suffix]


def _text(path: Path) -> str:
    mistakes = Mistakes(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise mistakes.stop(None, f"cannot be read: {error.strerror}") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise mistakes.stop(None, "is UTF-16 text; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")  # a byte order mark, as spreadsheets write it, is no part of the first title
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise mistakes.stop(line, f"byte {data[error.start]:#04x} is not UTF-8; save the table as UTF-8") from None
    if "\0" in text:
        raise mistakes.stop(text.count("\n", 0, text.index("\0")) + 1, "holds a NUL character; this is no text table")
    return text


def _text_records(path: Path, separator: str, mistakes: Mistakes) -> Records:
    text = _text(path)
    if not text.strip():
        raise mistakes.stop(None, "is empty; a table has a header and rows")
    records: list[Record] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        line = 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                records.append((line, list(cells)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise mistakes.stop(reader.line_num, f"quotation marks do not pair up ({error})") from None
    titles = [str(title).strip() for title in records[0][1]]
    if len(titles) == 1:
        others = [other for other in (",", ";", "\t", "|") if other != separator and other in titles[0]]
        if others:
            raise mistakes.stop(
                records[0][0],
                f"the columns seem to be separated by {others[0]!r}, not by {separator!r}; say `separator: "
                f"{others[0]!r}`, or save the table with {separator!r}",
            )
    return Records(titles, records[1:])


def _parquet_records(path: Path, mistakes: Mistakes) -> Records:
    import pyarrow as pa  # here, because it takes a sixth of a second, which no other format needs
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)  # type: ignore[no-untyped-call]
    except (OSError, pa.ArrowException) as error:
        raise mistakes.stop(None, f"cannot be read as Parquet: {error}") from None
    columns = [column.to_pylist() for column in table.columns]
    lines = zip(*columns, strict=True)
    return Records(list(table.column_names), [(line, list(cells)) for line, cells in enumerate(lines, start=1)])


def _times_within_files(records: Records, mistakes: Mistakes) -> Records:
    """Raven counts Begin Time through all files of a sequence; File Offset counts within the file."""
    titles = records.titles
    if "Begin File" not in titles or "File Offset (s)" not in titles:
        return records
    begin, end, within = (titles.index(name) for name in ("Begin Time (s)", "End Time (s)", "File Offset (s)"))
    for line, cells in records.lines:
        try:
            shift = float(str(cells[within])) - float(str(cells[begin]))
            cells[begin], cells[end] = str(cells[within]), repr(float(str(cells[end])) + shift)
        except (ValueError, IndexError):
            mistakes.add(line, "Begin Time, End Time and File Offset must be numbers")
    return records


def _one_view(records: Records) -> Records:
    """Raven lists a selection once per view (waveform, spectrogram); one of them is enough."""
    titles = records.titles
    if "Selection" not in titles or "View" not in titles:
        return records
    selection, view = titles.index("Selection"), titles.index("View")
    views: dict[Cell, Cell] = {}
    kept = [
        (line, cells)
        for line, cells in records.lines
        if len(cells) != len(titles) or views.setdefault(cells[selection], cells[view]) == cells[view]
    ]
    return Records(titles, kept)


def _audacity_records(path: Path, mistakes: Mistakes) -> Records:
    lines: list[Record] = []
    for line, text in enumerate(_text(path).splitlines(), start=1):
        cells = text.split("\t")
        if cells[0] == "\\" and lines and len(cells) == 3:
            lines[-1][1][3:] = cells[1:]
        elif len(cells) > 1:
            lines.append((line, [*[*cells, ""][:3], None, None]))
        elif text.strip():
            mistakes.add(line, "has no tab; a line of an Audacity label track is onset, tab, offset, tab, label")
    return Records(list(AUDACITY_TITLES), lines)
