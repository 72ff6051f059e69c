"""One training each: a task, a model, a seed. Whatever has ended is kept, and not done again."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

from pipelines.console import Progress
from pipelines.research.contract import Problem
from pipelines.research.job import build_model, run_job
from pipelines.research.model import SequenceModel
from pipelines.research.recipe import ResearchRecipe, load_research_recipe
from pipelines.research.train import test_model
from pipelines.runfolder import write_atomic

RECIPES = Path(__file__).resolve().parents[1] / "recipes" / "research"
Overrides = Sequence[tuple[str, str]]
LEARNING_RATES = (0.003, 0.01)
TUNING_SHARE = 4  # a tuning run has so many times fewer steps
TUNING_SEED = 100


class Task(NamedTuple):
    """A task of the core.

    Args:
        recipe: its file.
        overrides: that make it as small as the measurement affords.
        longer: by name, what makes it longer, in order; the first is what was trained on.
    """

    recipe: str
    overrides: Overrides
    longer: Mapping[str, Overrides]


def _copy_of(length: int) -> Overrides:
    return [("problem.init_args.length", str(length)), ("problem.init_args.num_test", "200")]


def _list_of(shortest: int, longest: int, depth: int, arguments: int) -> Overrides:
    sizes = {"min_length": shortest, "max_length": longest, "max_depth": depth, "max_arguments": arguments}
    sizes |= {"num_test": 500, "num_train": 10_000}
    return [(f"problem.init_args.{name}", str(value)) for name, value in sizes.items()]


TASKS = {
    "copy": Task(
        "selective_copy.yaml",
        [*_copy_of(100), ("train.max_epochs", "8"), ("train.steps_per_epoch", "60")],
        {str(length): _copy_of(length) for length in (100, 200, 400, 800)},
    ),
    "listops": Task(
        "listops.yaml",
        [*_list_of(10, 64, 4, 5), ("train.max_epochs", "8"), ("train.steps_per_epoch", "60")],
        {  # longer ones are deeper and wider, too: few of depth 4 are so long
            "10 to 64": _list_of(10, 64, 4, 5),
            "65 to 128": _list_of(65, 128, 6, 8),
            "129 to 256": _list_of(129, 256, 8, 10),
        },
    ),
    "digits": Task(
        "digits.yaml",
        [("train.max_epochs", "8"), ("train.steps_per_epoch", "80")],
        {f"64 + {delay}": [("problem.init_args.delay_frames", str(delay))] for delay in (0, 64, 192, 448)},
    ),
}
DENSE = "pipelines.research.DenseRecurrent"
MODELS: Mapping[str, Overrides] = {
    "suGRU, event": [],
    "suGRU, rhythm": [
        ("model.init_args.gate", "surnn.RhythmGate"),
        ("model.init_args.gate_args", "{}"),
        ("model.init_args.switches", "neurons"),
    ],
    "GRU": [("model", DENSE)],
    "LSTM": [("model", DENSE), ("model.init_args.cell", "lstm")],
    "Transformer": [("model", "pipelines.research.Transformer")],
    "Skip RNN": [("model", "pipelines.research.SkipRNN"), ("train.budget_weight", "0.01")],
    "minGRU": [("model", "pipelines.research.MinGRU")],
}
MORE_MODELS: Mapping[str, Overrides] = {
    "suRNN, event": [("model.init_args.cell", "rnn")],
    "suLSTM, event": [("model.init_args.cell", "lstm")],
}


def gate(**arguments: Any) -> Overrides:
    """Overrides that change arguments of the event gate."""
    return [(f"model.init_args.gate_args.{name}", json.dumps(value)) for name, value in arguments.items()]


def _altered(budget: float, **arguments: Any) -> Overrides:
    inner = {"frame_budget": budget, "channels": 16, "dilations": [], "initial_logit": 0.0}
    return [
        ("model.init_args.gate", "pipelines.research.Altered"),
        ("model.init_args.gate_args", json.dumps({"gate_args": inner, **arguments})),
    ]


ABLATIONS: Mapping[str, Overrides] = {
    "as it is": [],
    "slope 1/4 as sharp": _altered(0.05, sharpness=0.25),
    "slope 4 times as sharp": _altered(0.05, sharpness=4.0),
    "starts open (logit 2)": gate(initial_logit=2.0),
    "starts closed (logit -2)": gate(initial_logit=-2.0),
    "neuron switch alone": [("model.init_args.switches", "neurons"), *gate(neuron_budget=0.05)],
    "frame and neuron switch": [("model.init_args.switches", "both"), *gate(neuron_budget=0.5)],
    "both, one joint budget": [
        ("model.init_args.switches", "both"),
        *gate(neuron_budget=0.5),
        ("model.init_args.budget", "joint"),
    ],
    "one-sided budget": [("model.init_args.budget", "one-sided")],
    "no budget": [("train.budget_weight", "0.0")],
    "Gumbel noise": _altered(0.05, noise=1.0),
    "helping loss": [("train.help_weight", "1.0")],
    "confidence gradient": [("model.init_args.closed_frames", "confidence")],
    "soft switch": [("model.init_args.is_soft", "true")],
    "random frames": [
        ("model.init_args.gate", "surnn.RandomGate"),
        ("model.init_args.gate_args", "{rate: 0.08}"),
    ],
    "all frames": [("model.init_args.gate", "surnn.Open"), ("model.init_args.gate_args", "{}")],
}


class Cell(NamedTuple):
    """What is trained once.

    Args:
        task: of TASKS.
        name: of the model or ablation, for the table.
        overrides: of the recipe, beside those of the task.
        seed: of training.
        tuned_as: the model whose learning rate it has; "": its own.
    """

    task: str
    name: str
    overrides: Overrides
    seed: int
    tuned_as: str = ""

    @property
    def folder_name(self) -> str:
        words = "".join(letter if letter.isalnum() else "-" for letter in f"{self.task}-{self.name}-{self.seed}")
        return words.replace("--", "-")


class Plan(NamedTuple):
    """How much is done.

    Args:
        output: folder of all that is kept.
        shrink: steps are divided by this.
        report: lines.
        learning_rates: every model tries each; a single one is taken as it is.
    """

    output: Path
    shrink: int
    report: Progress
    learning_rates: Sequence[float] = LEARNING_RATES


def recipe_of(cell: Cell, shrink: int = 1, more: Overrides = ()) -> ResearchRecipe:
    """The recipe of a cell, with fewer steps per epoch, and more overrides."""
    task = TASKS[cell.task]
    path = RECIPES / task.recipe
    recipe = load_research_recipe(path, [*task.overrides, *cell.overrides, *more])
    steps = max(1, recipe.train.steps_per_epoch // shrink)
    return load_research_recipe(path, [*task.overrides, *cell.overrides, *more, ("train.steps_per_epoch", str(steps))])


def result_of(cell: Cell, plan: Plan) -> dict[str, Any]:
    """Figures of a cell: read if it has been done, otherwise trained and tested; interrupted trainings go on."""
    folder = plan.output / "cells" / cell.folder_name
    done = folder / "result.json"
    if done.exists():
        found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return found
    folder.mkdir(parents=True, exist_ok=True)
    tuned = Cell(cell.task, cell.tuned_as, MODELS[cell.tuned_as], 0) if cell.tuned_as else cell
    rate = tuned_rate(tuned, plan)
    recipe = recipe_of(cell, plan.shrink, [("train.learning_rate", str(rate))])
    metrics = run_job(recipe, run_folder=folder, cache=folder, seed=cell.seed, device="cpu", report=plan.report)
    problem, model = trained(cell, plan)
    lengths = {}
    for name, longer in TASKS[cell.task].longer.items():
        problem = recipe_of(cell, 1, longer).problem.build()
        figures = test_model(model, problem, "test", 50, "cpu")
        lengths[name] = {"accuracy": figures.accuracy, "frames_open": figures.frames_open}
    result = {"task": cell.task, "model": cell.name, "seed": cell.seed, "learning_rate": rate, "lengths": lengths}
    result |= {name: None if math.isnan(value) else value for name, value in metrics.items() if name != "seed"}
    write_atomic(done, json.dumps(result, indent=1) + "\n")
    (folder / "checkpoint.pt").unlink()
    return result


def tuned_rate(cell: Cell, plan: Plan) -> float:
    """The learning rate of a model for a task: the best by validation, each tried with a quarter of the steps."""
    if len(plan.learning_rates) == 1:
        return plan.learning_rates[0]
    folder = plan.output / "tuning" / cell._replace(seed=TUNING_SEED).folder_name
    done = folder / "result.json"
    if done.exists():
        return float(json.loads(done.read_text(encoding="utf-8"))["learning_rate"])
    folder.mkdir(parents=True, exist_ok=True)
    best: dict[str, float] = {}
    for rate in plan.learning_rates:
        run = folder / str(rate)
        kept = run / "validation.json"
        if not kept.exists():
            run.mkdir(exist_ok=True)
            recipe = recipe_of(cell, TUNING_SHARE * plan.shrink, [("train.learning_rate", str(rate))])
            run_job(recipe, run_folder=run, cache=run, seed=TUNING_SEED, device="cpu", report=plan.report)
            problem, model = recipe.problem.build(), _loaded(recipe, run)
            write_atomic(kept, json.dumps(test_model(model, problem, "validation", 50, "cpu")._asdict()) + "\n")
        best[str(rate)] = json.loads(kept.read_text(encoding="utf-8"))["accuracy"]
    chosen = max(best, key=lambda rate: best[rate])
    write_atomic(done, json.dumps({"learning_rate": float(chosen), "validation_accuracy": best}, indent=1) + "\n")
    return float(chosen)


def trained(cell: Cell, plan: Plan) -> tuple[Problem, SequenceModel]:
    """Problem and model of a cell that has been trained."""
    recipe = recipe_of(cell, plan.shrink)
    problem: Problem = recipe.problem.build()
    return problem, _loaded(recipe, plan.output / "cells" / cell.folder_name)


def _loaded(recipe: ResearchRecipe, folder: Path) -> SequenceModel:
    torch.manual_seed(0)
    model = build_model(recipe.problem.build(), recipe.model, recipe.size)
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    return model.eval()


def core_cells(tasks: Iterable[str], models: Mapping[str, Overrides], seeds: Iterable[int]) -> list[Cell]:
    """Every model, task and seed, seed after seed: an early end leaves whole tables of fewer seeds."""
    return [Cell(task, name, MODELS_AND_MORE[name], seed) for seed in seeds for task in tasks for name in models]


MODELS_AND_MORE = {**MODELS, **MORE_MODELS}


def mean_and_spread(values: Sequence[float]) -> str:
    """ "91.2 ± 0.4": percent, mean and standard deviation over seeds."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{100 * mean:.1f}"
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f"{100 * mean:.1f} ± {100 * spread:.1f}"
