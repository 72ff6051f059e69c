"""What a learned switch is worth, beside its dense twin and simpler ways to skip frames, over several seeds.

python -m benchmarks.skipping --recipe recipes/kws.yaml --seeds 0 1 2 --hours 10 --output DIR --cache DIR
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.paired import pooled_change, pooled_interval, seed_values
from benchmarks.report import machine_line, table, write_results
from benchmarks.systems import (
    DENSE,
    ENERGY,
    ENERGY_EQUAL,
    KIND,
    LEARNED,
    RANDOM,
    RECALL_AT_1,
    STRIDE,
    SYSTEMS,
    Score,
    energy_at_equal_share,
    first_of_each_kind,
    prepare,
    score,
    systems_of,
    timed_work,
)
from pipelines.console import Progress, choose_device
from pipelines.errors import UsageError, UserError
from pipelines.metrics import Interval, ScoreSheet
from pipelines.recipe import Recipe, load_recipe
from surnn import EventGate

LARGEST_LOSS, LEAST_HOURS, LEAST_WORDS = 0.02, 10.0, 5000


class Row(NamedTuple):
    """One system, all seeds together.

    Args:
        frames_open: mean over seeds, per kind.
        recall: at 1 false alarm per hour and keyword on talkative streams, mean over seeds.
        change: of the recall, relative to the dense twin.
        recall_of_seeds: one by one.
        work: times and saved share, of the first seed.
    """

    frames_open: dict[str, float]
    recall: Interval
    change: Interval
    recall_of_seeds: list[float]
    work: dict[str, float]


def row_of(name: str, scores: Mapping[str, Sequence[Score]], work: dict[str, float]) -> Row:
    """Pool the seeds of one system."""
    sheets = {key: [score.sheets[KIND] for score in of_seeds] for key, of_seeds in scores.items()}
    kinds = scores[name][0].frames_open
    return Row(
        {kind: sum(score.frames_open[kind] for score in scores[name]) / len(scores[name]) for kind in kinds},
        pooled_interval(sheets[name], RECALL_AT_1),
        pooled_change(sheets[name], sheets[DENSE], RECALL_AT_1),
        seed_values(sheets[name], RECALL_AT_1),
        work,
    )


def rows_table(rows: Mapping[str, Row], kinds: Sequence[str]) -> str:
    """The one table; two numbers in a cell are of the kinds named in the head."""
    both = "/".join(kinds)
    head = ["", f"open {both}", "recall at 1 per hour", "change against dense", f"x real time {both}"]
    head += [f"saved share {both}"]
    lines = []
    for name, row in rows.items():
        saved = "/".join("-" if name == DENSE else f"{row.work[f'{kind}_saved_share']:.2f}" for kind in kinds)
        low, high = row.change.low, row.change.high
        lines.append(
            [
                name,
                "/".join(f"{row.frames_open[kind]:.1%}" for kind in kinds),
                f"{row.recall.estimate:.1%} ({row.recall.low:.1%} to {row.recall.high:.1%})",
                "-" if name == DENSE else f"{row.change.estimate:+.1%} ({low:+.1%} to {high:+.1%})",
                "/".join(f"{row.work[f'{kind}_times_real_time']:.0f}" for kind in kinds),
                saved,
            ]
        )
    return table(head, lines)


def verdicts(rows: Mapping[str, Row], leads: Mapping[str, Interval], sheet: ScoreSheet) -> list[str]:
    """What the table shows, each claim with its bound.

    Args:
        leads: relative lead of the learned switch over each rival.
        sheet: of one system; says how much was tested.
    """
    hours, words = float(sheet.hours.sum()), int(sheet.num_events.sum())
    size = "enough" if hours > LEAST_HOURS - 1e-6 and words >= LEAST_WORDS else "TOO LITTLE for a claim"
    loss = -rows[LEARNED].change.low
    lines = [
        f"tested on {hours:.1f} hours with {words} words (at least {LEAST_HOURS:g} and {LEAST_WORDS}): {size}",
        f"loss against the dense twin: at most {loss:.1%} (bound {LARGEST_LOSS:.0%}): "
        f"{'met' if loss <= LARGEST_LOSS else 'NOT met'}",
    ]
    for name, lead in leads.items():
        lines.append(
            f"lead over {name.replace('...', ENERGY)}: {lead.estimate:+.1%} ({lead.low:+.1%} to {lead.high:+.1%}): "
            f"{'beaten' if lead.low > 0 else 'NOT beaten'}"
        )
    of_seeds = ", ".join(f"{name} {' '.join(f'{r:.1%}' for r in row.recall_of_seeds)}" for name, row in rows.items())
    return [*lines, f"recall seed by seed: {of_seeds}"]


def overrides_of(words: Sequence[str]) -> list[tuple[str, str]]:
    """(dotted key, YAML text) from `--train.max_epochs 2` and the like.

    Raises:
        UsageError: if a key or a value is missing.
    """
    keys, values = words[::2], words[1::2]
    if len(keys) != len(values) or not all(key.startswith("--") for key in keys):
        raise UsageError(f"{' '.join(words)}: keys of the recipe are given as --section.key VALUE")
    return [(key.removeprefix("--"), value) for key, value in zip(keys, values, strict=True)]


def recipes_of(path: str, given: Sequence[tuple[str, str]], hours: Mapping[str, float]) -> dict[str, Recipe]:
    """The recipe of the learned switch, of its dense twin, and one whose corpus holds the test streams alone.

    A corpus of its own for the test leaves the training streams, and their cached frames, as pipelines.run has them.
    """
    tested = "{" + ", ".join(f"{kind}: {number}" for kind, number in hours.items()) + "}"
    corpus = [("corpus.init_args.train_hours", "{}"), ("corpus.init_args.validation_hours", "{}")]
    recipes = {
        LEARNED: load_recipe(path, given),
        DENSE: load_recipe(path, [*given, ("switch", "surnn.Open")]),
        "test": load_recipe(path, [*given, *corpus, ("corpus.init_args.test_hours", tested)]),
    }
    if recipes[LEARNED].switch.load() is not EventGate:
        raise UsageError(f"{path}: switch is {recipes[LEARNED].switch.class_path}; this compares a surnn.EventGate")
    return recipes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--recipe", default="recipes/kws.yaml", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--hours", type=float, default=10.0, help="talkative test streams (default: %(default)g)")
    parser.add_argument("--quiet-hours", type=float, default=2.0, help="quiet test streams (default: %(default)g)")
    parser.add_argument("--timed", type=int, default=4, help="files of each kind to time (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets models and results.json")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR", help="as in pipelines.run")
    parser.add_argument("--device", default="auto", help="to train on, as in pipelines.run")
    options, others = parser.parse_known_args(argv)
    try:
        compare(options, overrides_of(others), Progress())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def compare(options: argparse.Namespace, given: Sequence[tuple[str, str]], report: Progress) -> dict[str, Any]:
    """Train, test, time; print the table and write results.json."""
    device = choose_device(options.device)
    recipes = recipes_of(options.recipe, given, {"quiet": options.quiet_hours, KIND: options.hours})
    options.cache.mkdir(parents=True, exist_ok=True)
    material = prepare(recipes[LEARNED], recipes["test"], options.cache, report)
    torch.set_num_threads(1)
    scores: dict[str, list[Score]] = {name: [] for name in SYSTEMS}
    work: dict[str, dict[str, float]] = {}
    energy: list[str] = []
    for seed in options.seeds:
        systems = systems_of(recipes, material, options.output, seed=seed, device=device, report=report)
        for name in report.track(SYSTEMS, f"testing seed {seed}", unit="systems"):
            if name == ENERGY_EQUAL:
                share = scores[LEARNED][-1].frames_open[KIND]
                systems[name] = energy_at_equal_share(systems[ENERGY], material, share)
            scores[name].append(score(systems[name], material))
        energy.append(str(systems[ENERGY].line.gate))
        if not work:
            chosen = list(first_of_each_kind(material.test, options.timed))
            for name in report.track(SYSTEMS, "timing", unit="systems"):
                work[name] = timed_work(systems[name], chosen, material.labels, recipes[LEARNED].task.build())
    rows = {name: row_of(name, scores, work[name]) for name in SYSTEMS}
    sheets = {name: [score.sheets[KIND] for score in scores[name]] for name in SYSTEMS}
    leads = {
        name: pooled_change(sheets[LEARNED], sheets[name], RECALL_AT_1)
        for name in (STRIDE, RANDOM, ENERGY, ENERGY_EQUAL)
    }
    print(f"seeds {options.seeds}; {machine_line()}; times are of seed {options.seeds[0]}, from file to events")
    print(rows_table(rows, ["quiet", KIND]))
    print("\n".join(verdicts(rows, leads, sheets[DENSE][0])))
    results = {
        "seeds": options.seeds,
        "hours": float(sheets[DENSE][0].hours.sum()),
        "num_events": float(sheets[DENSE][0].num_events.sum()),
        "systems": rows,
        "leads_of_the_learned_switch": leads,
        "energy_gates": energy,
        "recipe": recipes[LEARNED].as_dict(),
    }
    print(f"written: {write_results(options.output, results)}")
    return results


if __name__ == "__main__":
    sys.exit(main())
