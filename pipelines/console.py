"""What a command shows and how it ends: lines, progress bars, exit codes, Ctrl-C."""

import contextlib
import multiprocessing.synchronize
import multiprocessing.util
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from types import FrameType
from typing import Any, NoReturn, TextIO, TypeVar

from tqdm import tqdm

from .errors import UsageError, UserError

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_SOME_FILES_FAILED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

BAR_AFTER_SECONDS = 2.0
LINE_EVERY_SECONDS = 15.0
STOP_WITHIN_SECONDS = 1.2

Item = TypeVar("Item")


class ReaderLeft(Exception):
    """Whoever read the standard output has closed it (`| head`)."""


def show(text: str) -> None:
    """Print to standard output at once.

    Raises:
        ReaderLeft: if nobody reads it any more.
        UserError: if it cannot be written, such as to a full disk.
    """
    if sys.stdout is None:
        raise UserError("standard output is closed; give it somewhere to go, such as a file")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer has nowhere to go
        if isinstance(error, BrokenPipeError):
            raise ReaderLeft from error
        raise UserError(f"standard output cannot be written ({error.strerror})") from error


def seconds_text(seconds: float) -> str:
    """A duration as people say it: "0.8 s", "42 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def one_line(text: str) -> str:
    """The text with whatever does not show (line ends, bytes that are not UTF-8) written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Step:
    """One piece of work in progress: `advance` it as parts are done.

    On a terminal a bar, once the work has taken two seconds; elsewhere a plain line every 15 seconds and one at the
    end.
    """

    def __init__(
        self,
        what: str,
        total: float | None,
        unit: str,
        stream: TextIO,
        clock: Callable[[], float],
        *,
        guesses_time: bool = True,
    ) -> None:
        self._what, self._total, self._unit, self._stream, self._clock = what, total, unit, stream, clock
        self._begun = self._told = clock()
        self._done = 0.0
        self._note = ""
        self._bar: tqdm[Any] | None = None
        if stream.isatty():
            own = None if guesses_time else "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}{postfix}"
            self._bar = tqdm(
                desc=what,
                total=total,
                unit=unit,
                file=stream,
                delay=BAR_AFTER_SECONDS,
                leave=False,
                dynamic_ncols=True,
                bar_format=own,
            )

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count more work as done; `note` is shown beside the count."""
        self._done += amount
        self._note = note or self._note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=amount == 0)
            self._bar.update(amount)
        elif self._clock() - self._told >= LINE_EVERY_SECONDS:
            self._told = self._clock()
            self._line(self._count())

    def close(self, *, is_done: bool) -> None:
        """Remove the bar; say how long it took if that was worth showing."""
        if self._bar is not None:
            self._bar.close()
        took = self._clock() - self._begun
        if took >= BAR_AFTER_SECONDS:
            self._line(f"{'' if is_done else 'stopped after '}{seconds_text(took)}")

    def _count(self) -> str:
        of = f" of {self._total:g}" if self._total is not None else ""
        return f"{self._done:g}{of} {self._unit}".rstrip()

    def _line(self, text: str) -> None:
        note = f" ({self._note})" if self._note else ""
        print(f"{self._what}: {text}{note}", file=self._stream, flush=True)


class Progress:
    """Lines and bars of one command.

    Args:
        quiet: show neither; errors still appear.
        stream: where bars and lines go; by default standard error, so that standard output stays clean for results.
        clock: seconds, for tests.
    """

    def __init__(
        self, *, quiet: bool = False, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._quiet, self._clock = quiet, clock
        self._stream = stream or sys.stderr

    def say(self, text: str) -> None:
        """Show a line, above any bar."""
        if not self._quiet:
            with tqdm.external_write_mode(file=self._stream):
                print(text, file=self._stream, flush=True)

    @contextlib.contextmanager
    def step(
        self, what: str, total: float | None = None, unit: str = "", *, guesses_time: bool = True
    ) -> Iterator[Step]:
        """Work of `total` units (None: unknown), to be counted with `Step.advance` while the block runs.

        A bar guesses speed and time left from the count; without `guesses_time` that is left to the notes.
        """
        stream = open(os.devnull, "w") if self._quiet else self._stream  # noqa: SIM115 (closed below)
        step = Step(what, total, unit, stream, self._clock, guesses_time=guesses_time)
        is_done = False
        try:
            yield step
            is_done = True
        finally:
            step.close(is_done=is_done)
            if self._quiet:
                stream.close()

    def track(self, items: Iterable[Item], what: str, total: int | None = None, unit: str = "") -> Iterator[Item]:
        """The items, counted as they are used up."""
        if total is None and isinstance(items, Sized):
            total = len(items)
        with self.step(what, total, unit) as step:
            for item in items:
                yield item
                step.advance()


def choose_device(text: str) -> str:
    """The torch device for "auto", "cpu", "cuda" or "cuda:N": "cpu" or "cuda:N".

    Raises:
        UsageError: if it is none of these, or the GPU is not there; an explicit wish is never replaced.
    """
    import torch  # takes seconds; commands answer --help and mistyped options before

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise UsageError(f"--device {text}: expected auto, cpu, cuda or cuda:N")
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == "cpu" or (text == "auto" and num_gpus == 0):
        return "cpu"
    index = int(text.partition(":")[2] or 0)
    if index >= num_gpus:
        seen = f"this machine has {num_gpus} GPUs that torch {torch.__version__} can use"
        raise UsageError(f"--device {text}: {seen}; choose --device cpu or auto")
    return f"cuda:{index}"


def leave(exit_code: int) -> NoReturn:
    """End the process; after an interruption at once, whatever threads and worker processes are still busy."""
    if exit_code == EXIT_INTERRUPTED:
        _end_now()
    sys.exit(exit_code)


def _end_now() -> NoReturn:
    for child in multiprocessing.active_children():
        child.kill()
    _free_semaphores()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_INTERRUPTED)


@contextlib.contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """Keep Ctrl-C waiting while worker processes are started: one that is just starting answers with a traceback.

    Processes started meanwhile never get it, where the system can block signals. Keep the block short.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _free_semaphores() -> None:
    """Free what locks and queues between processes hold: Python prints a warning about any that are left."""
    for finalizer in list(multiprocessing.util._finalizer_registry.values()):  # type: ignore[attr-defined]
        if finalizer._callback is multiprocessing.synchronize.SemLock._cleanup:  # type: ignore[attr-defined]
            finalizer()


class Stop:
    """Whether a signal has asked to stop."""

    is_requested = False


@contextlib.contextmanager
def stop_on_signals(message: Callable[[], str]) -> Iterator[Stop]:
    """While the block runs, Ctrl-C and SIGTERM raise KeyboardInterrupt once, and end the process within two seconds.

    Code that does not return to Python in time (or libraries that swallow the exception) cannot hold the process up: a
    watchdog prints `message` and leaves with exit code 130. A second signal kills at once. Files must therefore be
    written by temporary name and rename.

    Args:
        message: what to print before leaving, such as how to resume; asked for when the signal comes.
    """
    stop = Stop()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def leave_late() -> None:
        print(message(), file=sys.stderr)
        _end_now()

    watchdog = threading.Timer(STOP_WITHIN_SECONDS, leave_late)
    watchdog.daemon = True

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.is_requested = True
        for each in signals:
            signal.signal(each, signal.SIG_DFL)
        watchdog.start()
        raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        watchdog.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
