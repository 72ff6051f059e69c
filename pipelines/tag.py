"""Find events in recordings with a trained model: python -m pipelines.tag runs/kws/model recording.flac folder/"""

import argparse
import collections
import contextlib
import glob
import importlib.metadata
import io
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tqdm import tqdm

from .console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_SOME_FILES_FAILED,
    Progress,
    Step,
    leave,
    seconds_text,
    stop_on_signals,
)
from .errors import UsageError, UserError
from .exports import COLUMNS, Row, write_csv

if TYPE_CHECKING:  # imported late, because it brings torch: Ctrl-C and a mistyped option are answered before that
    from .model import Model
    from .results import Events

PROGRAM = "python -m pipelines.tag"
EPILOG = f"""\
examples:
  {PROGRAM} runs/kws/model interview.mp3
  {PROGRAM} runs/kws/model archive/ --output events.csv
  {PROGRAM} runs/kws/model 'archive/**/*.flac' --min-score 0.8 --channel 0
  {PROGRAM} runs/kws/model -- -a-name-with-a-dash.wav

Events go to standard output, progress and trouble to standard error. A file that cannot be read is named there with its
reason, and the others go on. In folders, files without sound are skipped, and named as well.

exit codes: 0 all good, 1 failed, 2 wrong usage or no model, 3 finished but some files failed, 130 interrupted
"""
MEDIA_ENDING = re.compile(
    r".*\.(3gp|aac|ac3|aif[cf]?|alac|amr|ape|au|avi|caf|flac|flv|m4[abv]|mk[av]|mov|mp[234]|mpe?g|mts|og[ag]|opus"
    r"|rf64|snd|ts|w64|wav|webm|wma|wmv|wv)",
    re.IGNORECASE | re.DOTALL,
)


class Found(NamedTuple):
    """A file to tag.

    Args:
        path: as the user named it, or below the folder as the user named that.
        is_named: by the user; false in a folder, where files without sound are to be expected.
    """

    path: str
    is_named: bool


