"""Processes that tag files for a job, and may hang or die without harm to it.

    job --- Tasks ---> worker: one model, one thread; a file at a time, or a group of small ones
        <-- Ready, Heard ..., Outcomes ---

A worker that dies takes one file with it: the one that it read. That file is tried once more, alone in a new worker; if
that one dies as well, the file has failed. A worker that tells nothing for too long is killed, and its file has failed.
"""

import contextlib
import ctypes
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from pipelines.console import ctrl_c_held_back, seconds_text
from pipelines.errors import UsageError, UserError

from .outcomes import Outcome, Task, file_state
from .tagging import Settings, Tagger, gains_by_groups, outcomes_of

AHEAD = 3  # groups that a worker has been given and not yet answered for: it never waits for the next
GROUP_FILES = 64
GROUP_BYTES = 1 << 20  # so that no worker gets the work of all, and what a death makes vain is little
HEARD_EVERY_SECONDS = 0.5
WAIT_SECONDS = 0.25
MOST_DEATHS_BEFORE_READY = 4
LOAD_LIMIT_SECONDS = 300.0
LONGEST_PAUSE_SECONDS = 60.0  # before another worker is started, if several died while they loaded the model
MOST_SILENCE_AT_ONCE_SECONDS = 1.0  # if the job itself was stopped meanwhile, nobody was silent
_LINUX_SET_PARENT_DEATH_SIGNAL = 1


class Loader(Protocol):
    """Makes the tagger, once in every worker; must be picklable: a function of a module, or an object of its class."""

    def __call__(self) -> Tagger: ...


class Ready(NamedTuple):
    """A worker has loaded its tagger, which may gain by being given small files in groups."""

    fingerprint: str
    takes_groups: bool


class Broken(NamedTuple):
    """A worker cannot load its tagger."""

    message: str
    is_usage: bool


class Heard(NamedTuple):
    """A worker is at work: how many seconds of the file it has heard."""

    number: int
    seconds: float


