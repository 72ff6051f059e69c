"""The schema of a research recipe: a sequence problem, a model, its size, and how it is trained.

`pipelines.run` takes it for one by its section `problem`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..components import Component, Role
from ..recipe import Recipe, Section, Sectioned, load_recipe, read_sections
from ..yaml_text import read_document


@dataclass(frozen=True)
class SizeOptions:
    """How large the model is; its hidden size follows from that, so that models compare.

    Args:
        num_parameters: trained numbers, met within 5 %: input layer, encoder with its gate, head.
        embedding: numbers per symbol or frame that enter the encoder.
    """

    num_parameters: int = 20_000
    embedding: int = 16


@dataclass(frozen=True)
class ResearchTrainOptions:
    """How the model is trained.

    Args:
        max_epochs: epochs; the model of the best one by validation is tested.
        steps_per_epoch: training steps from one validation to the next.
        batch_size: sequences per step.
        learning_rate: highest step size of the optimiser (AdamW); it warms up over a tenth of all steps and falls to a
            tenth along a cosine.
        gate_rate_factor: step size of a gate, in learning rates.
        weight_decay: pull of the optimiser towards small weights.
        gradient_clip: largest norm of a step's gradient.
        budget_weight: weight of the loss that holds a switch to its budget.
        budget_ramp: share of training over which that weight grows from 0.
        help_weight: weight of the loss that shows a frame switch which frames matter, where the problem knows.
    """

    max_epochs: int = 8
    steps_per_epoch: int = 50
    batch_size: int = 32
    learning_rate: float = 3e-3
    gate_rate_factor: float = 3.0
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    budget_weight: float = 1.0
    budget_ramp: float = 0.3
    help_weight: float = 0.0


RESEARCH_SECTIONS: Mapping[str, Section] = {
    "problem": Section("The sequence problem: what comes in, what is asked.", Role()),
    "model": Section(
        "The encoder; a layer that reads the frames and a head stand around it.", Role(("input_size", "hidden_size"))
    ),
    "size": Section("How large the model is.", options=SizeOptions),
    "train": Section("How the model is trained.", options=ResearchTrainOptions),
}


@dataclass(frozen=True)
class ResearchRecipe:
    """A complete, checked research recipe: every default filled in. Equal recipes do the same work."""

    sections: ClassVar[Mapping[str, Section]] = RESEARCH_SECTIONS

    problem: Component
    model: Component
    size: SizeOptions = SizeOptions()
    train: ResearchTrainOptions = ResearchTrainOptions()
    source: str = field(default="recipe", compare=False)


def load_research_recipe(path: str | Path, overrides: Iterable[tuple[str, str]] = ()) -> ResearchRecipe:
    """The research recipe in a file; arguments and errors as in `pipelines.recipe.load_recipe`."""
    return ResearchRecipe(**read_sections(read_document(Path(path)), RESEARCH_SECTIONS, overrides), source=str(path))


def load_any_recipe(path: str | Path, overrides: Iterable[tuple[str, str]] = ()) -> Recipe | ResearchRecipe:
    """The recipe in a file: a research recipe if it has a section `problem`, otherwise one of media."""
    if "problem" in read_document(Path(path)).data:
        return load_research_recipe(path, overrides)
    return load_recipe(path, overrides)


def job_of(recipe: Sectioned) -> Callable[..., Any]:
    """What does the work of a recipe: `pipelines.job.run_job`, or that of research."""
    if isinstance(recipe, ResearchRecipe):
        from .job import run_job as run_research_job

        return run_research_job
    from ..job import run_job

    return run_job