class _Options(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        hint = "; put -- before names that begin with a dash" if "unrecognized" in message else ""
        raise UsageError(f"{message}{hint}; {PROGRAM} --help explains")


class _ReaderLeft(Exception):
    """Whoever read the standard output has closed it (`| head`)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 good, 1 failed, 2 usage, 3 some files failed, 130 interrupted)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name or label that the terminal cannot show ends no job
    job = _Job()
    with stop_on_signals(job.farewell) as stop:
        try:
            return job.run(list(sys.argv[1:] if argv is None else argv))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except (KeyboardInterrupt, Exception) as error:
            if stop.is_requested:
                print(job.farewell(), file=sys.stderr)
                return EXIT_INTERRUPTED
            if not isinstance(error, Exception):
                raise
            traceback.print_exception(error)
            print("error: a fault in the program, or in a class that the model names", file=sys.stderr)
            return EXIT_FAILED


class _Job:
    """One call of the command, and what it has done so far."""

    def __init__(self) -> None:
        self.num_tagged = self.num_failed = self.num_skipped = self.num_events = 0
        self.seconds = 0.0
        self.output: str | None = None
        self.report, self.trouble = Progress(), Progress()

    def run(self, arguments: list[str]) -> int:
        """Show help, or tag; returns the exit code."""
        options = _parse(arguments)
        if options.help:
            with contextlib.suppress(_ReaderLeft):
                _show(_parser().format_help())
            return EXIT_OK
        _check(options)
        self.output = options.output
        self.report = Progress(quiet=options.quiet)
        begun = time.monotonic()
        import torch

        from .model import load

        torch.set_num_threads(1)  # runs of open frames are small: a second thread only waits for the first
        model = load(options.model, trust=options.trust)
        files, unusable = find_files(options.media)
        for reason in unusable:
            self.fail(reason)
        with contextlib.suppress(_ReaderLeft):
            rows = self.rows(model, files, options)
            if options.output is None:
                collections.deque(rows, maxlen=0)
            else:
                self.write(options.output, rows)
        self.report.say(self.summary(time.monotonic() - begun))
        return EXIT_SOME_FILES_FAILED if self.num_failed else EXIT_OK

    def rows(self, model: "Model", files: Sequence[Found], options: argparse.Namespace) -> Iterator[Row]:
        """Tag file by file, print what is found, and give the table's rows."""
        version = importlib.metadata.version("surnn-pipelines")
        with self.report.step("tagging", None, "s of sound") as step:
            for number, file in enumerate(files, 1):
                events = self.tag(model, file, options, step, f"file {number} of {len(files)}")
                if events is None:
                    continue
                with tqdm.external_write_mode(file=sys.stdout):
                    self.show(str(events))
                for event in events:
                    event = event._replace(channel=options.channel or 0)
                    yield Row(_as_utf8(file.path), event, model.fingerprint, version)
        if self.num_tagged + self.num_failed == 0:
            raise UsageError(f"no file with sound in {', '.join(options.media)}; name recordings, or folders of them")

    def tag(self, model: "Model", file: Found, options: argparse.Namespace, step: Step, note: str) -> "Events | None":
        """The events of one file; None, and the reason told, if it cannot be read to its end or has no sound."""
        from featurizers import MediaError

        before = 0.0

        def progress(seconds: float) -> None:
            nonlocal before
            step.advance(seconds - before, note)
            before = seconds

        if not file.is_named and os.path.exists(file.path) and not os.path.isfile(file.path):
            self.skip(f"{file.path} is no regular file")  # to open a pipe would be to wait for its writer
            return None
        try:
            events = model.tag(
                file.path, channel=options.channel, min_score=options.min_score, gate=options.gate, progress=progress
            )
        except MediaError as error:
            is_expected = not (file.is_named or error.read_seconds or MEDIA_ENDING.fullmatch(file.path))
            (self.skip if is_expected else self.fail)(str(error))
        except OSError as error:
            self.fail(f"{file.path}: {error.strerror or error}")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})"
            self.fail(f"{file.path}: a fault in the program: {fault}")
        else:
            self.num_tagged += 1
            self.num_events += len(events)
            self.seconds += events.seconds
            return events
        return None

    def write(self, output: str, rows: Iterable[Row]) -> None:
        """The table; a reader of standard output that left does not keep it from being written."""
        try:
            write_csv(output, rows)
        except OSError as error:
            raise UserError(f"{output}: cannot be written ({error.strerror}); choose another --output") from error

    def show(self, text: str) -> None:
        """Print events; once nobody reads them, only for a table there is reason to go on."""
        try:
            _show(text + "\n")
        except _ReaderLeft:
            if self.output is None:
                raise

    def fail(self, reason: str) -> None:
        """Name a file that should have been tagged and was not."""
        self.num_failed += 1
        self.tell(f"failed: {reason}", self.trouble)

    def skip(self, reason: str) -> None:
        """Name a file that was never meant to be tagged."""
        self.num_skipped += 1
        self.tell(f"skipped: {reason}", self.report)

    def tell(self, text: str, where: Progress) -> None:
        from .results import one_line

        where.say(one_line(text))

    def summary(self, took_seconds: float) -> str:
        """What was done, in one line."""
        rest = [f"{n} {what}" for n, what in ((self.num_failed, "failed"), (self.num_skipped, "skipped")) if n]
        events, files = _counted(self.num_events, "event"), _counted(self.num_tagged, "file")
        return ", ".join(
            [
                f"{events} in {files} ({seconds_text(self.seconds)} of sound)",
                *rest,
                f"in {seconds_text(took_seconds)}" + (f"; table: {self.output}" if self.output else ""),
            ]
        )

    def farewell(self) -> str:
        """What to say when interrupted."""
        table = f"; {self.output} was not written" if self.output else ""
        return f"\nInterrupted after {_counted(self.num_tagged, 'file')}{table}."


