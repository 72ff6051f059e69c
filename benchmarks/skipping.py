"""What a learned switch is worth for words, beside its dense twin and simpler ways to skip, over several seeds.

python -m benchmarks.skipping --recipe recipes/kws.yaml --seeds 0 1 2 --hours 10 --output DIR --cache DIR

A contest that was stopped is gone on with. Keys of the recipe are options, as in pipelines.run.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.contest import common_options
from benchmarks.contest_table import Bars, hold
from benchmarks.yardsticks import Words
from pipelines.console import Progress
from pipelines.errors import UserError
from pipelines.overrides import split_overrides

BARS = Bars(largest_loss=0.02, least_hours=10.0, least_events=5000)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--recipe", default="recipes/kws.yaml", help="default: %(default)s")
    parser.add_argument("--hours", type=float, default=10.0, help="talkative test streams (default: %(default)g)")
    parser.add_argument("--quiet-hours", type=float, default=2.0, help="quiet test streams (default: %(default)g)")
    common_options(parser)
    return answered(
        parser, argv, lambda options, given: hold(options, given, Words(), BARS, Progress(), has_smaller=False)
    )


def answered(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    work: Callable[[argparse.Namespace, list[tuple[str, str]]], dict[str, Any]],
) -> int:
    """Parse, work; the exit code, errors of the user in a line."""
    try:
        own, given = split_overrides(sys.argv[1:] if argv is None else argv, parser)
        work(parser.parse_args(own), given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
