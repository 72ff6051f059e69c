"""What a learned switch is worth for actions in video, beside its dense twin and simpler ways to skip, over seeds.

python -m benchmarks.action_skipping --seeds 0 1 2 --output DIR --cache DIR

The learned switch and a dense twin (the same recipe, trained open, run in one featurizer pass per block) are trained
for each seed; the learned model is also run with everything open. The rivals get its encoder and head and, on
validation recordings, its share of open frames: uniform stride, random skipping, a threshold on the difference of
thumbnails (which decodes every picture to see it), and key frames only. Each has thresholds of its own. Times are from
file to events with decoding, one thread, medians of --runs walks. What is done is kept in DIR, system by system: a run
that was stopped is gone on with. Keys of the recipe are options, as in pipelines.run.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.paired import Draws, pooled_change, pooled_interval
from benchmarks.report import machine_line, table, write_results
from benchmarks.speed import CLOCKS
from benchmarks.video_rivals import DIFFERENCE, KEYS, RANDOM, STRIDE, Walked, floor_seconds, rival, walked, with_gate
from pipelines.console import Progress
from pipelines.errors import UsageError, UserError
from pipelines.evaluate import tune
from pipelines.events import Recording
from pipelines.features import load_frames
from pipelines.job import cached_frames, fit_statistics, stage_corpus
from pipelines.line import Line
from pipelines.model import Model, build_line, load
from pipelines.overrides import split_overrides
from pipelines.recipe import Recipe, changed_keys, load_recipe
from pipelines.runfolder import write_atomic
from pipelines.train import train_line
from surnn import Open

DENSE, LEARNED, OPENED, FLOOR = "dense twin", "learned switch", "... everything open", "packets and glance"
SYSTEMS = (DENSE, LEARNED, OPENED, STRIDE, RANDOM, DIFFERENCE, KEYS)


class Stage(NamedTuple):
    """What every system of every seed is measured on, and how."""

    recipe: Recipe
    dense_recipe: Recipe
    recordings: Sequence[Recording]
    labels: tuple[str, ...]
    cache: Path
    progress: Progress
    num_runs: int
    clock: Callable[[], float]

    def of(self, split: str) -> list[Recording]:
        """Long recordings of a split; clips too, to train on."""
        return [each for each in self.recordings if each.split == split and (split == "train" or not each.clip_labels)]


def trained(stage: Stage, recipe: Recipe, folder: Path, *, seed: int) -> Line:
    """A line trained and tuned, or what an earlier run left in `folder`/model.

    Raises:
        UsageError: if that was trained with another recipe.
    """
    bundle = folder / "model"
    if (bundle / "card.md").is_file():
        model = load(bundle)
        changed = [key for key in changed_keys(recipe, model.recipe) if not key.startswith("evaluate")]
        if changed:
            raise UsageError(f"{bundle} was trained with another {', '.join(changed)}; choose another --output")
        return model.line
    torch.manual_seed(seed)
    line, task = build_line(recipe, len(stage.labels)), recipe.task.build()
    splits = [stage.of(split) for split in ("train", "validation")]
    train, validation = (
        load_frames(members, paths, recipe, task, stage.labels)
        for members, paths in cached_frames(splits, recipe, stage.cache, stage.progress)
    )
    fit_statistics(line, train)
    train_line(
        line, train, recipe.train, folder=folder / "checkpoints", seed=seed, device="cpu", progress=stage.progress
    )
    tuning = tune(line, validation, splits[1], stage.labels, recipe.evaluate, task)
    Model(recipe, line, stage.labels, tuning.decisions, card="Trained by benchmarks.action_skipping.\n").save(bundle)
    return line


def kept(path: Path, work: Callable[[], Mapping[str, Any]]) -> Any:
    """What an earlier run left at a path; else it is worked out, and kept."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(work()) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))


def system(name: str, stage: Stage, folder: Path, seed: int) -> Line:
    """One way to skip, ready to be walked."""
    if name == DENSE:
        return trained(stage, stage.dense_recipe, folder / "dense", seed=seed)
    learned = trained(stage, stage.recipe, folder / "learned", seed=seed)
    if name == OPENED:
        return with_gate(learned, learned.glance, Open(learned.glance.size))
    return learned if name == LEARNED else rival(name, learned, stage.of("validation"))


def of_seed(stage: Stage, output: Path, seed: int, names: Sequence[str]) -> dict[str, dict[str, Walked]]:
    """The systems of one seed per kind of recording, each kept when it is done."""
    folder, answers = output / f"seed-{seed}", {}
    for name in names:
        stage.progress.say(f"Seed {seed}: {name}")

        def work(name: str = name) -> dict[str, Any]:
            torch.set_num_threads(1)
            line, task = system(name, stage, folder, seed), stage.recipe.task.build()
            given = stage.of("validation"), stage.of("test"), stage.labels, task, stage.recipe.evaluate
            return {
                kind: each._asdict()
                for kind, each in walked(line, *given, num_runs=stage.num_runs, clock=stage.clock).items()
            }

        told = kept(folder / f"{name.replace(' ', '-')}.json", work)
        answers[name] = {kind: _walked_of(values) for kind, values in told.items()}
    return answers


