"""Tables of labelled events, written so that `read_table` gives the same rows again, and other programs open them."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from pipelines.corpora.table_formats import Format, TableError, format_of, recording_of
from pipelines.corpora.tables import Row, fault_of_name
from pipelines.events import Event

# What each format can hold beside file, onset, offset and label.
_HOLDS: dict[Format, set[str]] = {
    "dcase": set(),
    "raven": {"channel", "low_hz", "high_hz"},
    "audacity": {"low_hz", "high_hz"},
    "csv": {"score", "channel", "low_hz", "high_hz", "clip_labels", "split", "group", "kind", "verdict"},
    "parquet": {"score", "channel", "low_hz", "high_hz", "clip_labels", "split", "group", "kind", "verdict"},
}
_COLUMNS = (
    "file", "onset_seconds", "offset_seconds", "label", "clip_labels", "score", "channel", "low_hz", "high_hz",
    "split", "group", "kind", "verdict",
)  # fmt: skip


def write_table(path: str | Path, rows: Sequence[Row], format: Format | None = None) -> None:
    """Write rows: UTF-8, times in seconds with as many digits as they have.

    Raises:
        TableError: if the format cannot hold a row: it is never written without a part of it.
        OSError: if the folder is missing, read-only or full.
    """
    path = Path(path)
    format = format or format_of(path)
    is_weak = format != "parquet" and any(row.clip_labels is not None for row in rows)
    is_reviewed = any(row.verdict is not None for row in rows)
    for row in rows:
        if fault := _fault(row, format, path, is_weak=is_weak, is_reviewed=is_reviewed, num_rows=len(rows)):
            raise TableError(f"{path}: row {row[1:]}: {fault}")
    if format == "parquet":
        _write_parquet(path, rows)
        return
    text = {"raven": _raven, "audacity": _audacity, "csv": _csv, "dcase": _weak if is_weak else _strong}[format](rows)
    path.write_text(text, encoding="utf-8", newline="")


def _fault(row: Row, format: Format, path: Path, *, is_weak: bool, is_reviewed: bool, num_rows: int) -> str:
    """What of a row the format cannot hold; "" if it holds all of it."""
    names = [row.file, *(row.clip_labels or ()), *([row.event.label] if row.event else [])]
    for name in names + [word for word in (row.split, row.group, row.kind) if word]:
        if fault := fault_of_name(name):
            return f"{name!r} {fault}"
    holds = _HOLDS[format] | ({"clip_labels"} if format == "dcase" else set())
    told: dict[str, object] = {"split": row.split, "group": row.group, "kind": row.kind}
    if row.event is not None:
        default = Event(0.0, 1.0, "")
        told |= {name: getattr(row.event, name) for name in ("score", "channel", "low_hz", "high_hz")
                 if getattr(row.event, name) != getattr(default, name)}  # fmt: skip
    lost = [name for name, value in told.items() if value not in ("", None) and name not in holds]
    if (row.clip_labels is not None) and "clip_labels" not in holds:
        lost.append("clip_labels")
    if row.verdict is not None and "verdict" not in holds:
        lost.append("verdict")
    if lost:
        return f"the format {format} has no column for {', '.join(lost)}; write csv or parquet"
    if row.verdict is None and is_reviewed:
        return f"the format {format} cannot mix verdicts with rows that nobody is to judge; write two tables"
    if is_weak and (row.clip_labels is None or (format == "dcase" and row.event is not None)):
        return f"the format {format} cannot mix labels of clips with rows that say nothing of them; write parquet"
    if any("," in label for label in row.clip_labels or ()) and format != "parquet":
        return "a label of a clip has a comma, which separates labels; write parquet"
    if format in ("raven", "audacity") and row.file != recording_of(path):
        return f"a {format} table belongs to the recording of its own name, {recording_of(path)!r}; write one for each"
    if format in ("raven", "audacity") and row.event is None and num_rows > 1:
        return f"a {format} table holds events alone; one without rows says that there are none"
    if format == "audacity" and row.event and (row.event.low_hz is None) != (row.event.high_hz is None):
        return "Audacity needs both limits of frequency or none"
    return ""


def _separated(titles: Sequence[str], lines: Sequence[Sequence[object]], separator: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows([[repr(cell) if isinstance(cell, float) else cell for cell in line] for line in lines])
    return text.getvalue()


def _strong(rows: Sequence[Row]) -> str:
    lines = [(row.file, *(row.event[:3] if row.event else ("", "", ""))) for row in rows]
    return _separated(("filename", "onset", "offset", "event_label"), lines, "\t")


def _weak(rows: Sequence[Row]) -> str:
    lines = [(row.file, ",".join(row.clip_labels or ())) for row in rows]
    return _separated(("filename", "event_labels"), lines, "\t")


def _csv(rows: Sequence[Row]) -> str:
    left_out = {name for name in ("clip_labels", "verdict") if all(getattr(row, name) is None for row in rows)}
    columns = [name for name in _COLUMNS if name not in left_out]
    lines = []
    for row in rows:
        cells = _cells(row) | {"clip_labels": ",".join(row.clip_labels or ())}
        lines.append([cells[name] for name in columns])
    return _separated(columns, lines, ",")


def _raven(rows: Sequence[Row]) -> str:
    titles = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
              "Annotation")  # fmt: skip
    events = [row.event for row in rows if row.event is not None]
    lines = [
        (n, "Spectrogram 1", e.channel, e.onset_seconds, e.offset_seconds, e.low_hz, e.high_hz, e.label)
        for n, e in enumerate(events, start=1)
    ]
    return _separated(titles, lines, "\t")


def _audacity(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        if row.event is not None:
            lines.append(f"{row.event.onset_seconds!r}\t{row.event.offset_seconds!r}\t{row.event.label}\n")
            if row.event.low_hz is not None:
                lines.append(f"\\\t{row.event.low_hz!r}\t{row.event.high_hz!r}\n")
    return "".join(lines)


def _cells(row: Row) -> dict[str, object]:
    event = row.event._asdict() if row.event else dict.fromkeys(Event._fields)
    clip_labels = None if row.clip_labels is None else list(row.clip_labels)
    places = {"split": row.split, "group": row.group, "kind": row.kind, "verdict": row.verdict}
    return {**event, "file": row.file, "clip_labels": clip_labels, **places}


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.float64()
    columns = [name for name in _COLUMNS if name != "verdict" or any(row.verdict is not None for row in rows)]
    types = dict.fromkeys(columns, text) | dict.fromkeys(("onset_seconds", "offset_seconds", "score"), number)
    types |= {"low_hz": number, "high_hz": number, "channel": pa.int32(), "clip_labels": pa.list_(text)}
    cells = [_cells(row) for row in rows]
    arrays = [pa.array([line[name] for line in cells], types[name]) for name in columns]
    pq.write_table(  # type: ignore[no-untyped-call]
        pa.Table.from_arrays(arrays, names=columns), path
    )
