"""Whatever ends a job, its workers or its disk: nothing is lost, nothing is doubled, the tables are the same."""

import contextlib
import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_tagger
import pyarrow.parquet as pq
import pytest
from fake_tagger import GroupTagger, Loader, write_files

from pipelines.archive.job import tag_archive
from pipelines.archive.journal import JOURNAL_FILE, Journal
from pipelines.archive.outcomes import Outcome, Task
from pipelines.archive.tagging import Settings
from pipelines.archive.workers import Crew
from pipelines.errors import UsageError, UserError

NUM_FILES = 150
ROOT = Path(__file__).parents[3]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    write_files(tmp_path / "media", NUM_FILES)
    return tmp_path / "media"


@contextlib.contextmanager
def job(media: Path, output: Path, *, workers: int = 2, pause_seconds: float = 0.01, largest: int = 0) -> Iterator[Any]:
    words = [sys.executable, fake_tagger.__file__, media, output, workers, pause_seconds, largest]
    with subprocess.Popen(
        [str(word) for word in words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def content(output: Path) -> tuple[Any, bytes, bytes]:
    """Table of files without the column that differs from run to run; bytes of the table of events and of an export."""
    files = pq.read_table(output / "files.parquet").drop_columns(["work_seconds"]).to_pylist()
    return files, (output / "events.parquet").read_bytes(), (output / "events.csv").read_bytes()


def whole(media: Path, output: Path) -> tuple[Any, bytes, bytes]:
    """What a job that nothing interrupts writes."""
    tag_archive(Loader(), media, output, exports=["csv"])
    return content(output)


def work_of_finished(output: Path) -> dict[bytes, float]:
    """Seconds of work on each file that is done: never twice the same if it is done again."""
    with contextlib.closing(sqlite3.connect(output / JOURNAL_FILE)) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return {}
        return dict(base.execute("SELECT path, work_seconds FROM files WHERE status = 'done'").fetchall())


def children(pid: int) -> list[int]:
    """Workers of a job: its child processes but for Python's resource tracker."""
    with contextlib.suppress(FileNotFoundError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return []


def is_running(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(is_so: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc")
def test_killed_at_random_moments_it_goes_on_and_ends_with_the_same_tables(media: Path, tmp_path: Path) -> None:
    output, moments = tmp_path / "killed", random.Random(5)
    finished: dict[bytes, float] = {}
    for _ in range(5):
        with job(media, output) as process:
            process.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.5))
            workers = children(process.pid)
            process.kill()
            wait_until(lambda: not any(map(is_running, workers)), 5.0)  # noqa: B023 (called at once)
        now = work_of_finished(output)
        assert finished.items() <= now.items()
        finished = now
    assert len(finished) < NUM_FILES
    tag_archive(Loader(), media, output, exports=["csv"])
    assert finished.items() <= work_of_finished(output).items()
    assert content(output) == whole(media, tmp_path / "whole")


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc")
def test_a_killed_job_leaves_no_worker_behind_even_if_that_hangs(tmp_path: Path) -> None:
    write_files(tmp_path / "media", 5)
    (tmp_path / "media" / "zzz.wav").write_text("hang")
    with job(tmp_path / "media", tmp_path / "out", workers=1) as process:
        for _ in range(5):
            process.stdout.readline()
        time.sleep(0.2)
        workers = children(process.pid)
        assert len(workers) == 1
        process.kill()
        wait_until(lambda: not is_running(workers[0]), 5.0)


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc")
def test_workers_killed_at_random_moments_cost_no_file(media: Path, tmp_path: Path) -> None:
    moments, num_killed = random.Random(6), 0
    with job(media, tmp_path / "killed", pause_seconds=0.02) as process:
        while num_killed < 5:
            for _ in range(moments.randrange(5, 25)):
                process.stdout.readline()
            # The eldest: a fresh one tries again, alone, what another held, and a file that kills twice has failed.
            os.kill(min(children(process.pid)), signal.SIGKILL)
            num_killed += 1
        _, said = process.communicate(timeout=60)
    assert (process.returncode, num_killed) == (0, 5), said
    assert content(tmp_path / "killed") == whole(media, tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_within_two_seconds_and_all_that_was_told_is_kept(
    media: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with job(media, tmp_path / "out", pause_seconds=0.02) as process:
        told = [process.stdout.readline() for _ in range(20)]
        process.send_signal(number)
        asked = time.monotonic()
        rest, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert time.monotonic() - asked < 2
    assert len(work_of_finished(tmp_path / "out")) == int([*told, *rest.split()][-1])
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_files_that_hang_or_kill_their_worker_fail_by_name_and_the_others_are_tagged(tmp_path: Path) -> None:
    media = tmp_path / "media"
    write_files(media, 20)
    for name, word in {
        "hangs": "hang",
        "crashes": f"die {signal.SIGSEGV.value}",
        "is killed": f"die {signal.SIGKILL.value}",
        "leaves": "exit 3",
        "crashes once": "die-once",
        "is slow": "slow 40",
    }.items():
        (media / f"{name}.wav").write_text(word)
    summary = tag_archive(Loader(), media, tmp_path / "out", workers=2, time_limit_seconds=3.0, exports=["csv"])
    rows = {Path(row["file"]).stem: row for row in pq.read_table(tmp_path / "out" / "files.parquet").to_pylist()}
    reasons = {name: row["reason"] for name, row in rows.items() if row["status"] == "failed"}
    assert reasons == {
        "hangs": "no progress for 3.0 s: given up at the time limit",
        "crashes": "the worker died of signal 11 (SIGSEGV) while it tagged this file, twice",
        "is killed": "the worker died of signal 9 (SIGKILL) while it tagged this file, twice",
        "leaves": "the worker ended by itself (exit code 3) while it tagged this file, twice",
    }
    assert (summary.num_done, summary.num_failed) == (22, 4)
    assert rows["crashes once"]["seconds"] == 13.0
    before = work_of_finished(tmp_path / "out")
    assert tag_archive(Loader(), media, tmp_path / "out").num_failed == 4  # they are not tried again
    assert work_of_finished(tmp_path / "out") == before


def test_a_full_disk_stops_the_job_and_with_space_it_goes_on(tmp_path: Path) -> None:
    media, output = tmp_path / "media", tmp_path / "out"
    write_files(media, 1500)
    with job(media, output, pause_seconds=0.005) as process:  # some are committed while there is space
        wait_until(lambda: output.exists() and (output / JOURNAL_FILE).exists() and len(work_of_finished(output)) > 0)
    finished = work_of_finished(output)
    with job(media, output, pause_seconds=0.0, largest=1 << 16) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be written" in said
    assert "free some space, then give the same command again" in said
    assert finished.items() <= work_of_finished(output).items()
    assert len(work_of_finished(output)) < 1500
    tag_archive(Loader(), media, output, exports=["csv"])
    assert finished.items() <= work_of_finished(output).items()
    assert content(output) == whole(media, tmp_path / "whole")


def test_a_full_disk_under_the_tables_loses_no_result(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.archive.finish.write_tables", full)
        with pytest.raises(
            UserError,
            match=r"out: cannot be written \(No space left on device\); everything is tagged and kept: make room",
        ):
            tag_archive(Loader(), media, output, exports=["csv"])
    finished = work_of_finished(output)
    assert len(finished) == NUM_FILES
    tag_archive(Loader(), media, output, exports=["csv"])
    assert work_of_finished(output) == finished
    assert content(output) == whole(media, tmp_path / "whole")


def test_two_jobs_on_one_output_are_refused_and_a_dead_one_holds_nothing(media: Path, tmp_path: Path) -> None:
    with job(media, tmp_path / "out", pause_seconds=0.05) as process:
        process.stdout.readline()
        with pytest.raises(UsageError, match=r"out: another run is working in it; wait for it, or choose another"):
            tag_archive(Loader(), media, tmp_path / "out")
        process.kill()
        process.wait()
        assert tag_archive(Loader(), media, tmp_path / "out").num_done == NUM_FILES


def test_time_in_which_the_job_itself_was_stopped_counts_against_no_file(tmp_path: Path) -> None:
    (tmp_path / "slow.wav").write_text("slow 10")
    away = itertools.accumulate(itertools.repeat(30.0))  # as if stopped for half a minute between any two looks
    with Crew(1, Loader(), Settings(), time_limit_seconds=20.0, clock=lambda: next(away)) as crew:
        said = [said for said in crew.outcomes(iter([Task(1, str(tmp_path / "slow.wav"), True)])) if said]
    assert isinstance(said[-1], Outcome)
    assert said[-1].status == "done"


def test_the_time_of_day_may_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "media", 30)
    jumps = random.Random(7)
    left: list[float] = []
    monkeypatch.setattr(time, "time", lambda: jumps.uniform(-1e9, 1e10))
    summary = tag_archive(
        Loader(),
        tmp_path / "media",
        tmp_path / "out",
        time_limit_seconds=30.0,
        progress=lambda now: left.append(now.left_seconds or 0.0),
    )
    assert (summary.num_done, summary.num_failed) == (30, 0)
    assert 0 <= min(left) <= max(left) < 100
    assert 0 < summary.took_seconds < 100


def test_in_a_group_the_file_that_kills_is_the_one_that_fails(tmp_path: Path) -> None:
    write_files(tmp_path / "media", 30)
    for number in (7, 8, 23):
        (tmp_path / "media" / "000" / f"kill{number}.wav").write_text(f"die {signal.SIGSEGV.value}")
    summary = tag_archive(Loader(kind=GroupTagger), tmp_path / "media", tmp_path / "out", workers=2)
    assert (summary.num_done, summary.num_failed) == (30, 3)
    with Journal(tmp_path / "out") as journal:
        failed = [Path(row.file).name for row in journal.file_rows() if row.status == "failed"]
    assert failed == ["kill23.wav", "kill7.wav", "kill8.wav"]
