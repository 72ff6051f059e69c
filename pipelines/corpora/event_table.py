"""A corpus of your own recordings: `EventTable` reads audio files and the tables of labels that go with them."""

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from pipelines.corpora.audio_folder import AudioFolder, Lengths
from pipelines.corpora.table_formats import Format, Mistakes
from pipelines.corpora.tables import Row, Table, read_table, renamed
from pipelines.corpora.time_shares import checked_shares, cut_in_time
from pipelines.corpora.verdicts import is_judged, is_true, reviewed
from pipelines.errors import UserError
from pipelines.events import Recording
from pipelines.yaml_text import did_you_mean

SPLITS = ("train", "validation", "test")
_SPLIT_NAMES = {"train": "train", "training": "train", "validation": "validation", "valid": "validation",
                "val": "validation", "dev": "validation", "test": "test", "eval": "test"}  # fmt: skip


class EventTable:
    """Recordings of your own with tables of labels: DCASE, Raven, Audacity, CSV or Parquet (see tables.py).

    A recording is a file that a table names. Strong labels are taken as complete: where a named recording has no event,
    there is none. Labels of whole clips become `clip_labels`. Of a table with verdicts (pipelines.review), accepted
    events are events, and only what was accepted or rejected counts as labelled (see verdicts.py).

    Splits come, in this order, from `splits`, from a column "split", or from a folder named train, validation or test
    (also val, valid, dev, eval) on the recording's path. They are never drawn: recordings of one session or individual
    would end up on both sides. No group may be in two splits. Where there is but one recording of a kind,
    `time_shares` cuts each in time instead; figures then say nothing of other sessions.

    Args:
        audio: the folder of the recordings. A table names them by path from there, or by name with or without suffix.
        tables: files, or patterns such as "labels/*.txt"; what is not found from here is looked for in `audio`.
        format: dcase, raven, audacity, csv or parquet; None: by each table's name and first line.
        columns: column -> its title, such as {onset_seconds: Begin, label: Species}; the others are known by title.
        separator: of the columns; None: a comma in .csv, a tab elsewhere.
        labels: what is looked for; a table with any other label is refused. None: every label that occurs.
        ignored_labels: labels whose events are left out.
        renamed_labels: label in the tables -> label that it counts as; "*": every label that is not named.
        files: a table with a row for each recording (file, and if known split, group, kind); all of them are taken as
            annotated, those that no other table names as without events. None: those named in the tables.
        splits: split -> folders, files or patterns, or a text file with one of these per line (@list.txt).
        time_shares: split -> share of each recording, in order of time, adding up to 1; a cut within an event moves to
            its end. Instead of `splits`.
        labelled_spans: a table of file, onset and offset: where annotation is complete; None: everywhere.
        cut_seconds: times at most so far past a recording's end are cut back to it; others are refused.

    Raises:
        UserError: if the folder or a split's name is unknown. Tables are read at first use.
    """

    def __init__(
        self,
        audio: str,
        tables: str | list[str],
        *,
        format: Format | None = None,
        columns: dict[str, str] | None = None,
        separator: str | None = None,
        labels: list[str] | None = None,
        ignored_labels: list[str] | None = None,
        renamed_labels: dict[str, str] | None = None,
        files: str | None = None,
        splits: dict[str, list[str]] | None = None,
        time_shares: dict[str, float] | None = None,
        labelled_spans: str | None = None,
        cut_seconds: float = 0.1,
    ) -> None:
        for split in splits or {}:
            if split not in SPLITS:
                raise UserError(f"splits names {split!r}; a split is one of {', '.join(SPLITS)}")
        self.audio = Path(audio)
        self.tables = [tables] if isinstance(tables, str) else list(tables)
        self.format, self.columns, self.separator = format, columns, separator
        self.wanted = None if labels is None else tuple(labels)
        self.ignored_labels = frozenset(ignored_labels or ())
        self.renamed_labels = renamed_labels or {}
        self.files, self.splits, self.labelled_spans = files, splits, labelled_spans
        self.time_shares = None if time_shares is None else checked_shares(time_shares, splits)
        self.cut_seconds = cut_seconds
        self._read: list[Table] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """What is looked for, in the order given, or by alphabet.

        Raises:
            TableError: if they are not given, and a table is wrong.
        """
        if self.wanted is not None:
            return self.wanted
        found = {label for table in self._tables() for row in table.rows if is_true(row) for label in labels_of(row)}
        return tuple(sorted(found - self.ignored_labels))

    def prepare(
        self, folder: Path, *, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
    ) -> list[Recording]:
        """The recordings with their labels, sorted by path; nothing is copied, nothing is drawn.

        Args:
            folder, seed: not needed: the recordings stay where they are.
            progress: called with what is being done, how many recordings are done, and how many there are.

        Raises:
            TableError: naming file and line of labels that do not fit the recordings.
            UserError: if a recording has no split, or a group is in two.
        """
        del folder, seed
        tables = self._tables()
        audio = AudioFolder(self.audio)
        lengths = Lengths(self.cut_seconds, progress)
        rows = _found(tables, audio, lengths.checked)
        listed = _found(self._tables_of(self.files, "files"), audio)
        spans = _found(self._tables_of(self.labelled_spans, "spans"), audio)
        recordings = [
            self._recording(path, rows.get(path, []), listed.get(path, []), spans.get(path, []))
            for path in sorted({*rows, *listed})
            if path in listed or path in spans or any(is_judged(row) or row.verdict is None for row in rows[path])
        ]
        if self.time_shares is not None:
            return [part for each in recordings for part in cut_in_time(each, lengths.end_of(each), self.time_shares)]
        refuse_shared_groups(recordings)
        return recordings

    def card(self) -> str:
        """Where the sound comes from, and which columns were taken for what, for a model card."""
        tables = self._tables()
        read = "; ".join(
            f"{table.path.name} ({', '.join(f'{name} from {title!r}' for name, title in table.columns.items())})"
            if table.columns else table.path.name
            for table in tables
        )  # fmt: skip
        return f"Trained on recordings in {self.audio.name}, labelled {', '.join(self.labels)}. Tables: {read}."

    def _tables(self) -> list[Table]:
        if self._read is None:
            paths = [path for pattern in self.tables for path in self._matching(pattern)]
            read = [
                renamed(read_table(p, self.format, columns=self.columns, separator=self.separator), self.renamed_labels)
                for p in paths
            ]
            for table in read:
                self._refuse_unknown_labels(table)
            self._read = read
        return self._read

    def _tables_of(self, pattern: str | None, of: Literal["files", "spans"]) -> list[Table]:
        return [read_table(path, of=of) for path in self._matching(pattern)] if pattern else []

    def _matching(self, pattern: str) -> list[Path]:
        """The files that a path or pattern names, from here or else from the folder of the recordings.

        Raises:
            UserError: if there is none.
        """
        for path in (Path(pattern), self.audio / pattern):
            below = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
            if found := [path] if path.is_file() else sorted(match for match in below if match.is_file()):
                return found
        raise UserError(
            f"{pattern!r} names a table, and there is no such file, here or in {self.audio}; give a path, or a pattern "
            "such as labels/*.txt"
        )

    def _refuse_unknown_labels(self, table: Table) -> None:
        if self.wanted is None:
            return
        mistakes = Mistakes(table.path)
        for row in table.rows:
            for label in labels_of(row):
                if label not in self.wanted and label not in self.ignored_labels:
                    hint = did_you_mean(label, self.wanted) or "; add it to `labels`, or to `ignored_labels`"
                    mistakes.add(row.line, f"label {label!r} is none of {', '.join(self.wanted)}{hint}")
        mistakes.raise_any()

    def _recording(self, path: Path, rows: Sequence[Row], listed: Sequence[Row], spans: Sequence[Row]) -> Recording:
        told = [row for row in rows if row.verdict is None]
        weak = [row.clip_labels for row in told if row.clip_labels is not None]
        labels = dict.fromkeys(label for labels in weak for label in labels if label not in self.ignored_labels)
        is_only_weak = bool(weak) and all(row.event is None and row.clip_labels is not None for row in told)
        limits = [(row.event.onset_seconds, row.event.offset_seconds) for row in spans if row.event is not None]
        is_reviewed = len(told) < len(rows)
        if is_reviewed and told and not limits:
            raise UserError(
                f"{path}: one table annotates all of it, another has verdicts on found events; leave it out of one, or "
                "say where annotation is complete: `labelled_spans`"
            )
        verdicts = reviewed(path, [row for row in rows if row.verdict is not None])
        events = [row.event for row in told if row.event is not None] + list(verdicts.events)
        if is_reviewed:
            limits += verdicts.labelled_spans
        facts = [{"split": row.split, "group": row.group, "kind": row.kind} for row in (*rows, *listed)]
        split, group, kind = (_sole(path, name, (row[name] for row in facts)) for name in ("split", "group", "kind"))
        return Recording(
            path,
            tuple(sorted((e for e in events if e.label not in self.ignored_labels), key=lambda event: event[:3])),
            tuple(labels) if weak else None,
            # of a weak clip no moment is annotated
            () if is_only_weak else tuple(sorted(limits)) or (() if is_reviewed else None),
            self._split(path, split),
            group,
            kind,
        )

    def _split(self, path: Path, told: str) -> str:
        if self.time_shares is not None:
            return ""  # each of its parts has one
        place = path.relative_to(self.audio).as_posix()
        if self.splits is not None:
            found = [
                split for split, patterns in self.splits.items() if any(_belongs(place, p) for p in _listed(patterns))
            ]
            if len(found) != 1:
                belongs = f"both {' and '.join(found)}" if found else "no split"
                raise UserError(f"{path} belongs to {belongs}; `splits` must name it exactly once")
            return found[0]
        names = [told] if told else place.split("/")[:-1]
        found = [_SPLIT_NAMES[name.lower()] for name in names if name.lower() in _SPLIT_NAMES]
        if len(found) != 1:
            unknown = f"its split {told!r} is unknown" if told else "no split is known"
            raise UserError(
                f"{path}: {unknown}; a split is one of {', '.join(SPLITS)}; add a column `split`, folders of these "
                "names, or `splits` to the recipe"
            )
        return found[0]


