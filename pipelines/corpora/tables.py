"""Tables of labelled events, read and written: DCASE, Raven, Audacity, CSV, Parquet; mistakes named by file and line.

    dcase     tab-separated with a header: filename onset offset event_label, or filename event_labels ("a,b")
    raven     tab-separated selection table (.txt): Begin Time (s), End Time (s), Low Freq (Hz), Annotation, ...
    audacity  tab-separated label track (.txt), no header: onset, offset, label; "\\", low, high below if exported so
    csv       a header and any separator; columns named by the caller or known by their titles
    parquet   the same columns, typed

Times are seconds from the start of the media file. Raven and Audacity tables belong to the recording of the same name.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pipelines.corpora.table_formats import Cell, Format, Mistakes, format_of, read_records, recording_of
from pipelines.events import Event
from pipelines.yaml_text import did_you_mean

# Titles by which a column is known, in lower case.
KNOWN_TITLES: dict[str, tuple[str, ...]] = {
    "file": ("file", "filename", "file_name", "audio_file", "path", "begin file"),
    "onset_seconds": ("onset_seconds", "onset", "start_seconds", "start_time", "start", "begin time (s)"),
    "offset_seconds": ("offset_seconds", "offset", "end_seconds", "end_time", "end", "end time (s)"),
    "label": ("label", "event_label", "annotation", "class", "species"),
    "clip_labels": ("clip_labels", "event_labels", "labels"),
    "score": ("score",),
    "channel": ("channel",),
    "low_hz": ("low_hz", "low_freq", "low freq (hz)"),
    "high_hz": ("high_hz", "high_freq", "high freq (hz)"),
    "split": ("split", "subset"),
    "group": ("group", "source_group"),
    "kind": ("kind",),
    "verdict": ("verdict",),
}
VERDICTS = ("accept", "reject", "unsure")
_FILE_COLUMNS = ("file", "split", "group", "kind")
_TIMES = ("onset_seconds", "offset_seconds")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Row(NamedTuple):
    """One line of a table.

    Args:
        line: where it stands, from 1 (of a Parquet file: the row).
        file: the recording, as the table names it.
        event: what happens, when; None: the line only says that the recording is annotated.
        clip_labels: labels of the whole recording; None: the line says nothing of them.
        split, group, kind: as in Recording; "": the line says nothing of them.
        verdict: of a person on an event that a model found: accept, reject, unsure, or "" for none yet; None: the table
            has no such column, its events took place.
    """

    line: int
    file: str
    event: Event | None
    clip_labels: tuple[str, ...] | None = None
    split: str = ""
    group: str = ""
    kind: str = ""
    verdict: str | None = None


class Table(NamedTuple):
    """A table as read: its rows in order, and which of its columns was taken for what."""

    path: Path
    rows: tuple[Row, ...]
    columns: dict[str, str]


def read_table(
    path: str | Path,
    format: Format | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    of: Literal["events", "files", "spans"] = "events",
) -> Table:
    """All rows of a table.

    Args:
        format: None: by the name, see `format_of`.
        columns: our name of a column (see KNOWN_TITLES) -> its title; those not given are known by their titles.
        separator: None: a comma for csv, a tab for all others.
        of: what it must tell: "events": onset, offset and label, or labels of whole clips; "files": the file alone;
            "spans": onset and offset.
    Raises:
        TableError: naming file and line of everything that is wrong, up to ten.
    """
    path = Path(path)
    format = format or format_of(path)
    mistakes = Mistakes(path)
    titles, records = read_records(path, format, separator, mistakes)
    has_name = format in ("raven", "audacity")
    chosen = _choose_columns(titles, columns or {}, mistakes, needs_file=not has_name, of=of)
    places = {name: titles.index(title) for name, title in chosen.items()}
    rows: list[Row] = []
    for line, cells in records:
        if len(cells) != len(titles):
            mistakes.add(line, f"has {len(cells)} cells; the header has {len(titles)}; every row has one per column")
            continue
        named = {name: cells[place] for name, place in places.items()}
        if of == "spans":
            named["label"] = "annotated"
        row = _row(line, named, recording_of(path), mistakes)
        rows += [row] if row is not None else []
    if has_name and not rows:
        rows = [Row(1, recording_of(path), None)]  # annotated, and nothing found
    _refuse_duplicates(rows, mistakes)
    mistakes.raise_any()
    return Table(path, tuple(rows), chosen)


def renamed(table: Table, names: Mapping[str, str]) -> Table:
    """The table with labels taken for others.

    Args:
        names: label in the table -> label that it counts as; "*" stands for every label that is not named.
    """

    def name_of(label: str) -> str:
        return names.get(label, names.get("*", label))

    def of(row: Row) -> Row:
        clip = row.clip_labels
        return row._replace(
            event=row.event and row.event._replace(label=name_of(row.event.label)),
            clip_labels=None if clip is None else tuple(dict.fromkeys(map(name_of, clip))),
        )

    return table._replace(rows=tuple(map(of, table.rows))) if names else table


def _row(line: int, cells: Mapping[str, Cell], stem: str, mistakes: Mistakes) -> Row | None:
    file = _word(cells.get("file", stem))
    if not file:
        mistakes.add(line, "names no file; every row names its recording")
        return None
    clip_labels = None
    if "clip_labels" in cells and not (cells["clip_labels"] is None and "label" in cells):
        listed = cells["clip_labels"] or ()
        words = listed.split(",") if isinstance(listed, str) else listed if isinstance(listed, Sequence) else ()
        clip_labels = tuple(dict.fromkeys(_word(word) for word in words if _word(word)))
    event = None
    if any(_word(cells.get(name)) for name in ("onset_seconds", "offset_seconds", "label")):
        event = _event(line, cells, mistakes)
        if event is None:
            return None
    verdict = _word(cells["verdict"]) if "verdict" in cells else None
    if verdict and verdict not in VERDICTS:
        hint = did_you_mean(verdict, VERDICTS) or "; leave it empty where nobody judged"
        mistakes.add(line, f"verdict {verdict!r} is none of {', '.join(VERDICTS)}{hint}")
        return None
    split, group, kind = (_word(cells.get(name)) for name in ("split", "group", "kind"))
    return Row(line, file, event, clip_labels, split, group, kind, verdict)


def _event(line: int, cells: Mapping[str, Cell], mistakes: Mistakes) -> Event | None:
    label = _word(cells.get("label"))
    if not label:
        mistakes.add(line, "has no label; give it one, or leave onset and offset empty, too: no event")
        return None
    if fault := fault_of_name(label):
        mistakes.add(line, f"label {label!r} {fault}")
        return None
    times: list[float] = []
    for name in ("onset_seconds", "offset_seconds"):
        value = _number(line, name, cells.get(name), mistakes)
        if value is None:
            return None
        times.append(value)
    onset, offset = times
    if onset < 0:
        mistakes.add(line, f"onset {onset:g} s lies before the start of the recording; it must be at least 0")
    elif offset == onset:
        mistakes.add(line, f"onset and offset are both {onset:g} s; an event lasts: give it the time that it ends")
    elif offset < onset:
        mistakes.add(line, f"offset {offset:g} s lies before onset {onset:g} s; swap them")
    else:
        extra = {
            name: _number(line, name, cells[name], mistakes)
            for name in ("score", "low_hz", "high_hz", "channel")
            if _word(cells.get(name))
        }
        channel = extra.get("channel") or 0.0
        score = extra.get("score")
        return Event(
            onset,
            offset,
            label,
            1.0 if score is None else score,
            int(channel),
            extra.get("low_hz"),
            extra.get("high_hz"),
        )
    return None


def _word(cell: Cell) -> str:
    """A cell as text; "" if it is empty or NaN, as pandas writes a missing value."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(cell).strip()


