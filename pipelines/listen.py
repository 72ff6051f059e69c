"""Find events in sound that goes on, and print each as it ends: python -m pipelines.listen runs/kws/model"""

import argparse
import contextlib
import io
import json
import queue
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from .console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    ReaderLeft,
    leave,
    one_line,
    seconds_text,
    show,
    stop_on_signals,
)
from .errors import UsageError, UserError
from .events import Event

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .live import LiveStream
    from .live_sources import Reader, Source
    from .model import Model

PROGRAM = "python -m pipelines.listen"
EPILOG = f"""\
examples:
  {PROGRAM} runs/kws/model
  {PROGRAM} runs/kws/model https://example.org/radio.mp3 --jsonl >> heard.jsonl
  ffmpeg -loglevel error -i rtsp://camera/1 -f s16le -ac 1 -ar 16000 - | {PROGRAM} runs/kws/model - --rate 16000
  {PROGRAM} runs/kws/model recording.flac

An event is printed when nothing that follows can change it; how long that takes is said at the start. Times are seconds
since the first sample. Ctrl-C ends, after the events that had begun.

exit codes: 0 the source has ended, 1 it broke off, 2 wrong usage or no model, 130 interrupted
"""
WAIT_SECONDS = 0.1  # until Ctrl-C is noticed


