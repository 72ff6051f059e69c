"""The job of a research recipe: build, train, test, report."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ..components import Component
from ..console import Progress
from ..errors import UserError
from ..model import metrics_text
from ..plots import plot_training
from ..recipe import recipe_text
from ..report import Picture, write_report
from ..runfolder import write_atomic
from .contract import Encoder, Problem
from .model import SequenceModel, matched_size, num_parameters
from .recipe import ResearchRecipe, SizeOptions
from .train import Figures, test_model, train_model


def run_job(
    recipe: ResearchRecipe, *, run_folder: Path, cache: Path, seed: int, device: str, report: Progress
) -> dict[str, float]:
    """Do all that a research recipe asks for; returns what metrics.json holds.

    Args:
        recipe: complete and checked.
        run_folder: exists; gets checkpoint.pt, weights.safetensors, metrics.json, plots/training.png and report.html.
        cache: not used: problems are made, or read from where the recipe says.
        seed: of weights, batches and noise; a problem has its own.
        device: "cpu" or "cuda:N".
        report: lines and bars.

    Raises:
        UserError: if the model cannot do the problem, or no size of it has so many parameters.
    """
    del cache
    torch.set_num_threads(1)
    with report.step("preparing"):
        problem: Problem = recipe.problem.build()
        torch.manual_seed(seed)
        model = build_model(problem, recipe.model, recipe.size)
    report.say(f"{problem.title}: {recipe.model.class_path}, {num_parameters(model):,} parameters")
    begun = time.monotonic()
    history = train_model(model, problem, recipe.train, folder=run_folder, seed=seed, device=device, progress=report)
    seconds = time.monotonic() - begun
    with report.step("testing"):
        figures = test_model(model, problem, "test", recipe.train.batch_size, device)
    metrics = _metrics(figures) | {
        "parameters": float(num_parameters(model)),
        "hidden_size": float(model.encoder.size),
        "training_seconds": seconds,
        "best_epoch": float(_best_epoch(history)),
        "seed": float(seed),
    }
    write_weights(run_folder / "weights.safetensors", model)
    write_atomic(run_folder / "metrics.json", metrics_text(metrics))
    _write_page(run_folder, recipe, problem, metrics, history)
    report.say(", ".join(f"{name} {value}" for name, value in _headline(metrics)))
    return metrics


def build_model(problem: Problem, component: Component, size: SizeOptions) -> SequenceModel:
    """A model for a problem, as near as it gets to a number of parameters.

    Args:
        problem: what it is for.
        component: the encoder's class and arguments.
        size: parameters, embedding.

    Raises:
        UserError: if it looks ahead where that would give the answer away, or no size has so many parameters.
    """

    def build(hidden_size: int) -> SequenceModel:
        encoder: Encoder = component.build(size.embedding, hidden_size)
        return SequenceModel(problem, encoder, size.embedding)

    named_class: Any = component.load()
    rule = getattr(named_class, "allows", None)
    try:
        hidden_size = matched_size(
            build, size.num_parameters, allows=None if rule is None else lambda h: bool(rule(h, **component.init_args))
        )
    except ValueError as error:
        raise UserError(f"{component.class_path}: {error}") from error
    model = build(hidden_size)
    if problem.must_be_causal and not model.encoder.is_causal:
        raise UserError(
            f"{problem.title} asks for what later frames tell, and {component.class_path} looks ahead; give a "
            "causal one: a Transformer with causal: true, or a gate without look-ahead (an EventGate without dilations)"
        )
    return model


def write_weights(path: Path, model: nn.Module) -> None:
    """A model's weights as safetensors."""
    save_file({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, path)


def _metrics(figures: Figures) -> dict[str, float]:
    metrics = {name: float(value) for name, value in figures._asdict().items()}
    if math.isnan(figures.accuracy):
        return metrics | {"root_mean_squared_error": math.sqrt(figures.loss)}
    return metrics | {"perplexity": math.exp(min(figures.loss, 700.0))}


def _best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    ranks = [(-row["accuracy"] if not math.isnan(row["accuracy"]) else 0.0, row["validation_loss"]) for row in history]
    return 1 + ranks.index(min(ranks))


def _headline(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    is_classes = not math.isnan(metrics["accuracy"])
    shown = [("answers right", f"{metrics['accuracy']:.1%}")] if is_classes else []
    shown += [("loss", f"{metrics['loss']:.4f}"), ("frames open", f"{metrics['frames_open']:.1%}")]
    return [*shown, ("parameters", f"{metrics['parameters']:,.0f}"), ("seconds", f"{metrics['training_seconds']:.0f}")]


def _write_page(
    folder: Path,
    recipe: ResearchRecipe,
    problem: Problem,
    metrics: Mapping[str, float],
    history: Sequence[Mapping[str, float]],
) -> None:
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    shares = ["accuracy", "frames_open"] if not math.isnan(metrics["accuracy"]) else ["frames_open"]
    plot_training(plots / "training.png", history, losses=["task", "validation_loss"], shares=shares)
    write_report(
        folder,
        title=f"{problem.title}: {recipe.model.class_path.rpartition('.')[2]}",
        summary=[(name.capitalize(), value) for name, value in _headline(metrics)],
        metrics=metrics,
        kinds=[],
        pictures=[Picture(plots / "training.png", "Losses, and shares on the validation split, while training.")],
        examples=[],
        recipe=recipe_text(recipe),
    )