def _number(line: int, name: str, cell: Cell, mistakes: Mistakes) -> float | None:
    text = _word(cell)
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if _NUMBER.fullmatch(text.replace(",", ".")):
        mistakes.add(line, f"{name} {text!r} has a decimal comma; write a point: {text.replace(',', '.')}")
    elif not text or text.lower() in ("nan", "na", "null", "none"):
        mistakes.add(line, f"{name} is missing; an event has onset, offset and label")
    else:
        mistakes.add(line, f"{name} {text!r} is no number of seconds or hertz, such as 12.5")
    return None


def fault_of_name(name: str) -> str:
    """What is wrong with a label or file name; "" if nothing is."""
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        return "holds a tab, a line break or another control character; take it out"
    return "" if name == name.strip() and name else "is empty, or begins or ends with a space"


def _refuse_duplicates(rows: Iterable[Row], mistakes: Mistakes) -> None:
    seen: dict[tuple[Any, ...], int] = {}
    for row in rows:
        content = row[1:]
        if content in seen:
            mistakes.add(row.line, f"is the same as line {seen[content]}; delete one of them")
        seen.setdefault(content, row.line)


def _choose_columns(
    titles: Sequence[str], given: Mapping[str, str], mistakes: Mistakes, *, needs_file: bool, of: str
) -> dict[str, str]:
    """Our name of each column -> its title in the table."""
    if unknown := [name for name in given if name not in KNOWN_TITLES]:
        raise mistakes.stop(None, f"columns names {unknown[0]!r}; what can be named is {', '.join(KNOWN_TITLES)}")
    chosen = {}
    for name in _FILE_COLUMNS if of == "files" else KNOWN_TITLES:
        if name in given:
            if given[name] not in titles:
                raise mistakes.stop(1, f"has no column {given[name]!r} (for {name}); it has {', '.join(titles)}")
            chosen[name] = given[name]
            continue
        found = [title for title in titles if title.lower() in KNOWN_TITLES[name] and title not in given.values()]
        if len(found) > 1:
            raise mistakes.stop(1, f"{name} may be {' or '.join(found)}; say which: `columns: {{{name}: {found[0]}}}`")
        if found:
            chosen[name] = found[0]
    needed = {"files": (), "spans": _TIMES, "events": (*_TIMES, "label")}[of]
    if of == "events" and "clip_labels" in chosen and len([name for name in needed if name in chosen]) < 2:
        needed = ()
    missing = [name for name in (*(["file"] if needs_file else []), *needed) if name not in chosen]
    if missing:
        raise mistakes.stop(
            1,
            f"has no column for {', '.join(missing)}; it has {', '.join(titles)}; say `columns: {{{missing[0]}: ...}}`",
        )
    return chosen
