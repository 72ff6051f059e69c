"""All events of a job in one text table: CSV, JSON Lines, DCASE."""

import csv
import json
from pathlib import Path

from pipelines.archive.rows import EventRow, FileRow

from .escapes import on_one_line
from .rows import Rows
from .whole import whole_file


def write_csv(folder: Path, files: Rows[FileRow], events: Rows[EventRow]) -> Path:  # noqa: ARG001
    """events.csv: the columns of events.parquet, header first (even without rows), UTF-8.

    Times have 3 decimals (milliseconds of media time), scores 6, with a point whatever the locale.

    Source: RFC 4180 (comma-separated, CRLF line ends, quotes where needed)
    """
    with whole_file(folder / "events.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(EventRow._fields)
        for event in events():
            name, onset, offset, label, score, *rest = event
            writer.writerow((name, f"{onset:.3f}", f"{offset:.3f}", label, f"{score:.6f}", *rest))
    return folder / "events.csv"


def write_jsonl(folder: Path, files: Rows[FileRow], events: Rows[EventRow]) -> Path:  # noqa: ARG001
    """events.jsonl: one JSON object per event and line, its keys the columns of events.parquet; UTF-8.

    Source: RFC 8259; jsonlines.org
    """
    to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    with whole_file(folder / "events.jsonl") as path, path.open("w", encoding="utf-8", newline="\n") as file:
        for event in events():
            rounded = event._replace(
                onset_seconds=round(event.onset_seconds, 3),
                offset_seconds=round(event.offset_seconds, 3),
                score=round(event.score, 6),
            )
            file.write(to_json(rounded._asdict()) + "\n")
    return folder / "events.jsonl"


def write_dcase(folder: Path, files: Rows[FileRow], events: Rows[EventRow]) -> Path:  # noqa: ARG001
    """events.tsv: strong labels as DCASE's sound event tasks have them: filename, onset, offset, event_label.

    The format quotes nothing: a tab or line end in a name or label is written as an escape.

    Source: DCASE challenge task 4, "Sound event detection in domestic environments", file format of the data set
    """
    with whole_file(folder / "events.tsv") as path, path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("filename\tonset\toffset\tevent_label\n")
        for event in events():
            times = f"{event.onset_seconds:.3f}\t{event.offset_seconds:.3f}"
            file.write(f"{on_one_line(event.file)}\t{times}\t{on_one_line(event.label)}\n")
    return folder / "events.tsv"