def labels_of(row: Row) -> Iterable[str]:
    """All labels on a row."""
    return [*([row.event.label] if row.event else []), *(row.clip_labels or ())]


def _found(
    tables: Iterable[Table], audio: AudioFolder, checked: Callable[[Path, Row, Mistakes], Row] | None = None
) -> dict[Path, list[Row]]:
    """The rows of tables by the recording that they name.

    Raises:
        TableError: if a row names none, or does not pass the check.
    """
    rows: dict[Path, list[Row]] = {}
    for table in tables:
        mistakes = Mistakes(table.path)
        for row in table.rows:
            path = audio.find(row, mistakes)
            if path is not None:
                rows.setdefault(path, []).append(checked(path, row, mistakes) if checked else row)
        mistakes.raise_any()
    return rows


def refuse_shared_groups(recordings: Iterable[Recording]) -> None:
    """Groups (a session, a speaker, an individual) must not be shared between splits.

    Raises:
        UserError: if one is.
    """
    seen: dict[str, Recording] = {}
    for recording in recordings:
        first = seen.setdefault(recording.group, recording)
        if recording.group and first.split != recording.split:
            raise UserError(
                f"the group {recording.group!r} is in two splits: {first.source} in {first.split}, {recording.source} "
                f"in {recording.split}; what a group shares would be known from training; move one of them"
            )


