"""A page on which to judge what a tagging job has found: python -m pipelines.review results/"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .archive.journal import JOURNAL_FILE, Journal
from .console import EXIT_INTERRUPTED, EXIT_OK, Progress, leave, one_line, stop_on_signals
from .errors import UsageError, UserError

if TYPE_CHECKING:  # imported late, because it brings torch, which --help need not wait for
    from .model import Model

PROGRAM = "python -m pipelines.review"
EPILOG = f"""\
examples:
  {PROGRAM} results/
  {PROGRAM} results/ --model runs/kws/model --media elsewhere/archive --order uncertain
  {PROGRAM} results/ --truth labels.csv --events 500

Writes one HTML file that needs no network: listen, look, and press a (accept), r (reject) or u (unsure). "Download
verdicts" gives a table that pipelines.corpora.EventTable trains on (docs/review.md).

exit codes: 0 good, 1 failed, 2 wrong usage or no job, 130 interrupted
"""


class _Options(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {PROGRAM} --help explains")


def new_parser() -> argparse.ArgumentParser:
    """All options, with their help."""
    parser = _Options(
        prog=PROGRAM,
        description="Write a page on which a person judges what a tagging job has found.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("job", metavar="DIR", type=Path, help="the folder of a tagging job (pipelines.tag --output)")
    add("--output", type=Path, metavar="FILE", help="where the page goes; default: DIR/review.html")
    add("--model", type=Path, metavar="DIR", help="the job's model; default: that of its fingerprint in runs/")
    add("--media", type=Path, metavar="ROOT", help="where the recordings are now, if the archive has moved")
    add("--truth", type=Path, metavar="TABLE", help="true events, drawn beside the found ones (docs/annotations.md)")
    add("--events", type=int, default=200, metavar="N", help="how many events to judge; default: 200")
    add(
        "--order",
        choices=("score", "uncertain", "random"),
        default="score",
        help="which ones: the highest scores, the lowest, or a fair sample; default: score",
    )
    add("--pad", type=float, default=1.0, metavar="SECONDS", help="sound around each event; default: 1")
    add(
        "--hours",
        type=float,
        default=10.0,
        metavar="H",
        help="follow recordings of at most so many hours again, for switch, scores and overview; default: 10",
    )
    add("--megabytes", type=float, default=20.0, metavar="MB", help="the page is no larger; default: 20")
    add("--trust", action="append", default=[], metavar="CLASS", help="as in pipelines.tag; may be repeated")
    add("--quiet", action="store_true", help="no progress")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    with stop_on_signals(lambda: "\nInterrupted; no page was written.") as stop:
        try:
            return _run(new_parser().parse_args(argv))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            if not stop.is_requested:
                raise
            print("\nInterrupted; no page was written.", file=sys.stderr)
            return EXIT_INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    _check(options)
    report = Progress(quiet=options.quiet)
    with Journal(options.job) as journal:
        return _review(journal, options, report)


def _check(options: argparse.Namespace) -> None:
    if not (options.job / JOURNAL_FILE).is_file():
        raise UsageError(f"{options.job}: holds no tagging job ({JOURNAL_FILE} is missing); name what --output was")
    if options.events < 1:
        raise UsageError(f"--events {options.events} must be at least 1")
    for name in ("pad", "hours"):
        if not getattr(options, name) >= 0:
            raise UsageError(f"--{name} {getattr(options, name):g} must be 0 or more")
    if not options.megabytes >= 1:
        raise UsageError(f"--megabytes {options.megabytes:g} must be at least 1")
    if options.media is not None and not options.media.is_dir():
        raise UsageError(f"--media {options.media}: is no folder")


def _review(journal: Journal, options: argparse.Namespace, report: Progress) -> int:
    from .reviews import choose_events, read_truth, write_page
    from .reviews.views import Viewer

    identity = journal.identity()
    choice = choose_events(journal.event_rows(), options.events, options.order)
    if not choice.events:
        raise UsageError(f"{options.job}: this job has found no event; there is nothing to judge")
    model = _model(str(identity.get("model", "")), options)
    lengths = {row.file: row.seconds for row in journal.file_rows()}
    truth = None if options.truth is None else read_truth(options.truth, list(lengths))
    shown = {row.file for row in choice.events}
    found = [row for row in journal.event_rows() if row.file in shown]
    with tempfile.TemporaryDirectory() as scratch:
        viewer = Viewer(
            model,
            Path(scratch),
            gate=str(identity.get("gate", "learned")),
            channel=identity.get("channel"),
            media=options.media,
            pad_seconds=options.pad,
            follow_seconds=3600 * options.hours,
        )
        with report.step("looking at recordings", len(shown), "recordings") as step:
            views = viewer.view(choice.events, found, lengths, truth, seen=lambda file: step.advance(1, one_line(file)))
    path = options.output or options.job / "review.html"
    written = write_page(
        path,
        title=f"Review of {options.job.resolve().name}",
        summary=_summary(len(choice.events), choice.num_found, len(shown), options.order),
        model_fingerprint=str(identity.get("model", "")),
        labels=model.labels,
        top="film" if model.line.is_video else "log-mel",
        events=views.events,
        recordings=views.recordings,
        most_bytes=int(options.megabytes * 1_000_000),
    )
    report.say(f"{path}: {written.num_bytes / 1e6:.1f} MB; open it in a browser")
    for number, what in (
        (views.num_gone, "recordings are not there or cannot be read: their events are listed without a clip"),
        (views.num_not_followed, "recordings lie beyond --hours: no switch, no scores, no overview"),
        (written.num_events_without_clip, "clips did not fit into --megabytes"),
        (written.num_recordings_without_overview, "overviews did not fit into --megabytes"),
    ):
        if number:
            report.say(f"{number} {what}")
    return EXIT_OK


def _model(fingerprint: str, options: argparse.Namespace) -> "Model":
    """The model that found the events, and no other: its switch and scores are to be shown."""
    import torch

    from .model import load
    from .reviews import find_model

    torch.set_num_threads(1)  # runs of open frames are small: a second thread only waits for the first
    folder = options.model or find_model(fingerprint, [Path(), options.job.parent])
    if folder is None:
        raise UsageError(
            f"{options.job}: no model of fingerprint {fingerprint} is in runs/; name its folder: --model DIR"
        )
    model = load(folder, trust=options.trust)
    if model.fingerprint != fingerprint:
        raise UsageError(
            f"--model {folder}: has the fingerprint {model.fingerprint}, but {fingerprint} tagged {options.job}; "
            "name the model of this job"
        )
    return model


def _summary(num_shown: int, num_found: int, num_files: int, order: str) -> str:
    which = {"score": "highest scores", "uncertain": "lowest scores", "random": "drawn at random"}[order]
    events = (
        f"All {num_found:,} events" if num_shown == num_found else f"{num_shown:,} of {num_found:,} events ({which})"
    )
    return f"{events}, in {num_files:,} recording{'' if num_files == 1 else 's'}"


if __name__ == "__main__":
    leave(main())
