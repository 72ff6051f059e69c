"""What selective updates are worth, measured: memory over length against dense rivals and a Transformer, and why.

python -m benchmarks.method --output results/method            (hours on one core; go on with the same command)
python -m benchmarks.method --quick --output results/quick     (minutes: few steps, one seed; only shows that it works)
"""

import argparse
import contextlib
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from pipelines.console import Progress
from pipelines.errors import UsageError
from pipelines.research import SelectiveCopy
from pipelines.research.model import num_parameters
from pipelines.runfolder import held_alone

from .method_cells import (
    ABLATIONS,
    LEARNING_RATES,
    MODELS,
    MODELS_AND_MORE,
    TASKS,
    Cell,
    Plan,
    core_cells,
    mean_and_spread,
    result_of,
    trained,
)
from .method_pictures import draw_costs, draw_gradients, draw_lengths, draw_rates
from .method_probes import (
    DISTANCES,
    HELD_FRAMES,
    costs_over_length,
    encoders_of_equal_size,
    gradients_over_distance,
    hold_by_learning,
    hold_exactly,
    rates_of_neurons,
    stream,
)
from .report import machine_line, table, write_results

PARTS = ("core", "memory", "costs", "ablations")


def main(argv: Sequence[str] | None = None) -> int:
    """Do the parts that are asked for, or show what has been done of them; returns the exit code."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(1)
    plan = Plan(Path(options.output), 25 if options.quick else 1, Progress(quiet=True), options.learning_rates)
    ends = time.monotonic() + 60 * options.minutes
    seeds = range(1 if options.quick else options.seeds)
    for part in options.parts:
        _DO[part](options, plan, seeds, ends)
    print(machine_line())
    return 0


def _core(options: argparse.Namespace, plan: Plan, seeds: range, ends: float) -> None:
    cells = core_cells(options.tasks, {name: MODELS_AND_MORE[name] for name in options.models}, seeds)
    results = _done(cells, plan, ends)
    for task in options.tasks:
        _show(task, [result for result in results if result["task"] == task], list(TASKS[task].longer))
    write_results(plan.output / "core", {"cells": results})
    if results:
        draw_lengths(plan.output / "method_length.png", results)


def _memory(options: argparse.Namespace, plan: Plan, seeds: range, ends: float) -> None:
    """Gradients and held states of what was trained on copy, exactness, rates of neurons."""
    del seeds, ends
    found: dict[str, Any] = {"held": {}, "gradients": {}, "rates": {}}
    shrink = 100 if options.quick else 1
    for kind in ("rnn", "gru", "lstm"):
        found["held"][f"su{kind.upper()}, closed frames"] = hold_exactly(kind, HELD_FRAMES // shrink)._asdict()
    for name in options.models:
        cell = Cell("copy", name, MODELS_AND_MORE[name], 0)
        if not (plan.output / "cells" / cell.folder_name / "result.json").exists():
            continue
        problem, model = trained(cell, plan)
        assert isinstance(problem, SelectiveCopy)
        distances = [distance for distance in DISTANCES if distance <= max(DISTANCES) // min(shrink, 16)]
        rows = [row._asdict() for row in gradients_over_distance(model, problem, distances)]
        found["gradients"][name] = rows
        if model.encoder.is_causal:
            found["held"][f"{name}, blanks"] = hold_by_learning(model, problem, 20_000 // shrink)._asdict()
    for cell in [
        *(Cell(task, "suGRU, rhythm", MODELS["suGRU, rhythm"], 0) for task in TASKS),
        Cell("copy", "ablation frame and neuron switch", ABLATIONS["frame and neuron switch"], 0),
    ]:
        if (plan.output / "cells" / cell.folder_name / "result.json").exists():
            problem, model = trained(cell, plan)
            found["rates"][f"{cell.name.removeprefix('ablation ')}: {cell.task}"] = rates_of_neurons(
                model, problem
            ).tolist()
    rows_held = [
        [name, f"{row['num_frames']:,}", "yes" if row["is_equal"] else "no", f"{row['relative_change']:.2g}"]
        for name, row in found["held"].items()
    ]
    print(table(["state after", "frames", "equal to the bit", "relative change"], rows_held), end="\n\n")
    rows_gradient = [
        [
            name,
            str(row["distance"]),
            f"{row['num_open_between']:.1f}",
            f"{row['at_event']:.2g}",
            f"{row['at_blank']:.2g}",
        ]
        for name, rows in found["gradients"].items()
        for row in rows
    ]
    print(table(["gradient", "distance", "steps between", "at the event", "at a blank"], rows_gradient), end="\n\n")
    write_results(plan.output / "memory", found)
    draw_gradients(plan.output / "method_gradients.png", found["gradients"])
    draw_rates(plan.output / "method_timescales.png", found["rates"])


def _costs(options: argparse.Namespace, plan: Plan, seeds: range, ends: float) -> None:
    """Time and memory over length, and of a stream that goes on."""
    del seeds, ends
    lengths = (256, 512) if options.quick else (256, 512, 1024, 2048, 4096, 8192)
    moments = (256, 1024) if options.quick else (256, 4096, 16_384, 65_536)
    encoders = encoders_of_equal_size()
    costs = {name: [row._asdict() for row in costs_over_length(encoder, lengths)] for name, encoder in encoders.items()}
    rows = [
        [
            name,
            f"{row['num_frames']:,}",
            f"{1000 * row['training_seconds']:.1f}",
            f"{row['kept_bytes'] / 1e6:.2f}",
            f"{1000 * row['inference_seconds']:.1f}",
        ]
        for name, found in costs.items()
        for row in found
    ]
    print(table(["costs", "frames", "training step ms", "kept MB", "forward ms"], rows), end="\n\n")
    streams = {}
    for name, encoder in encoders.items():
        within = [moment for moment in moments if name != "Transformer" or moment <= 16_384]
        streams[name] = [row._asdict() for row in stream(encoder, within)]
    rows = [
        [name, f"{row['num_frames']:,}", f"{row['state_bytes']:,}", f"{1000 * row['block_seconds']:.2f}"]
        for name, found in streams.items()
        for row in found
    ]
    print(table(["stream", "frames so far", "state bytes", "ms per 256 frames"], rows), end="\n\n")
    parameters = {name: num_parameters(encoder) for name, encoder in encoders.items()}
    write_results(plan.output / "costs", {"parameters": parameters, "costs": costs, "streams": streams})
    draw_costs(plan.output / "method_costs.png", costs)


def _ablations(options: argparse.Namespace, plan: Plan, seeds: range, ends: float) -> None:
    cells = [
        Cell(task, f"ablation {name}", overrides, seed, "suGRU, event")
        for seed in seeds
        for task in options.tasks
        if task == "copy"
        for name, overrides in ABLATIONS.items()
    ]
    results = _done(cells, plan, ends)
    _show("ablations of suGRU, event, on copy", results, list(TASKS["copy"].longer))
    write_results(plan.output / "ablations", {"cells": results})


def _done(cells: Sequence[Cell], plan: Plan, ends: float) -> list[dict[str, Any]]:
    """Figures of the cells that are done when the time has come; cells that were done before cost nothing.

    Several processes may share the work: each passes over the cells that another one holds.
    """
    results = []
    for cell in cells:
        folder = plan.output / "cells" / cell.folder_name
        if time.monotonic() > ends and not (folder / "result.json").exists():
            continue
        begun = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(held_alone(folder, "--output"))
            except UsageError:
                continue  # another process is at it
            results.append(result_of(cell, plan))
        if (seconds := time.monotonic() - begun) > 0.5:
            print(
                f"{cell.task}, {cell.name}, seed {cell.seed}: {results[-1]['accuracy']:.1%} in {seconds:.0f} s",
                flush=True,
            )
    if len(results) < len(cells):
        print(f"{len(results)} of {len(cells)} cells are done; the same command goes on")
    return results


def _show(title: str, results: Sequence[dict[str, Any]], lengths: Sequence[str]) -> None:
    by_model: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_model[result["model"]].append(result)
    rows = []
    for name, found in by_model.items():
        right = [mean_and_spread([each["lengths"][length]["accuracy"] for each in found]) for length in lengths]
        is_open = mean_and_spread([each["frames_open"] for each in found])
        update = mean_and_spread([each["updates"] for each in found])
        seconds = sum(each["training_seconds"] for each in found) / len(found)
        size = f"{found[0]['parameters']:.0f}"
        rows.append([name.removeprefix("ablation "), *right, is_open, update, size, f"{seconds:.0f}", str(len(found))])
    head = [title, *lengths, "open %", "updated %", "parameters", "seconds", "seeds"]
    print(table(head, rows) if rows else f"{title}: nothing done yet", end="\n\n")


_DO: dict[str, Callable[[argparse.Namespace, Plan, range, float], None]] = {
    "core": _core,
    "memory": _memory,
    "costs": _costs,
    "ablations": _ablations,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.method", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--output",
        default="results/method",
        metavar="DIR",
        help="where cells are kept; what is there is not done again",
    )
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to do; default: all")
    add("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="tasks of the core; default: all")
    add("--models", nargs="+", choices=MODELS_AND_MORE, default=list(MODELS), metavar="NAME", help="default: the seven")
    add("--seeds", type=int, default=3, help="trainings of each model and task; default: 3")
    add(
        "--learning-rates",
        nargs="+",
        type=float,
        default=list(LEARNING_RATES),
        help="each model tries all; one: untuned",
    )
    add("--minutes", type=float, default=1e9, help="begin no training after so many minutes")
    add("--quick", action="store_true", help="a 25th of the steps, one seed: shows that it works, measures nothing")
    return parser


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