def _listed(patterns: Iterable[str]) -> Iterable[str]:
    """Patterns as they are, those of a text file (@list.txt) line by line."""
    for pattern in patterns:
        if pattern.startswith("@"):
            try:
                lines = Path(pattern[1:]).read_text(encoding="utf-8-sig").splitlines()
            except OSError as error:
                raise UserError(f"splits names {pattern!r}, which cannot be read: {error.strerror}") from None
            yield from (line.strip() for line in lines if line.strip())
        else:
            yield pattern


def _belongs(place: str, pattern: str) -> bool:
    """Whether a recording's path from the audio folder is the pattern, lies below it, or matches it."""
    pattern = pattern.strip("/")
    name = place.rsplit("/", 1)[-1]
    below = place.startswith(f"{pattern}/") or fnmatch.fnmatchcase(place, pattern)
    return below or pattern in (place, name, name.rsplit(".", 1)[0])


def _sole(path: Path, name: str, told: Iterable[str]) -> str:
    """The one value that the rows of a recording give; "" if they give none.

    Raises:
        UserError: if they disagree.
    """
    values = sorted({value for value in told if value})
    if len(values) > 1:
        raise UserError(f"{path}: its rows give different values of {name}: {', '.join(values)}; a recording has one")
    return values[0] if values else ""
