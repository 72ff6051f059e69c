"""What a tagging job knows, in one SQLite file: every input, what became of it, and the events found in it.

The one truth of a job: a file's events and its mark "done" are one transaction, so that after any kind of death, at any
moment, each input is either wholly tagged or not at all. Tables and exports are made from it and can be made again.
"""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipelines.errors import UsageError, UserError

from .inputs import Found, Unusable, as_utf8
from .outcomes import Counts, Outcome, Task, file_state
from .rows import EventRow, FileRow

JOURNAL_FILE = "journal.sqlite"
COMMIT_EVERY_SECONDS = 2.0
COMMIT_EVERY_FILES = 1000
COMMIT_EVERY_EVENTS = 100_000

_APPLICATION_ID = 0x73755254  # "suRT": what the head of the file says it is
_SCHEMA_VERSION = 1  # one more whenever the tables below change; journals older than the count say 0
_PAGE_FILES = 2000
_SCHEMA = (
    """
CREATE TABLE job (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID
""",
    """
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,       -- the name's own bytes, whether they are UTF-8 or not
    kind TEXT NOT NULL,              -- named: by the user; found: in a folder; place: a folder or pattern without files
    status TEXT NOT NULL,            -- waiting, done, failed, skipped (never meant to be tagged)
    reason TEXT NOT NULL DEFAULT '',
    size INTEGER,                    -- bytes: with mtime_ns tells whether the file is still the same
    mtime_ns INTEGER,                -- NULL where nothing could be read, so that the next run tries again
    seconds REAL NOT NULL DEFAULT 0,
    frames_open REAL NOT NULL DEFAULT 0,
    work_seconds REAL NOT NULL DEFAULT 0,
    recording_start TEXT NOT NULL DEFAULT '',
    sample_rate_hz INTEGER NOT NULL DEFAULT 0,
    audit TEXT
)
""",
    """
CREATE TABLE events (
    file INTEGER NOT NULL, number INTEGER NOT NULL, onset_seconds REAL NOT NULL, offset_seconds REAL NOT NULL,
    label TEXT NOT NULL, score REAL NOT NULL, channel INTEGER NOT NULL, PRIMARY KEY (file, number)
) WITHOUT ROWID
""",
)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class Journal:
    """An open journal. A context manager; leaving it commits what was recorded.

    Args:
        folder: of the job; the journal is made there if there is none.
        clock: seconds, for tests.

    Raises:
        UserError: if the file there is no journal, one of other software, is damaged, or the disk refuses.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = folder / JOURNAL_FILE
        self._clock = clock
        self._recorded: list[Outcome] = []
        self._num_events = 0
        self._committed = clock()
        with self._trouble():
            self._base = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            self._prepare()

    def _prepare(self) -> None:
        (mark,) = self._base.execute("PRAGMA application_id").fetchone()
        (tables,) = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if mark != _APPLICATION_ID and tables:
            raise UsageError(f"{self.path}: is no journal of a tagging job; choose another --output")
        (schema,) = self._base.execute("PRAGMA user_version").fetchone()
        if tables and schema != _SCHEMA_VERSION:
            raise UsageError(
                f"{self.path}: was written by another version of this software (its tables are of version {schema}, "
                f"this one's {_SCHEMA_VERSION}); choose another --output, or --overwrite to tag everything again"
            )
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = FULL")  # a commit survives a power cut; there are few of them
        if not tables:
            with self._transaction():
                for statement in _SCHEMA:
                    self._base.execute(statement)
                self._base.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._base.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.commit()
        finally:
            self._base.close()

    def settle(self, identity: Mapping[str, Any]) -> None:
        """Note what decides the results, or compare it with what was noted.

        Args:
            identity: model fingerprint, version, parameters.

        Raises:
            UsageError: if the job was begun otherwise: the tables would mix two kinds of results.
        """
        with self._trouble():
            row = self._base.execute("SELECT value FROM job WHERE key = 'identity'").fetchone()
            if row is None:
                with self._transaction():
                    self._base.execute("INSERT INTO job VALUES ('identity', ?)", [json.dumps(dict(identity))])
                return
        before = json.loads(row[0])
        changed = [
            f"{name.replace('_', ' ')} was {_shown(before.get(name))}, now {_shown(identity.get(name))}"
            for name in {**before, **identity}
            if before.get(name) != identity.get(name)
        ]
        if changed:
            raise UsageError(
                f"{self.path.parent}: holds a job begun otherwise ({'; '.join(changed)}); "
                "choose another --output, or --overwrite to tag everything again"
            )

    def identity(self) -> dict[str, Any]:
        """What `settle` noted; empty in a new journal."""
        with self._trouble():
            row = self._base.execute("SELECT value FROM job WHERE key = 'identity'").fetchone()
        return dict(json.loads(row[0])) if row else {}

    def exported(self) -> dict[str, str]:
        """Exports that the job keeps up to date: where each was written, below the job's folder."""
        with self._trouble():
            return dict(
                self._base.execute("SELECT substr(key, 8), value FROM job WHERE key LIKE 'export %' ORDER BY key")
            )

    def note_export(self, name: str, place: str) -> None:
        """Remember an export and where it was written."""
        with self._trouble(), self._transaction():
            self._base.execute("INSERT OR REPLACE INTO job VALUES (?, ?)", [f"export {name}", place])

    def enlist(self, found: Iterable[Found | Unusable], changed: Callable[[str], None]) -> Iterator[int]:
        """Take inputs in; whatever is new, or not the same file as before, waits.

        Args:
            found: in any order, repetitions allowed.
            changed: told the path of each file that was tagged before and has changed since.

        Yields:
            How many were seen, now and then.
        """
        with self._trouble(), self._transaction():  # folders and patterns that gave no files may do so now
            self._base.execute("DELETE FROM files WHERE kind = 'place'")
        seen = 0
        page: list[Found | Unusable] = []
        for each in found:
            page.append(each)
            if len(page) == _PAGE_FILES:
                self._enlist_page(page, changed)
                seen += len(page)
                page.clear()
                yield seen
        self._enlist_page(page, changed)
        yield seen + len(page)

    def _enlist_page(self, page: Sequence[Found | Unusable], changed: Callable[[str], None]) -> None:
        with self._trouble(), self._transaction():
            for each in page:
                path = os.fsencode(each.path)
                if isinstance(each, Unusable):
                    self._base.execute(
                        "INSERT INTO files (path, kind, status, reason) VALUES (?, 'place', 'failed', ?) "
                        "ON CONFLICT (path) DO NOTHING",
                        [path, each.reason],
                    )
                    continue
                self._enlist_file(path, each, changed)

    def _enlist_file(self, path: bytes, found: Found, changed: Callable[[str], None]) -> None:
        size, mtime_ns = file_state(found.path)
        row = self._base.execute(
            "SELECT id, kind, status, size, mtime_ns, reason FROM files WHERE path = ?", [path]
        ).fetchone()
        if row is None:
            kind = "named" if found.is_named else "found"
            self._base.execute(
                "INSERT INTO files (path, kind, status, size, mtime_ns) VALUES (?, ?, 'waiting', ?, ?)",
                [path, kind, size, mtime_ns],
            )
            return
        number, kind, status, *state = row
        if found.is_named and kind == "found":
            self._base.execute("UPDATE files SET kind = 'named' WHERE id = ?", [number])
            if status == "skipped":  # what was passed over in a folder fails when it is asked for
                self._put_back("id = ?", [number])
        if status == "waiting" or (size, mtime_ns) == tuple(state[:2]):
            return
        if size is None and status == "done":
            return  # the file is gone, its results stay
        if status == "done":
            changed(found.path)
        self._put_back("id = ?", [number])
        self._base.execute("UPDATE files SET size = ?, mtime_ns = ? WHERE id = ?", [size, mtime_ns, number])

    def retry_failed(self) -> int:
        """Let files that failed wait again; returns how many."""
        with self._trouble(), self._transaction():
            return self._put_back("status = 'failed' AND kind <> 'place'", [])

    def _put_back(self, where: str, values: Sequence[Any]) -> int:
        self._base.execute(f"DELETE FROM events WHERE file IN (SELECT id FROM files WHERE {where})", values)
        return self._base.execute(
            "UPDATE files SET status = 'waiting', reason = '', seconds = 0, frames_open = 0, work_seconds = 0, "
            f"recording_start = '', sample_rate_hz = 0, audit = NULL WHERE {where}",
            values,
        ).rowcount

    def tasks(self) -> Iterator[Task]:
        """Inputs that wait, in the order in which they were found; each once, whatever is recorded meanwhile."""
        last = 0
        while True:
            with self._trouble():
                rows = self._base.execute(
                    "SELECT id, path, kind, size FROM files WHERE id > ? AND status = 'waiting' ORDER BY id LIMIT ?",
                    [last, _PAGE_FILES],
                ).fetchall()
            if not rows:
                return
            for number, path, kind, size in rows:
                yield Task(number, os.fsdecode(path), kind == "named", size)
            last = rows[-1][0]

    def counts(self) -> Counts:
        """How many inputs wait, are done, have failed or were skipped."""
        with self._trouble():
            rows = self._base.execute(
                "SELECT status, count(*), total(seconds), total(size) FROM files GROUP BY status"
            ).fetchall()
        number = {status: (count, seconds, size) for status, count, seconds, size in rows}
        none = (0, 0.0, 0.0)
        waiting, done, failed, skipped = (
            number.get(status, none) for status in ("waiting", "done", "failed", "skipped")
        )
        return Counts(waiting[0], done[0], failed[0], skipped[0], done[1], int(waiting[2]))

    def record(self, outcome: Outcome) -> None:
        """Take in what became of an input; committed with others, after two seconds at the latest by `tend`."""
        self._recorded.append(outcome)
        self._num_events += len(outcome.events)
        self.tend()

    def tend(self) -> None:
        """Commit if it is time to; to be called often."""
        if (
            self._clock() - self._committed >= COMMIT_EVERY_SECONDS
            or len(self._recorded) >= COMMIT_EVERY_FILES
            or self._num_events >= COMMIT_EVERY_EVENTS
        ):
            self.commit()

    def commit(self) -> None:
        """Write what was recorded, in one transaction; if that fails, all of it is kept for another try."""
        if self._recorded:
            with self._trouble(), self._transaction():
                self._base.executemany(
                    "UPDATE files SET status = ?, reason = ?, size = ?, mtime_ns = ?, seconds = ?, frames_open = ?, "
                    "work_seconds = ?, recording_start = ?, sample_rate_hz = ?, audit = ? WHERE id = ?",
                    ((o.status, o.reason, *o[3:11], o.number) for o in self._recorded),
                )
                self._base.executemany(
                    "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                    ((o.number, place, *event[:5]) for o in self._recorded for place, event in enumerate(o.events)),
                )
            self._recorded, self._num_events = [], 0
        self._committed = self._clock()

    def file_rows(self) -> Iterator[FileRow]:
        """Inputs that are done or have failed, by path."""
        for path, *rest in self._select(
            "SELECT path, status, reason, seconds, frames_open, work_seconds, recording_start, sample_rate_hz "
            "FROM files WHERE status IN ('done', 'failed') ORDER BY path"
        ):
            yield FileRow(as_utf8(os.fsdecode(path)), *rest)

    def event_rows(self) -> Iterator[EventRow]:
        """Events, by path and then onset."""
        identity = self.identity()
        source = identity.get("model", ""), identity.get("version", "")
        for path, onset, offset, label, score, channel, start in self._select(
            "SELECT path, onset_seconds, offset_seconds, label, score, channel, recording_start "
            "FROM files CROSS JOIN events ON events.file = files.id ORDER BY path, number"
        ):
            yield EventRow(as_utf8(os.fsdecode(path)), onset, offset, label, score, channel, start, *source)

    def audits(self) -> Iterator[str]:
        """JSON of each audit, by path."""
        for (audit,) in self._select("SELECT audit FROM files WHERE audit IS NOT NULL ORDER BY path"):
            yield audit

    def num_events(self) -> int:
        """Events of all files."""
        with self._trouble():
            (number,) = self._base.execute("SELECT count(*) FROM events").fetchone()
        return int(number)

    def add_all(self, other: "Journal") -> None:
        """Take in what another journal holds; of an input that both hold, what is done counts more than what failed."""
        columns = (
            "path, kind, status, reason, size, mtime_ns, seconds, frames_open, work_seconds, recording_start, "
            "sample_rate_hz, audit"
        )
        with self._trouble(), self._transaction():
            for number, *row in other._select(f"SELECT id, {columns} FROM files ORDER BY path"):
                known = self._base.execute("SELECT id, status FROM files WHERE path = ?", [row[0]]).fetchone()
                if known is not None:
                    if known[1] == "done" or row[2] != "done":
                        continue
                    self._base.execute("DELETE FROM files WHERE id = ?", [known[0]])
                new = self._base.execute(
                    f"INSERT INTO files ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row
                ).lastrowid
                self._base.executemany(
                    "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                    ((new, *event[1:]) for event in other._select("SELECT * FROM events WHERE file = ?", [number])),
                )

    def _select(self, query: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        with self._trouble():
            cursor = self._base.execute(query, values)
        while True:
            with self._trouble():
                rows = cursor.fetchmany(_PAGE_FILES)
            if not rows:
                return
            yield from rows

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            if self._base.in_transaction:  # a full disk may have ended it already
                self._base.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _trouble(self) -> Iterator[None]:
        """What SQLite says, for the person at the keyboard."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of it tells kinds of one error apart
            if code in _FULL:
                way_out = "what is done is kept: free some space, then give the same command again"
                raise UserError(f"{self.path}: cannot be written ({error}); {way_out}") from error
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                way_out = "restore it from a copy, or tag everything again with --overwrite"
                raise UsageError(f"{self.path}: is damaged ({error}); {way_out}") from error
            raise UserError(f"{self.path}: {error}; choose another --output") from error


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