class _Worker:
    """One process, the pipe to it, and the groups of files that it was given.

    Args:
        loader, settings: as in Crew.
        suspect: the one file that it is to try; then it is a worker like any other.
    """

    def __init__(self, loader: Loader, settings: Settings, suspect: Task | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._place = context.RawValue(ctypes.c_longlong, 0)  # number of the file that it reads, told without a message
        self.process = context.Process(target=_work, args=(theirs, self._place, loader, settings), daemon=True)
        with ctrl_c_held_back():
            self.process.start()
        theirs.close()  # so that its death ends the pipe
        self.held: deque[list[Task]] = deque()
        self.suspect = suspect
        self.is_ready = False
        self.silent_seconds = 0.0
        if suspect is not None:
            self.give([suspect])

    def give(self, tasks: list[Task]) -> None:
        self.held.append(tasks)
        with contextlib.suppress(BrokenPipeError):  # it is dead, which the end of its pipe will tell
            self.pipe.send(tasks)

    def take(self, num_files: int) -> None:
        """So many files of its first group have their outcomes."""
        self.suspect = None
        del self.held[0][:num_files]
        if not self.held[0]:
            self.held.popleft()

    def take_back(self) -> tuple[Task, list[Task]]:
        """The file that it read when it ended, and all others that it held."""
        tasks = [task for group in self.held for task in group]
        self.held.clear()
        place = next((place for place, task in enumerate(tasks) if task.number == self._place.value), 0)
        return tasks.pop(place), tasks

    def death(self) -> str:
        """How it ended, once its pipe has."""
        self.process.join(5.0)
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"the worker ended by itself (exit code {code})"
        with contextlib.suppress(ValueError):
            return f"the worker died of signal {-code} ({signal.Signals(-code).name})"
        return f"the worker died of signal {-code}"

    def end(self) -> None:
        self.process.kill()
        self.pipe.close()


class Crew:
    """Workers with one and the same tagger. A context manager; leaving it ends them at once.

    Args:
        number: of processes, at least 1; started as they are needed.
        loader: makes the tagger.
        settings: how to tag.
        time_limit_seconds: how long a worker may tell nothing of its file.
        clock: seconds, for tests; never the time of day, which may jump.
    """

    def __init__(
        self,
        number: int,
        loader: Loader,
        settings: Settings,
        *,
        time_limit_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._number, self._loader, self._settings = number, loader, settings
        self._time_limit_seconds, self._clock = time_limit_seconds, clock
        self._listened = clock()
        self._workers: list[_Worker] = []
        self._again: deque[Task] = deque()  # given to a worker that died before it came to them
        self._suspects: deque[Task] = deque()  # held by a worker that died: tried once more, alone
        self._suspected: set[int] = set()
        self._deaths_before_ready = 0
        self._not_before = -math.inf  # when the next may be started
        self._fingerprint, self._group_files = "", 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.process.join(0.5)  # one that waits for a dead network drive cannot even be killed
        self._workers.clear()

    def fingerprint(self) -> str:
        """The tagger's, as soon as a first worker has loaded it.

        Raises:
            UserError: if it cannot be loaded.
        """
        while not self._fingerprint:
            if not self._workers and self._has_place():
                self._workers.append(self._new_worker())
            for _ in self._listen():
                pass
        return self._fingerprint

    def outcomes(self, tasks: Iterator[Task]) -> Iterator[Outcome | Heard | None]:
        """What becomes of each task, in no particular order; None whenever there is a moment for other things.

        Raises:
            UserError: if no worker lives long enough to load the tagger.
        """
        while self._hand_out(tasks):
            yield from self._listen()
            yield None

    def _hand_out(self, tasks: Iterator[Task]) -> bool:
        """Give every worker something to do, start workers while there is more; whether anything is in work."""
        while self._suspects and self._has_place():
            self._workers.append(self._new_worker(self._suspects.popleft()))
        for worker in self._workers:
            while worker.suspect is None and len(worker.held) < AHEAD and (group := self._next_group(tasks)):
                worker.give(group)
        while self._has_place() and (group := self._next_group(tasks)):
            self._workers.append(self._new_worker())
            self._workers[-1].give(group)
        return bool(self._again or self._suspects or any(worker.held for worker in self._workers))

    def _has_place(self) -> bool:
        return len(self._workers) < self._number and self._clock() >= self._not_before

    def _next_group(self, tasks: Iterator[Task]) -> list[Task]:
        """A file, or several small ones in the order of the tasks; none if there are no more."""
        group: list[Task] = []
        num_bytes = 0
        while len(group) < self._group_files:
            if not self._again and (task := next(tasks, None)):
                self._again.append(task)
            if not self._again:
                break
            size = self._again[0].size
            num_bytes += GROUP_BYTES if size is None else size
            if group and num_bytes > GROUP_BYTES:
                break
            group.append(self._again.popleft())
        return group

    def _new_worker(self, suspect: Task | None = None) -> _Worker:
        return _Worker(self._loader, self._settings, suspect)

    def _listen(self) -> Iterator[Outcome | Heard]:
        """Wait a moment for workers to speak; put an end to those that hang."""
        by_pipe: dict[object, _Worker] = {worker.pipe: worker for worker in self._workers}
        for pipe in wait([worker.pipe for worker in self._workers], WAIT_SECONDS):
            yield from self._hear(by_pipe[pipe])
        now = self._clock()
        passed = min(now - self._listened, MOST_SILENCE_AT_ONCE_SECONDS)
        self._listened = now
        for worker in [worker for worker in self._workers if worker.held or not worker.is_ready]:
            worker.silent_seconds += passed
            limit_seconds = self._time_limit_seconds if worker.is_ready else LOAD_LIMIT_SECONDS
            if worker.silent_seconds >= limit_seconds:
                worker.end()
                yield from self._bury(worker, f"no progress for {seconds_text(limit_seconds)}", is_hung=True)

    def _hear(self, worker: _Worker) -> Iterator[Outcome | Heard]:
        worker.silent_seconds = 0.0
        try:
            said = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._bury(worker, worker.death())
            return
        if isinstance(said, Ready):
            worker.is_ready, self._deaths_before_ready = True, 0
            if self._fingerprint not in ("", said.fingerprint):
                raise UserError("the model was changed while the job was running; restore it, or begin another job")
            self._fingerprint, self._group_files = said.fingerprint, GROUP_FILES if said.takes_groups else 1
        elif isinstance(said, Broken):
            raise (UsageError if said.is_usage else UserError)(said.message)
        else:
            if isinstance(said, list):
                worker.take(len(said))
                yield from said
            else:
                yield said

    def _bury(self, worker: _Worker, death: str, *, is_hung: bool = False) -> Iterator[Outcome]:
        """Take a worker's files back; the one that it held may be the cause of its death."""
        self._workers.remove(worker)
        worker.end()
        if not worker.is_ready:
            self._deaths_before_ready += 1
            self._not_before = self._clock() + min(0.25 * 2**self._deaths_before_ready, LONGEST_PAUSE_SECONDS)
            is_only = not any(other.is_ready for other in self._workers)
            if is_only and self._deaths_before_ready >= MOST_DEATHS_BEFORE_READY:
                raise UserError(
                    f"{death} while it loaded the model, {self._deaths_before_ready} times in a row; is there memory "
                    f"for --workers {self._number}?"
                )
            (self._suspects if worker.suspect else self._again).extend(task for group in worker.held for task in group)
            return
        if worker.held:
            task, others = worker.take_back()
            self._again.extend(others)
            if is_hung:
                yield Outcome(task.number, "failed", f"{death}: given up at the time limit", *file_state(task.path))
            elif task.number in self._suspected:
                yield Outcome(
                    task.number, "failed", f"{death} while it tagged this file, twice", *file_state(task.path)
                )
            else:
                self._suspected.add(task.number)
                self._suspects.append(task)


def _work(pipe: Connection, place: Any, loader: Loader, settings: Settings) -> None:
    """The life of a worker: load, then tag what comes until the job ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the job, which then ends its workers
    _end_with_parent()
    try:
        tagger = loader()
    except UserError as error:
        pipe.send(Broken(str(error), isinstance(error, UsageError)))
        return
    except Exception as error:
        traceback.print_exception(error)
        pipe.send(Broken(f"the model cannot be loaded: {type(error).__name__}: {error}", False))
        return
    pipe.send(Ready(tagger.fingerprint, gains_by_groups(tagger, settings)))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the job is gone
        while True:
            _answer(tagger, settings, pipe.recv(), _Telling(pipe, place))


def _answer(tagger: Tagger, settings: Settings, tasks: list[Task], telling: "_Telling") -> None:
    """Tag a group; its outcomes go to the job in its order, at its end or as soon as there was silence for long."""
    outcomes: list[Outcome] = []
    for outcome in outcomes_of(tagger, settings, tasks, at=telling.at, heard=telling.heard):
        outcomes.append(outcome)
        if telling.is_time:
            telling.tell(outcomes)
            outcomes = []
    if outcomes:
        telling.tell(outcomes)


class _Telling:
    """Tells the job which file is read, and now and then how much of it was heard."""

    def __init__(self, pipe: Connection, place: Any) -> None:
        self._pipe, self._place, self._told = pipe, place, time.monotonic()

    def at(self, task: Task | None) -> None:
        self._place.value = 0 if task is None else task.number

    @property
    def is_time(self) -> bool:
        return time.monotonic() - self._told >= HEARD_EVERY_SECONDS

    def heard(self, seconds: float) -> None:
        if self.is_time:
            self.tell(Heard(self._place.value, seconds))

    def tell(self, what: Heard | list[Outcome]) -> None:
        self._told = time.monotonic()
        self._pipe.send(what)


def _end_with_parent() -> None:
    """End this process when the job's ends, in whatever way, and whatever this one is doing then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_LINUX_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)  # the kernel's, if a decoder hangs
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
