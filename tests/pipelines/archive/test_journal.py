"""The journal: all of a file or nothing of it, few commits, and every row in order."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pipelines.archive.inputs import Found, Unusable
from pipelines.archive.journal import COMMIT_EVERY_FILES, JOURNAL_FILE, Journal
from pipelines.archive.outcomes import Outcome
from pipelines.errors import UserError
from pipelines.events import Event


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def enlist(journal: Journal, *names: str) -> list[int]:
    """Take names in; their numbers."""
    list(journal.enlist([Found(name, True) for name in names], lambda _: None))
    return [task.number for task in journal.tasks()]


def seen_by_others(folder: Path, query: str) -> list[Any]:
    base = sqlite3.connect(folder / JOURNAL_FILE)
    rows = base.execute(query).fetchall()
    base.close()
    return rows


def test_results_are_committed_in_groups_and_after_two_seconds_at_the_latest(tmp_path: Path) -> None:
    clock = Clock()
    with Journal(tmp_path, clock=clock) as journal:
        numbers = enlist(journal, *(f"{n}.wav" for n in range(COMMIT_EVERY_FILES + 2)))
        done = "SELECT count(*) FROM files WHERE status = 'done'"
        journal.record(Outcome(numbers[0], "done"))
        clock.now = 1.9
        journal.tend()
        assert seen_by_others(tmp_path, done) == [(0,)]
        clock.now = 2.0
        journal.tend()
        assert seen_by_others(tmp_path, done) == [(1,)]
        for number in numbers[1 : COMMIT_EVERY_FILES + 1]:
            journal.record(Outcome(number, "done"))
        assert seen_by_others(tmp_path, done) == [(COMMIT_EVERY_FILES + 1,)]
        journal.record(Outcome(numbers[-1], "done"))
    assert seen_by_others(tmp_path, done) == [(COMMIT_EVERY_FILES + 2,)]


def test_a_group_that_cannot_be_written_leaves_nothing_and_is_kept(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        first, second = enlist(journal, "a.wav", "b.wav")
        journal.record(Outcome(first, "done", events=(Event(0.0, 1.0, "yes"),)))
        journal.record(Outcome(second, "done", events=(Event(0.0, 1.0, "yes"), Event(0.0, float("nan"), "no"))))
        with pytest.raises(UserError, match=r"NOT NULL constraint failed: events.offset_seconds"):  # NaN is NULL
            journal.commit()
        assert seen_by_others(tmp_path, "SELECT status FROM files") == [("waiting",), ("waiting",)]
        assert seen_by_others(tmp_path, "SELECT * FROM events") == []
        journal._recorded[1] = journal._recorded[1]._replace(events=())
    assert seen_by_others(tmp_path, "SELECT status FROM files") == [("done",), ("done",)]
    assert seen_by_others(tmp_path, "SELECT label FROM events") == [("yes",)]


def test_tasks_come_once_each_while_results_are_recorded(tmp_path: Path) -> None:
    names = [f"{n}.wav" for n in range(5000)]
    with Journal(tmp_path) as journal:
        enlist(journal, *names)
        got = []
        for task in journal.tasks():
            got.append(task.path)
            journal.record(Outcome(task.number, "failed" if task.number % 2 else "done"))
        assert got == names
        assert list(journal.tasks()) == []
        assert journal.counts()[:4] == (0, 2500, 2500, 0)


def test_rows_come_by_the_bytes_of_the_path(tmp_path: Path) -> None:
    names = ["b.wav", "a/z.wav", "a.wav", "\u00e9.wav", "B.wav", "z.wav"]
    with Journal(tmp_path) as journal:
        for number in enlist(journal, *names):
            journal.record(Outcome(number, "done", events=(Event(0.0, 1.0, "x"), Event(2.0, 3.0, "x"))))
        journal.commit()
        ordered = sorted(names, key=str.encode)
        assert [row.file for row in journal.file_rows()] == ordered
        assert [(row.file, row.onset_seconds) for row in journal.event_rows()] == [
            (name, onset) for name in ordered for onset in (0.0, 2.0)
        ]


def test_a_place_without_files_is_a_failed_input_until_it_has_some(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        list(journal.enlist([Unusable("shut", "cannot be read: Permission denied")], lambda _: None))
        assert [row[:3] for row in journal.file_rows()] == [("shut", "failed", "cannot be read: Permission denied")]
        assert journal.retry_failed() == 0
        list(journal.enlist([Found("shut/a.wav", False)], lambda _: None))
        assert list(journal.file_rows()) == []
        assert journal.counts().waiting == 1


def test_a_file_that_was_passed_over_in_a_folder_is_tagged_when_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    name = str(tmp_path / "notes.txt")
    with Journal(tmp_path) as journal:
        list(journal.enlist([Found(name, False)], lambda _: None))
        (task,) = journal.tasks()
        stat = (tmp_path / "notes.txt").stat()
        journal.record(Outcome(task.number, "skipped", "no sound", stat.st_size, stat.st_mtime_ns))
        journal.commit()
        list(journal.enlist([Found(name, False)], lambda _: None))
        assert journal.counts()[:4] == (0, 0, 0, 1)
        list(journal.enlist([Found(name, True)], lambda _: None))
        assert [(task.path, task.is_named) for task in journal.tasks()] == [(name, True)]


def test_a_journal_with_other_tables_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    base = sqlite3.connect(tmp_path / JOURNAL_FILE)  # as version 0.1.0 began it, of which a column was missing
    base.execute(f"PRAGMA application_id = {0x73755254}")
    base.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE)")
    base.close()
    before = (tmp_path / JOURNAL_FILE).read_bytes()
    with pytest.raises(UserError, match=r"another version of this software \(its tables are of version 0, this one's"):
        Journal(tmp_path)
    assert (tmp_path / JOURNAL_FILE).read_bytes() == before


def test_the_sample_rate_is_kept_until_the_file_is_tagged_again(tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    with Journal(tmp_path) as journal, Journal(tmp_path / "merged") as merged:
        (number,) = enlist(journal, "a.wav")
        journal.record(Outcome(number, "failed", sample_rate_hz=384_000, audit="{}"))
        journal.commit()
        merged.add_all(journal)
        for each in (journal, merged):
            assert [row.sample_rate_hz for row in each.file_rows()] == [384_000]
            assert list(each.audits()) == ["{}"]
        journal.retry_failed()
        assert seen_by_others(tmp_path, "SELECT sample_rate_hz FROM files") == [(0,)]
