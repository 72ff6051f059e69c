"""Look over a recipe, its data and this machine before a long run: python -m pipelines.check recipes/kws.yaml"""

import argparse
import os
import platform
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from .console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    Progress,
    choose_device,
    leave,
    one_line,
    stop_on_signals,
)
from .errors import UsageError, UserError
from .overrides import split_overrides
from .run import default_cache

PROGRAM = "python -m pipelines.check"
EXAMPLES = f"""\
examples:
  {PROGRAM} recipes/kws.yaml
  {PROGRAM} my_word.yaml --corpus.init_args.words '[red, green]'
  {PROGRAM} my_word.yaml --no-time      (does not measure how long training takes)

exit codes: 0 a run can begin (warnings or not), 1 failed, 2 wrong usage, or an error that a run would meet

Any key of the recipe is an option, as in python -m pipelines.run. Nothing is computed, copied or fetched for the
corpus; of clips, the places of their sounds are measured, which the run then finds in the cache.
"""
FAREWELL = "\nInterrupted; what was measured of clips is kept."


class _Options(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {PROGRAM} --help explains")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 good, 1 failed, 2 usage or an error found, 130 interrupted)."""
    with stop_on_signals(lambda: FAREWELL) as stop:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_USAGE
        except (KeyboardInterrupt, SystemExit, Exception) as error:
            if stop.is_requested:
                print(FAREWELL, file=sys.stderr)
                return EXIT_INTERRUPTED
            if not isinstance(error, Exception):
                raise
            traceback.print_exception(error)
            print("error: a fault in the program, or in a class that the recipe names", file=sys.stderr)
            return EXIT_FAILED


def _run(arguments: Sequence[str]) -> int:
    own, overrides = split_overrides(arguments, _parser())
    options = _parser().parse_args(own)
    if options.help:
        print(f"{_parser().format_help()}\n{EXAMPLES}", end="")
        return EXIT_OK
    if options.recipe is None:
        raise UsageError(f"name a recipe, such as recipes/kws.yaml; {PROGRAM} --help explains")
    # These bring torch, as do the imports below: mistyped options are answered before.
    from .recipe import Recipe
    from .research.recipe import load_any_recipe

    recipe = load_any_recipe(options.recipe, overrides)
    if not isinstance(recipe, Recipe):
        raise UsageError(
            f"{options.recipe}: its keys are right; a sequence problem has no recordings to check: run it with "
            "python -m pipelines.run"
        )
    device = choose_device(options.device)
    cache = Path(options.cache or default_cache())
    return _Check(recipe, cache, device, Progress(quiet=options.quiet), measures=not options.no_time).run()


class _Check:
    """One look at a recipe; what is found is printed as it is found."""

    def __init__(self, recipe: Any, cache: Path, device: str, report: Progress, *, measures: bool) -> None:
        self.recipe, self.cache, self.device, self.report, self.measures = recipe, cache, device, report, measures
        self.num_errors = self.num_warnings = 0

    def run(self) -> int:
        """Recipe, data, machine, cost; the exit code."""
        import torch

        from .model import build_line

        torch.set_num_threads(1)  # as a run does
        recipe = self.recipe
        task, corpus = recipe.task.build(), recipe.corpus.build()
        labels = tuple(corpus.labels)
        line = build_line(recipe, len(labels))
        weights = sum(weight.numel() for weight in line.parameters() if weight.requires_grad)
        self.show(f"Recipe   {recipe.source}: {type(task).__name__}, {len(labels)} labels: {', '.join(labels)}")
        self.show(
            f"Model    frames of {line.grid.hop_seconds:g} s: glance {line.glance.size} numbers, features "
            f"{line.featurizer.size}; {weights:,} weights to train"
        )
        facts, stages = self.data(corpus, labels, line)
        self.show(
            f"Machine  {platform.system()}, {os.cpu_count()} cores, torch {torch.__version__}, device {self.device}"
        )
        if facts is not None and self.measures:
            from .check_cost import cost_of

            cost = cost_of(recipe, line, facts, self.cache, self.device, stages=stages, report=self.report)
            self.tell(cost.lines, cost.errors, cost.warnings)
        return self.end()

    def data(self, corpus: Any, labels: Sequence[str], line: Any) -> tuple[Any, bool]:
        """Facts of the data (None: not known yet), and whether the corpus writes recordings of its own."""
        from .check_data import planned_facts, recorded_facts, unusable_warnings
        from .job import stage_corpus

        options = self.recipe.evaluate
        if getattr(corpus, "must_fetch", False):
            self.show("Data     is fetched at the first run; check again after it")
            return None, False
        stages = hasattr(corpus, "hours")
        if stages:
            facts = planned_facts(corpus.hours, options)
        else:
            try:
                self.cache.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"--cache {self.cache}: {error.strerror}; choose another folder") from error
            recordings = stage_corpus(self.recipe, corpus, self.cache, self.report)
            facts = recorded_facts(recordings, labels, line, options, self.report)
        self.tell(facts.lines, facts.errors, [*facts.warnings, *unusable_warnings(corpus)])
        return facts, stages

    def tell(self, lines: Sequence[str], errors: Sequence[str], warnings: Sequence[str]) -> None:
        """Print facts, then what is wrong."""
        for text in lines:
            self.show(text)
        for text in warnings:
            self.show(f"warning: {text}")
        for text in errors:
            print(f"error: {one_line(text)}", file=sys.stderr)
        self.num_errors += len(errors)
        self.num_warnings += len(warnings)

    def end(self) -> int:
        """The last line, and the exit code."""
        if self.num_errors:
            self.show(f"{self.num_errors} error{'' if self.num_errors == 1 else 's'}: a run would fail")
            return EXIT_USAGE
        warned = f", with {self.num_warnings} warning{'' if self.num_warnings == 1 else 's'}"
        warned = warned if self.num_warnings else ""
        self.show(f"A run can begin{warned}: python -m pipelines.run {self.recipe.source}")
        return EXIT_OK

    def show(self, text: str) -> None:
        print(one_line(text), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = _Options(prog=PROGRAM, description=__doc__, add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("recipe", nargs="?", metavar="RECIPE", help="a YAML file; recipes/kws.yaml is one")
    add("--cache", metavar="DIR", help=f"where corpora and features are kept; default: {default_cache()}")
    add("--device", default="auto", metavar="auto|cpu|cuda[:N]", help="where training would compute; default: auto")
    add("--no-time", action="store_true", help="do not measure what a run takes")
    add("--quiet", action="store_true", help="show no bars")
    add("-h", "--help", action="store_true", help="show this")
    return parser


if __name__ == "__main__":
    leave(main())