def find_files(names: Iterable[str]) -> tuple[list[Found], list[str]]:
    """The files that names stand for, each once: files, folders with all that is below them, glob patterns.

    Returns:
        Files in the order of the names, folders sorted; and, for names and folders that cannot be used, why.
    """
    found: dict[str, Found] = {}
    unusable: list[str] = []

    def add(name: str) -> None:
        if os.path.isdir(name):
            for path in _below(name, unusable):
                found.setdefault(path, Found(path, False))
        else:
            found[name] = Found(name, True)

    for name in names:
        matches = (
            sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) and not os.path.lexists(name) else [name]
        )
        if not matches:
            unusable.append(f"{name} matches no file")
        for match in matches:
            add(match)
    return list(found.values()), unusable


def _below(folder: str, unusable: list[str]) -> Iterator[str]:
    """All files below a folder, links followed, no folder twice."""
    visited = set()

    def note(error: OSError) -> None:
        unusable.append(f"{error.filename}: {error.strerror}")

    for base, folders, names in os.walk(folder, onerror=note, followlinks=True):
        place = os.path.realpath(base)
        if place in visited:
            folders.clear()
            continue
        visited.add(place)
        folders.sort()
        yield from (os.path.join(base, name) for name in sorted(names))


def _parser() -> argparse.ArgumentParser:
    parser = _Options(
        prog=PROGRAM,
        usage=f"{PROGRAM} MODEL MEDIA... [options]",
        description=__doc__,
        epilog=EPILOG,
        add_help=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "paths",
        nargs="*",
        metavar="MODEL MEDIA...",
        help="the model folder of a run, such as runs/kws/model; then files of any container and codec, folders, "
        "glob patterns",
    )
    add("--output", metavar="FILE.csv", help="write one table of all events; a table of that name is replaced")
    add("--min-score", type=float, metavar="P", help="one threshold in [0, 1] instead of the model's own, per label")
    add(
        "--gate",
        choices=("learned", "open"),
        default="learned",
        help="learned: the model's switch; open: skip nothing, slower; default: learned",
    )
    add("--channel", type=int, metavar="N", help="listen to this channel, from 0; default: the mean of all")
    add(
        "--trust",
        action="append",
        default=[],
        metavar="CLASS",
        help="dotted name of a class outside surnn, featurizers and pipelines that the model may import and run; "
        "may be repeated",
    )
    add("--quiet", action="store_true", help="no progress; events and failures are still shown")
    add("-h", "--help", action="store_true", help="show this")
    return parser


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Options before, between and after names; behind -- there are only names."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = _parser().parse_intermixed_args(arguments[:end])
    options.model, *options.media = [*options.paths, *arguments[end + 1 :]] or [None]
    return options


def _check(options: argparse.Namespace) -> None:
    """Refuse what is wrong before the model is loaded and hours are spent."""
    if options.model is None or not options.media:
        raise UsageError(f"name a model folder and at least one recording; {PROGRAM} --help explains")
    if "" in options.media:
        raise UsageError("one of the recordings has an empty name")
    if options.min_score is not None and not 0 <= options.min_score <= 1:
        raise UsageError(f"--min-score {options.min_score:g} must lie in [0, 1]")
    if options.channel is not None and options.channel < 0:
        raise UsageError(f"--channel {options.channel} must be 0 or more")
    if options.output is not None:
        _check_output(Path(options.output))


def _check_output(output: Path) -> None:
    """The folder takes files, and nothing stands there but an older table."""
    try:
        with tempfile.TemporaryFile(dir=output.parent) as file:
            file.write(b" " * 4096)  # a full disk still takes empty files
            file.flush()
        if output.exists():
            with output.open("rb") as file:
                header = file.readline(200).decode(errors="replace").strip()
            if header != ",".join(COLUMNS):
                raise UsageError(f"{output}: exists and is no table of events; choose another --output")
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror}); choose another --output") from error


def _show(text: str) -> None:
    """Print to standard output at once.

    Raises:
        _ReaderLeft: if nobody reads it any more.
        UserError: if it cannot be written, such as to a full disk.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer has nowhere to go
        if isinstance(error, BrokenPipeError):
            raise _ReaderLeft from error
        raise UserError(f"standard output cannot be written ({error.strerror})") from error


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _as_utf8(name: str) -> str:
    """A file's name for a UTF-8 table; bytes that are no UTF-8 as backslash escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


if __name__ == "__main__":
    leave(main())
