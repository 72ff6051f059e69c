"""Processes that share the work of preparing a corpus, and end promptly when interrupted: `Workers`."""

import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipelines.console import ctrl_c_held_back


class Workers:
    """Processes prepared alike; with `number` 1, this process itself. Leaving on an error ends them at once.

    Args:
        begin: called once with `shared` in every process before its first job.
        shared: anything that can be pickled.
    """

    def __init__(self, number: int, begin: Callable[[Any], None], shared: Any) -> None:
        self._others = set(multiprocessing.active_children())
        self._executor: concurrent.futures.ProcessPoolExecutor | None = None
        if number > 1:
            # By way of a file: a process is started at once, however large `shared` is.
            with tempfile.NamedTemporaryFile(suffix=".pickle", delete=False) as file:
                pickle.dump((begin, shared), file)
            self._beginning = Path(file.name)
            self._executor = concurrent.futures.ProcessPoolExecutor(
                number, multiprocessing.get_context("spawn"), _begin_process, (self._beginning,)
            )
        else:
            begin(shared)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is None:
            return
        if kind is not None:
            for child in set(multiprocessing.active_children()) - self._others:
                child.terminate()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._beginning.unlink()

    def run(self, task: Callable[[Any], None], jobs: Sequence[Any], report: Callable[[int], None]) -> None:
        """Do all jobs; `report` is called with the number done after each."""
        if self._executor is None:
            for done, job in enumerate(jobs, start=1):
                task(job)
                report(done)
            return
        with ctrl_c_held_back():  # this starts processes
            futures = [self._executor.submit(task, job) for job in jobs]
        for done, future in enumerate(concurrent.futures.as_completed(futures), start=1):
            future.result()
            report(done)


def _begin_process(beginning: Path) -> None:
    """Leave Ctrl-C to the parent, end when it ends, and get ready."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin, shared = pickle.loads(beginning.read_bytes())
    begin(shared)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
