"""Prepare a corpus, train, evaluate and save a model, all from one recipe: python -m pipelines.run recipes/kws.yaml"""

import argparse
import os
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from . import runfolder
from .console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Progress,
    choose_device,
    leave,
    seconds_text,
    stop_on_signals,
)
from .errors import UsageError, UserError
from .overrides import split_overrides

if TYPE_CHECKING:  # imported late, because it brings torch: Ctrl-C and a mistyped option are answered before that
    from .recipe import Sectioned

PROGRAM = "python -m pipelines.run"
EXAMPLES = f"""\
examples:
  {PROGRAM} recipes/kws.yaml
  {PROGRAM} recipes/kws.yaml --corpus.init_args.words '[red, green, blue]'
  {PROGRAM} recipes/kws.yaml --switch surnn.Open --train.max_epochs 5 --output runs/open
  {PROGRAM} recipes/kws.yaml --output runs/open --resume
  {PROGRAM} recipes/kws.yaml --print_config > my.yaml
  {PROGRAM} recipes/kws.yaml --help      (explains the arguments of the recipe's classes, too)
  {PROGRAM} recipes/research/selective_copy.yaml --model pipelines.research.MinGRU

exit codes: 0 done, 1 failed, 2 wrong usage or recipe, 130 interrupted

Any key of the recipe is an option; values are YAML. A class path for a section replaces its class and arguments.
"""


class _Options(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {PROGRAM} --help explains")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 done, 1 failed, 2 usage or recipe, 130 interrupted)."""
    session = _Session()
    with stop_on_signals(session.farewell) as stop:
        try:
            session.run(list(sys.argv[1:] if argv is None else argv))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except (KeyboardInterrupt, SystemExit, Exception) as error:
            if (
                stop.is_requested
            ):  # whatever it has become on the way up: Lightning turns Ctrl-C into an exit of its own
                print(session.farewell(), file=sys.stderr)
                return EXIT_INTERRUPTED
            if not isinstance(error, Exception):
                raise
            session.explain_failure(error)
            return EXIT_FAILED
    return EXIT_OK


class _Session:
    """One call of the command, and what its last words must know."""

    def __init__(self) -> None:
        self.resume_command = ""
        self.folders: list[Path] = []

    def run(self, arguments: list[str]) -> None:
        """Show help or the complete recipe, or do the work."""
        own, overrides = split_overrides(arguments, _parser())
        options = _parser().parse_args(own)
        if options.recipe is None and not options.help:
            raise UsageError("name a recipe, such as recipes/kws.yaml; --help explains")
        from .recipe import explain, recipe_text
        from .research.recipe import load_any_recipe

        recipe = load_any_recipe(options.recipe, overrides) if options.recipe else None
        if options.help:
            _show(f"{_parser().format_help()}\nkeys of a recipe:\n{explain(recipe)}\n\n{EXAMPLES}")
        elif recipe is not None and options.print_config:
            _show(recipe_text(recipe))
        elif recipe is not None:
            self.work(options, overrides, recipe)

    def work(self, options: argparse.Namespace, overrides: list[tuple[str, str]], recipe: "Sectioned") -> None:
        """Run the recipe's job in its folder."""
        begun = time.monotonic()
        device = choose_device(options.device)
        if options.resume and options.output is None:
            raise UsageError("--resume needs to know the run folder: --output runs/NAME")
        cache = Path(options.cache or default_cache())
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(runfolder.disk_message(error, cache)) from error
        from .research.recipe import job_of

        run_job = job_of(recipe)
        output = (
            Path(options.output) if options.output else runfolder.new_folder(Path("runs"), Path(options.recipe).stem)
        )
        report = Progress(quiet=options.quiet)
        with runfolder.open_folder(output, resume=options.resume, overwrite=options.overwrite) as folder:
            seed = _begin(folder, recipe, options.seed, device)
            self.folders = [folder, cache]
            self.resume_command = _resume_command(options, overrides, folder)
            report.say(f"Run folder {folder}, device {device}, seed {seed}, cache {cache}")
            run_job(recipe, run_folder=folder, cache=cache, seed=seed, device=device, report=report)
        report.say(f"Done in {seconds_text(time.monotonic() - begun)}: {output}")

    def farewell(self) -> str:
        """What to say when interrupted."""
        if not self.resume_command:
            return "\nInterrupted before the run began."
        return f"\nInterrupted. Continue with:\n  {self.resume_command}"

    def explain_failure(self, error: Exception) -> None:
        """Say why the run ended; a traceback only if it is a fault in the code."""
        if trouble := runfolder.disk_trouble(error, self.folders):
            print(f"error: {trouble}", file=sys.stderr)
        else:
            traceback.print_exception(error)
            print("error: a fault in the program, or in a class that the recipe names", file=sys.stderr)
        if self.resume_command:
            print(f"What was finished is kept. Continue with:\n  {self.resume_command}", file=sys.stderr)


def default_cache() -> Path:
    """Where corpora and features are kept between runs: surnn-pipelines in the platform's cache folder."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "surnn-pipelines"


def _parser() -> argparse.ArgumentParser:
    parser = _Options(prog=PROGRAM, description=__doc__, add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("recipe", nargs="?", metavar="RECIPE", help="a YAML file; recipes/kws.yaml is one")
    add("--output", metavar="DIR", help="run folder; default: a new one, runs/NAME or runs/NAME-2, ...")
    add("--cache", metavar="DIR", help=f"where corpora and features are kept between runs; default: {default_cache()}")
    add("--seed", type=int, help="start of all random numbers; default: 0, or the run's own with --resume")
    add(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda[:N]",
        help="where to compute; default: auto, a GPU if there is one",
    )
    held = parser.add_mutually_exclusive_group()
    held.add_argument("--resume", action="store_true", help="continue the run in --output")
    held.add_argument("--overwrite", action="store_true", help="delete the run in --output and begin again")
    add(
        "--print_config",
        action="store_true",
        help="print the complete recipe, every key explained, and stop",
    )
    add("--quiet", action="store_true", help="show errors only")
    add("-h", "--help", action="store_true", help="show this; after a RECIPE, explain its classes, too")
    return parser


def _begin(folder: Path, recipe: "Sectioned", seed: int | None, device: str) -> int:
    """Note what the run is, or check that a run to be continued is the same one; returns its seed."""
    from .recipe import changed_keys, save_recipe
    from .research.recipe import load_any_recipe

    saved = folder / "recipe.yaml"
    if not runfolder.is_run_folder(folder):
        runfolder.write_state(folder, {"seed": seed or 0, "device": device})
    elif saved.exists() and (changed := changed_keys(recipe, load_any_recipe(saved))):
        raise UsageError(
            f"{folder}: the recipe has changed since this run began ({', '.join(changed)}); "
            f"continue with {saved}, or begin a new run without --resume"
        )
    began_with: int = runfolder.read_state(folder)["seed"]
    if seed is not None and seed != began_with:
        raise UsageError(f"--seed {seed}: this run began with seed {began_with}; leave --seed out, or begin a new run")
    save_recipe(recipe, saved)
    return began_with


def _resume_command(options: argparse.Namespace, overrides: list[tuple[str, str]], folder: Path) -> str:
    words = [options.recipe]
    for key, text in overrides:
        words += [f"--{key}", text]
    words += ["--output", str(folder)]
    for name in ("cache", "device"):
        if getattr(options, name) != _parser().get_default(name):
            words += [f"--{name}", getattr(options, name)]
    return f"{PROGRAM} {shlex.join([*words, '--resume'])}"


def _show(text: str) -> None:
    """Print to standard output; a reader that stops early (`| head`) is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    leave(main())
