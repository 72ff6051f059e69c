"""What the tagging command takes: options, their help, and the refusal of what cannot be meant."""

import argparse
from typing import Literal, NoReturn

from pipelines.errors import UsageError
from pipelines.exports import FORMATS

from .job import TIME_LIMIT_SECONDS
from .tagging import Settings

DESCRIPTION = "Find events in recordings with a trained model."
PROGRAM = "python -m pipelines.tag"
EPILOG = f"""\
examples:
  {PROGRAM} runs/kws/model interview.mp3
  {PROGRAM} runs/kws/model archive/ --output results/ --workers 4 --export csv
  {PROGRAM} runs/kws/model 'archive/**/*.flac' --min-score 0.8 --channel each
  find archive -name '*.wav' -print0 | {PROGRAM} runs/kws/model - --output results/
  {PROGRAM} runs/kws/model archive/ --output part1/ --shard 1/4
  {PROGRAM} --merge part1/ part2/ part3/ part4/ --output results/
  {PROGRAM} runs/kws/model -- -a-name-with-a-dash.wav

Without --output, events go to standard output, progress and trouble to standard error.

With --output, a folder gets journal.sqlite, and at the end files.parquet, events.parquet and what --export names.
Stop it in any way: the same command goes on, and redoes nothing that was finished. Files that are new or have changed
are tagged; files that failed are tried again if they have changed, could not be reached, or with --retry-failed.

A file that cannot be read is named with its reason, and the others go on. In folders, other files are skipped.

exit codes: 0 all good, 1 failed, 2 wrong usage or no model, 3 finished but some files failed, 130 interrupted
"""
# These mean nothing without --output.
FOR_FOLDERS = ["export", "clips", "workers", "shard", "time_limit", "retry_failed", "on_error", "overwrite", "audit"]


class _Options(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        hint = "; put -- before names that begin with a dash" if "unrecognized" in message else ""
        raise UsageError(f"{message}{hint}; {PROGRAM} --help explains")


def new_parser() -> argparse.ArgumentParser:
    """All options, with their help."""
    parser = _Options(
        prog=PROGRAM,
        usage=f"{PROGRAM} MODEL MEDIA... [options]\n       {PROGRAM} --merge SHARD... --output DIR [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        add_help=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_common(parser)
    _add_for_folders(parser.add_argument_group("with --output"))
    parser.add_argument("-h", "--help", action="store_true", help="show this")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "paths",
        nargs="*",
        metavar="MODEL MEDIA...",
        help="the model folder of a run, such as runs/kws/model; then files of any container and codec, folders, "
        "glob patterns, - for paths on standard input",
    )
    add(
        "--list",
        action="append",
        default=[],
        metavar="FILE",
        help="take paths from this file as well, one per line or each ended by a NUL byte; may be repeated",
    )
    add("--output", metavar="DIR", help="write tables of all files and events into this folder")
    add("--min-score", type=float, metavar="P", help="one threshold in [0, 1] instead of the model's own, per label")
    add(
        "--merge-gap",
        type=float,
        metavar="SECONDS",
        help="make one event of those of one label with no more than this between them; default: leave them apart",
    )
    add(
        "--gate",
        choices=("learned", "open"),
        default="learned",
        help="learned: the model's switch; open: skip nothing, slower; default: learned",
    )
    add(
        "--channel",
        type=_channel,
        metavar="mix|each|N",
        help="mix: the mean of all channels; each: every channel by itself; N: this one, from 0; default: mix",
    )
    add(
        "--trust",
        action="append",
        default=[],
        metavar="CLASS",
        help="dotted name of a class outside surnn, featurizers and pipelines that the model may import and run; "
        "may be repeated",
    )
    add("--quiet", action="store_true", help="no progress; events and failures are still shown")


def _add_for_folders(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--export",
        action="append",
        default=[],
        metavar="FORMAT",
        help=f"write the events in this format as well; may be repeated; one of {', '.join(FORMATS)}",
    )
    add("--clips", metavar="DIR", help="cut every event out of its file, into this folder")
    add("--workers", type=int, default=1, metavar="N", help="processes that tag, each with one thread; default: 1")
    add("--shard", metavar="I/N", help="tag only the I-th of N parts, chosen by a hash of each path as it is named")
    add("--merge", action="store_true", help="make one folder of those of all shards")
    add(
        "--time-limit",
        type=float,
        default=TIME_LIMIT_SECONDS,
        metavar="SECONDS",
        help=f"give up a file of which nothing new was heard for so long; default: {TIME_LIMIT_SECONDS:g}",
    )
    add(
        "--on-error",
        choices=("skip", "fail"),
        default="skip",
        help="what to do when a file fails; default: skip it and go on",
    )
    add("--retry-failed", action="store_true", help="try files again that failed in an earlier call")
    add("--overwrite", action="store_true", help="forget an earlier job in the folder")
    add(
        "--audit",
        metavar="SHARE",
        help="open this share of the time at random, such as 0.5%%, to estimate how many events the switch missed",
    )


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """Options before, between and after names; behind -- there are only names."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = new_parser().parse_intermixed_args(arguments[:end])
    options.paths += arguments[end + 1 :]
    options.model, *options.media = options.paths or [None]
    return options


def check_options(options: argparse.Namespace) -> None:
    """Refuse what is wrong before the model is loaded and hours are spent."""
    if options.output is None:
        for name in (*FOR_FOLDERS, "merge"):
            if getattr(options, name) != new_parser().get_default(name):
                raise UsageError(f"--{name.replace('_', '-')} needs --output DIR, a folder for the results")
    if options.merge:
        _check_merge(options)
        return
    if options.model is None or not (options.media or options.list):
        raise UsageError(f"name a model folder and at least one recording; {PROGRAM} --help explains")
    if "" in options.media:
        raise UsageError("one of the recordings has an empty name")
    Settings(options.min_score, options.gate, options.channel, options.merge_gap, share_of(options.audit)).check()


def _check_merge(options: argparse.Namespace) -> None:
    if not options.paths:
        raise UsageError("--merge needs the output folders of the shards")
    for name in ("list", "min_score", "merge_gap", "channel", "trust", *FOR_FOLDERS):
        if name != "export" and getattr(options, name) != new_parser().get_default(name):
            raise UsageError(f"--{name.replace('_', '-')} means nothing to --merge: shards are tagged already")


def _channel(text: str) -> int | Literal["each"] | None:
    if text == "mix":
        return None
    if text == "each":
        return "each"
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be mix, each, or a channel's number from 0 on") from error


def share_of(text: str | None) -> float:
    """A share from "0.5%" or "0.005"."""
    if text is None:
        return 0.0
    number, is_percent = text.removesuffix("%"), text.endswith("%")
    try:
        return float(number) / (100 if is_percent else 1)
    except ValueError as error:
        raise UsageError(f"--audit {text}: expected a share, such as 0.5% or 0.005") from error