def floor_of(stage: Stage, output: Path, seed: int) -> dict[str, float]:
    """Seconds of packets and glance, per kind."""

    def work() -> dict[str, float]:
        return floor_seconds(
            system(LEARNED, stage, output / f"seed-{seed}", seed), stage.of("test"), num_runs=3, clock=stage.clock
        )

    return dict(kept(output / f"seed-{seed}" / "floor.json", work))


def _walked_of(values: Mapping[str, Any]) -> Walked:
    value, resampled, units = values["average_precision"]
    return Walked(**{**values, "average_precision": Draws(value, tuple(resampled), tuple(units))})


def rows_of(
    seeds: Sequence[Mapping[str, dict[str, Walked]]], floors: Sequence[Mapping[str, float]], kind: str
) -> list[list[str]]:
    """One row per system: means over seeds, mAP beside the dense twin's (or the open model's) on the same resamples."""

    def mean(name: str, key: str) -> float:
        return float(sum(getattr(seed[name][kind], key) for seed in seeds)) / len(seeds)

    def draws(name: str) -> list[Draws]:
        return [seed[name][kind].average_precision for seed in seeds]

    media, reference = mean(next(iter(seeds[0])), "media_seconds"), DENSE if DENSE in seeds[0] else OPENED
    least = sum(floor[kind] for floor in floors) / len(floors)
    rows = []
    for name in seeds[0]:
        precision, change, faster = pooled_interval(draws(name)), ["", ""], ""
        taken = mean(name, "seconds")
        if reference in seeds[0]:
            faster = f"{mean(reference, 'seconds') / taken:.2f}"
        if reference in seeds[0] and name != reference:
            against = pooled_change(draws(name), draws(reference))
            change = [f"{against.estimate:+.0%}", f"{against.low:+.0%} to {against.high:+.0%}"]
        rows.append(
            [
                name,
                f"{precision.estimate:.3f}",
                *change,
                f"{mean(name, 'recall'):.0%}",
                f"{mean(name, 'false_alarms_per_hour'):.0f}",
                *(f"{mean(name, key):.1%}" for key in ("decoded", "featurized", "encoded")),
                f"{media / taken:.0f}",
                faster,
            ]
        )
    return [*rows, [FLOOR, *[""] * 5, "0.0%", "0.0%", "0.0%", f"{media / least:.0f}", ""]]


HEAD = ("", "mAP", "of dense", "95 %", "recall", "false/h", "decoded", "featurized", "encoded", "x real", "x dense")


def compare(options: argparse.Namespace, given: list[tuple[str, str]]) -> None:
    """Everything that is missing is worked out; then the table is printed and results.json written."""
    progress = Progress()
    recipe = load_recipe(options.recipe, given)
    dense_recipe = load_recipe(options.recipe, [*given, ("switch", "surnn.Open")])
    corpus = recipe.corpus.build()
    recordings = stage_corpus(recipe, corpus, options.cache, progress)
    stage = Stage(
        recipe, dense_recipe, recordings, corpus.labels, options.cache, progress, options.runs, CLOCKS[options.clock]
    )
    seeds = [of_seed(stage, options.output, seed, options.systems) for seed in options.seeds]
    floors = [floor_of(stage, options.output, seed) for seed in options.seeds]
    print(f"{len(seeds)} seed(s) {options.seeds}; {machine_line()}")
    for kind in seeds[0][options.systems[0]]:
        print(f"\n{kind or 'all long recordings'}\n{table(HEAD, rows_of(seeds, floors, kind))}")
    answers = {
        str(seed): {name: {kind: _plain(each) for kind, each in kinds.items()} for name, kinds in found.items()}
        for seed, found in zip(options.seeds, seeds, strict=True)
    }
    write_results(options.output, {"seeds": answers, "floor_seconds": floors})


def _plain(each: Walked) -> dict[str, Any]:
    return {**each._asdict(), "average_precision": each.average_precision.value}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="recipes/actions.yaml", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="default: all")
    parser.add_argument("--runs", type=int, default=3, help="walks of each recording (default: %(default)s)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: of this process, on a busy machine")
    parser.add_argument("--output", type=Path, required=True, help="what is trained and measured is kept here")
    parser.add_argument("--cache", type=Path, required=True, help="corpora and frames are kept here")
    try:
        own, given = split_overrides(sys.argv[1:] if argv is None else argv, parser)
        compare(parser.parse_args(own), given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
