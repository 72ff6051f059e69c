"""Find events in recordings with a trained model: python -m pipelines.tag runs/kws/model archive/ --output results/"""

import argparse
import contextlib
import io
import shlex
import sys
import time
import traceback
from collections.abc import Sequence

from tqdm import tqdm

from .archive.inputs import find_files
from .archive.job import JobProgress, ModelFolder, Summary, tag_archive
from .archive.merge import merge_shards
from .archive.options import PROGRAM, check_options, new_parser, parse_options, share_of
from .archive.tagging import Failure, Settings, tag_file
from .console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_SOME_FILES_FAILED,
    Progress,
    ReaderLeft,
    Step,
    leave,
    one_line,
    seconds_text,
    show,
    stop_on_signals,
)
from .errors import UsageError, UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 good, 1 failed, 2 usage, 3 some files failed, 130 interrupted)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name or label that the terminal cannot show ends no job
    command = _Command(list(sys.argv[1:] if argv is None else argv))
    with stop_on_signals(command.farewell) as stop:
        try:
            return command.run()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except (KeyboardInterrupt, Exception) as error:
            if stop.is_requested:
                print(command.farewell(), file=sys.stderr)
                return EXIT_INTERRUPTED
            if not isinstance(error, Exception):
                raise
            traceback.print_exception(error)
            print("error: a fault in the program, or in a class that the model names", file=sys.stderr)
            return EXIT_FAILED


