"""What a learned switch is worth for sounds, beside its dense twin, simpler ways to skip and a smaller dense model.

python -m benchmarks.sound_skipping --seeds 0 1 2 --corpus-seed 41 --hours 3 --output DIR --cache DIR

The dense twin is trained and run open in its fastest form. Stride, random skipping and energy get the share of open
frames of the learned switch, which costs them as much time as it, or more: their runs are shorter. The smaller dense
model has fewer channels and neurons, so that it takes as long as the learned switch. A contest that was stopped is gone
on with.

Keys of the recipe are options, as in pipelines.run. A recipe whose recordings are not staged is compared on its own
test split; --hours and --corpus-seed then count for nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.contest import common_options, is_staged
from benchmarks.contest_table import Bars, hold
from benchmarks.skipping import answered
from benchmarks.yardsticks import Sounds
from pipelines.console import Progress
from pipelines.recipe import load_recipe

BARS = Bars(0.01, least_hours=3.0, least_events=1000, most_open=0.15, least_saved_share=0.8, most_floors=1.3)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="recipes/sed.yaml", help="default: %(default)s")
    parser.add_argument("--hours", type=float, default=3.0, help="busy test streams (default: %(default)g)")
    parser.add_argument("--quiet-hours", type=float, default=1.0, help="quiet test streams (default: %(default)g)")
    common_options(parser)
    return answered(parser, argv, compare)


def compare(options: argparse.Namespace, given: list[tuple[str, str]]) -> dict[str, Any]:
    """The contest, by the collar of the recipe's task; on busy soundscapes, or on recordings of one's own."""
    recipe = load_recipe(options.recipe, given)
    yardstick = Sounds(float(recipe.task.build().collar_seconds), kind="busy" if is_staged(recipe) else "")
    return hold(options, given, yardstick, BARS, Progress(), has_smaller=True)


if __name__ == "__main__":
    sys.exit(main())