class _Options(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {PROGRAM} --help explains")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 good, 1 failed, 2 usage, 130 interrupted)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a label that the terminal cannot show ends nothing
    with stop_on_signals(lambda: "\nInterrupted.") as stop:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        except ReaderLeft:
            return EXIT_OK
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except (KeyboardInterrupt, Exception) as error:
            if stop.is_requested:
                print("\nInterrupted.", file=sys.stderr)
                return EXIT_INTERRUPTED
            if not isinstance(error, Exception):
                raise
            from featurizers import MediaError  # brings torch, which typing mistakes need not wait for

            if isinstance(error, MediaError):
                print(f"error: {error}", file=sys.stderr)
                return EXIT_FAILED
            traceback.print_exception(error)
            print("error: a fault in the program, or in a class that the model names", file=sys.stderr)
            return EXIT_FAILED


def new_parser() -> argparse.ArgumentParser:
    """All options, with their help."""
    parser = _Options(
        prog=PROGRAM,
        description="Find events in sound that goes on, and print each as it ends.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="the model folder of a run, such as runs/kws/model")
    add(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="a URL, a file, or - for raw samples on standard input; default: the microphone",
    )
    add("--jsonl", action="store_true", help="print one JSON object per event")
    add("--min-score", type=float, metavar="P", help="one threshold in [0, 1] instead of the model's own, per label")
    add("--gate", choices=("learned", "open"), default="learned", help="open: skip nothing, slower; default: learned")
    add("--channel", type=int, metavar="N", help="listen to this channel, from 0; default: the mean of all")
    add("--rate", type=int, metavar="HZ", help="samples per second: needed for -, for a microphone its own by default")
    add("--channels", type=int, default=1, metavar="N", help="channels of - or of the microphone; default: 1")
    add("--format", choices=("u8", "s16le", "s32le", "f32le"), default="s16le", help="of -; default: s16le")
    add("--microphone", metavar="NAME", help="name or number of the input; default: the system's choice")
    add("--quiet", action="store_true", help="nothing but events and errors")
    add(
        "--trust",
        action="append",
        default=[],
        metavar="CLASS",
        help="dotted name of a class outside surnn, featurizers and pipelines that the model may import and run; "
        "may be repeated",
    )
    return parser


def _run(arguments: list[str]) -> int:
    options = new_parser().parse_args(arguments)
    _check(options)
    import torch  # with the model it takes seconds; mistyped options are answered before

    from .band import missing_band
    from .model import load

    torch.set_num_threads(1)  # pieces are so small that more threads only wait for each other
    model = load(options.model, trust=options.trust)
    look_ahead = model.look_ahead
    source = _source_of(options, model)
    stream = model.stream(
        source.rate_hz,
        channel=options.channel if source.is_live else None,  # a file is read by channel
        min_score=options.min_score,
        gate=options.gate,
        start_seconds=source.start_seconds,
    )
    missing = missing_band(model, source.own_rate_hz)
    if missing:
        print(f"warning: {one_line(source.name)}: {missing}", file=sys.stderr)
    if not options.quiet:
        print(
            f"listening to {one_line(source.name)} at {source.own_rate_hz} Hz; an event is named at most "
            f"{look_ahead.seconds + 0.5:.1f} s after it has ended"
            + (" and the switch has closed" if look_ahead.longest_backward else "")
            + "; Ctrl-C ends",
            file=sys.stderr,
            flush=True,
        )
    return _listen(stream, source, options)


def _check(options: argparse.Namespace) -> None:
    is_pipe, is_microphone = options.source == "-", options.source is None
    if is_pipe and options.rate is None:
        raise UsageError("raw samples do not say their rate; give --rate, such as --rate 16000")
    if options.rate is not None and not (is_pipe or is_microphone):
        raise UsageError(f"--rate {options.rate} goes with - or a microphone; {options.source} has a rate of its own")
    if options.microphone is not None and not is_microphone:
        raise UsageError(f"--microphone {options.microphone} and {options.source}: give one of them")
    if options.channels < 1:
        raise UsageError(f"--channels {options.channels} must be at least 1")
    if options.channels != 1 and not (is_pipe or is_microphone):
        raise UsageError(f"--channels {options.channels} goes with - or a microphone; {options.source} has its own")
    if options.format != "s16le" and not is_pipe:
        raise UsageError(f"--format {options.format} goes with -, raw samples on standard input; leave it out")
    channel = options.channel
    if channel is not None and (channel < 0 or ((is_pipe or is_microphone) and channel >= options.channels)):
        raise UsageError(f"--channel {channel} does not exist: channels count from 0, and --channels says how many")
    if is_pipe and sys.stdin is None:
        raise UsageError("- reads raw samples on standard input, which is closed; give it a pipe")
    if is_pipe and sys.stdin.isatty():
        raise UsageError("- reads raw samples from a pipe, and this is a keyboard; leave it out for the microphone")


def _source_of(options: argparse.Namespace, model: "Model") -> "Source":
    from . import live_sources as sources

    if options.source is None:
        return sources.from_microphone(options.microphone, options.rate, options.channels)
    if options.source == "-":
        return sources.from_pipe(sys.stdin.buffer, options.rate, options.format, options.channels)
    if "://" in options.source:
        return sources.from_url(options.source)
    return sources.from_file(options.source, model.line.rate_hz, options.channel)


def _listen(stream: "LiveStream", source: "Source", options: argparse.Namespace) -> int:
    """Print events until the source ends or somebody interrupts."""
    from featurizers import MediaError

    from .live_sources import Reader

    reader, begun, num_events, clock_zero = Reader(source), time.monotonic(), 0, 0.0

    def show_events(events: list[Event]) -> None:
        nonlocal num_events
        num_events += len(events)
        for event in events:
            at = clock_zero + event.onset_seconds if source.is_live else None
            show(f"{_json_of(event, at) if options.jsonl else _line_of(event, at)}\n")

    with _signals_noted() as noted:
        try:
            for piece in _pieces(reader, noted):
                events = stream.push(piece)
                clock_zero = clock_zero or time.time() - stream.seconds
                show_events(events)
        except (MediaError, UserError):  # it broke off: what was heard until then counts
            show_events(stream.end())
            raise
        show_events(stream.end())
    if not options.quiet:
        took = time.monotonic() - begun
        print(
            f"{num_events} event{'' if num_events == 1 else 's'} in {seconds_text(stream.seconds)} of sound "
            f"({stream.frames_open:.1%} of frames open), in {seconds_text(took)}",
            file=sys.stderr,
        )
    return EXIT_INTERRUPTED if noted.is_requested else EXIT_OK


def _pieces(reader: "Reader", noted: "_Noted") -> "Iterator[NDArray[Any]]":
    """What comes until the source ends, or until somebody interrupts and what was there by then is used up."""
    while not noted.is_requested:
        with contextlib.suppress(queue.Empty):
            piece = reader.next(WAIT_SECONDS)
            if piece is None:
                return
            yield piece
    for _ in range(reader.num_waiting):
        piece = reader.next(WAIT_SECONDS)
        if piece is None:
            return
        yield piece


def _line_of(event: Event, clock_seconds: float | None) -> str:
    clock = "" if clock_seconds is None else f"{datetime.fromtimestamp(clock_seconds):%H:%M:%S}  "
    times = f"{event.onset_seconds:9.2f} - {event.offset_seconds:9.2f} s"
    return f"{clock}{times}  {event.score:.2f}  {one_line(event.label)}"


def _json_of(event: Event, clock_seconds: float | None) -> str:
    """Onset, offset, label, score; and when it began, ISO 8601, null where only the recording's own time counts."""
    clock = None
    if clock_seconds is not None:
        clock = datetime.fromtimestamp(clock_seconds).astimezone().isoformat(timespec="milliseconds")
    return json.dumps(dict(zip(Event._fields[:4], event[:4], strict=True)) | {"clock": clock}, ensure_ascii=False)


class _Noted:
    """Whether a signal has asked to stop."""

    is_requested = False


@contextlib.contextmanager
def _signals_noted() -> Iterator[_Noted]:
    """Have the first Ctrl-C or SIGTERM only noted, so that it breaks no push in two; a second one kills."""
    noted, signals = _Noted(), (signal.SIGINT, signal.SIGTERM)

    def note(_number: int, _frame: FrameType | None) -> None:
        noted.is_requested = True
        for each in signals:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in signals}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    leave(main())