class _Command:
    """One call of the command, and what it has done so far."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        self.output: str | None = None
        self.num_tagged = 0
        self.report, self.trouble = Progress(), Progress()

    def run(self) -> int:
        """Show help, merge, or tag; returns the exit code."""
        options = parse_options(self.arguments)
        if options.help:
            with contextlib.suppress(ReaderLeft):
                show(new_parser().format_help())
            return EXIT_OK
        check_options(options)
        self.output, self.report = options.output, Progress(quiet=options.quiet)
        if options.merge:
            return self.told(merge_shards(options.paths, options.output, exports=options.export))
        if options.output is not None:
            return self.archive(options)
        with contextlib.suppress(ReaderLeft):
            return self.show_events(options)
        return EXIT_OK

    def archive(self, options: argparse.Namespace) -> int:
        """Tag into a folder."""
        with _Bars(self) as bars:
            summary = tag_archive(
                options.model,
                options.media,
                options.output,
                lists=options.list,
                workers=options.workers,
                min_score=options.min_score,
                gate=options.gate,
                channel=options.channel,
                merge_gap_seconds=options.merge_gap,
                audit_share=share_of(options.audit),
                exports=options.export,
                clips=options.clips,
                shard=options.shard,
                time_limit_seconds=options.time_limit,
                retry_failed=options.retry_failed,
                on_error=options.on_error,
                overwrite=options.overwrite,
                trust=options.trust,
                progress=bars.progress,
            )
        return self.told(summary)

    def told(self, summary: Summary) -> int:
        """Say what a job has done; its exit code."""
        for note in summary.notes:
            self.trouble.say(one_line(note))
        if summary.audit:
            self.report.say(summary.audit)
        self.report.say(
            _summary(
                *(summary.num_events, summary.num_done, summary.num_failed, summary.num_skipped),
                *(summary.media_seconds, summary.took_seconds),
            )
            + f"; results: {', '.join(str(path) for path in summary.written)}"
        )
        return EXIT_SOME_FILES_FAILED if summary.num_failed or summary.notes else EXIT_OK

    def show_events(self, options: argparse.Namespace) -> int:
        """Tag in this process, and print events."""
        begun = time.monotonic()
        model = ModelFolder(options.model, tuple(options.trust))()
        settings = Settings(options.min_score, options.gate, options.channel, options.merge_gap)
        files, unusable = find_files(options.media, lists=options.list)
        num_failed = num_skipped = num_events = 0
        seconds = 0.0
        for reason in unusable:
            self.fail(reason)
            num_failed += 1
        with self.report.step("tagging", None, "s of media") as step:
            for number, file in enumerate(files, 1):
                heard = _Heard(step, f"file {number} of {len(files)}")
                events = tag_file(model, settings, file.path, file.is_named, heard)
                if not isinstance(events, Failure):
                    self.num_tagged += 1
                    num_events += len(events)
                    seconds += events.seconds
                    with tqdm.external_write_mode(file=sys.stdout):
                        show(f"{events}\n")
                elif events.is_expected:
                    num_skipped += 1
                    self.report.say(one_line(f"skipped: {file.path}: {events.reason}"))
                else:
                    num_failed += 1
                    self.fail(f"{file.path}: {events.reason}")
        if self.num_tagged + num_failed == 0:
            raise UsageError(
                f"no file that the model can read in {', '.join(options.media)}; name recordings, or folders of them"
            )
        took = time.monotonic() - begun
        self.report.say(_summary(num_events, self.num_tagged, num_failed, num_skipped, seconds, took))
        return EXIT_SOME_FILES_FAILED if num_failed else EXIT_OK

    def fail(self, reason: str) -> None:
        """Name a file that should have been tagged and was not; also with --quiet."""
        self.trouble.say(one_line(f"failed: {reason}"))

    def farewell(self) -> str:
        """What to say when interrupted."""
        done = f"\nInterrupted after {_counted(self.num_tagged, 'file')}"
        if self.output is None:
            return f"{done}."
        return f"{done}; what is finished is kept. Go on with:\n  {PROGRAM} {shlex.join(self.arguments)}"


class _Bars:
    """Shows the progress of a job: one bar while files are looked for, one while they are tagged."""

    def __init__(self, command: _Command) -> None:
        self._command = command
        self._open = contextlib.ExitStack()
        self._step: Step | None = None
        self._shown: JobProgress | None = None

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.__exit__(*error)  # type: ignore[arg-type]

    def progress(self, now: JobProgress) -> None:
        """Show it."""
        before, self._shown = self._shown, now
        if now.note:
            self._command.report.say(one_line(now.note))
        is_tagging = now.num_files > 0
        if self._step is None or (is_tagging and before is not None and not before.num_files):
            self._open.close()
            report = self._command.report
            self._step = self._open.enter_context(
                report.step("tagging", now.num_files, "files", guesses_time=False)
                if is_tagging
                else report.step("looking for files", None, "files")
            )
            before = None
        count = _num_counted(now) - (0 if before is None else _num_counted(before))
        self._step.advance(count, _note(now) if is_tagging else "")
        if now.file is not None:
            self._command.num_tagged += now.file.status == "done"
            if now.file.status == "done" and now.file.reason:
                self._command.report.say(one_line(f"{now.file.file}: {now.file.reason}"))
            if now.file.status == "failed":
                self._command.fail(f"{now.file.file}: {now.file.reason}")


class _Heard:
    """Counts the seconds that are heard of one file."""

    def __init__(self, step: Step, note: str) -> None:
        self._step, self._note, self._before = step, note, 0.0

    def __call__(self, seconds: float) -> None:
        self._step.advance(seconds - self._before, self._note)
        self._before = seconds


def _num_counted(now: JobProgress) -> int:
    return now.num_done + now.num_failed + now.num_skipped if now.num_files else now.num_found


def _note(now: JobProgress) -> str:
    """Hours of media, speed, failures, time left."""
    parts = [f"{seconds_text(now.media_seconds)} of media"]
    if now.took_seconds > 0:
        parts.append(f"{now.media_seconds / now.took_seconds:.0f} times real time")
    if now.num_failed:
        parts.append(f"{now.num_failed} failed")
    if now.left_seconds is not None:
        parts.append(f"{seconds_text(now.left_seconds)} left")
    return ", ".join(parts)


def _summary(
    num_events: int, num_done: int, num_failed: int, num_skipped: int, media_seconds: float, took_seconds: float
) -> str:
    """What was done, in one line."""
    rest = [f"{n} {what}" for n, what in ((num_failed, "failed"), (num_skipped, "skipped")) if n]
    found = f"{_counted(num_events, 'event')} in {_counted(num_done, 'file')} ({seconds_text(media_seconds)} of media)"
    return ", ".join([found, *rest, f"in {seconds_text(took_seconds)}"])


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


if __name__ == "__main__":
    leave(main())
