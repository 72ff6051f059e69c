"""The schema of a recipe, on one page; reading, checking and writing recipes.

A recipe is a YAML mapping with the sections below. Some name a class by its dotted path, ours or anybody's on the
Python path, and give its arguments (`class_path`, `init_args`); the others hold options. Nothing has to be registered.
"""

import dataclasses
import textwrap
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from featurizers.grid import Featurizer
from surnn.types import Gate

from .class_paths import Place, foreign_class_paths
from .components import Component, Key, Role, keys_of, read_arguments, read_component
from .errors import RecipeError, UserError
from .runfolder import write_atomic
from .yaml_text import Document, describe, did_you_mean, read_document, read_value, write_yaml


@dataclass(frozen=True)
class GridOptions:
    """The frame grid that switch, featurizer, encoder and head share.

    Args:
        hop_seconds: seconds from one frame to the next.
    """

    hop_seconds: float = 0.08


@dataclass(frozen=True)
class EncoderOptions:
    """The recurrent layers, which run over open frames only.

    Args:
        cell: recurrent cell.
        hidden: neurons per layer and direction.
        num_layers: layers; all of them share the frame switch.
        projection: numbers per frame after a linear layer with ReLU before the first recurrent one; 0: none.
        bidirectional: a second direction hears what follows, up to the end of a segment; answers wait for that end.
        restart_after_closed_seconds: for a second direction, closed time that ends a segment.
        restart_after_open_seconds: for a second direction, the longest segment, in seconds of open frames.
    """

    cell: Literal["gru", "lstm", "rnn"] = "gru"
    hidden: int = 96
    num_layers: int = 1
    projection: int = 0
    bidirectional: bool = False
    restart_after_closed_seconds: float = 1.0
    restart_after_open_seconds: float = 10.0


@dataclass(frozen=True)
class TrainOptions:
    """How the model is trained.

    Args:
        max_epochs: passes over the training streams.
        batch_size: crops per step.
        crop_seconds: length of a crop.
        learning_rate: highest step size of the optimiser.
        weight_decay: pull of the optimiser towards small weights.
        gradient_clip: largest norm of a step's gradient.
        dropout: share of hidden numbers left out at random.
        feature_noise: deviation of the noise added to normalised features.
        positive_weight: weight of frames in which a label is wanted.
        clip_weight: weight of the loss of clips that are labelled as wholes, without times (sound events).
        focal: frames that are nearly right count less, by this power; 0: all alike; 2 for rare or uneven labels.
        hard_epochs: last epochs in which every second crop holds a moment at which the model, as trained before them,
            hears what is not there.
        dense_share: share of crops trained with everything open, so that the same weights serve without the switch.
        random_open: share of closed frames opened at random, so that gaps of any length are met in training.
        help_weight: weight of the loss that shows the switch, by the labels, when to open.
        switch_positive_weight: weight, in that loss, of frames that should be open.
        budget_weight: weight of the loss that holds the switch to its budget.
        switch_first_steps: steps in which the switch alone learns from that loss, before the rest begins: they cost
            little, and the other parts meet from the start the gaps that they will have.
        straight_through_epochs: last epochs, in which the task's own gradient reaches the switch as well.
        guide_steps: steps at the end in which the switch alone learns once more, each event weighted by how surely the
            trained line finds it: a budget that is too small for all events goes to those that will be found.
    """

    max_epochs: int = 8
    batch_size: int = 32
    crop_seconds: float = 10.0
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    dropout: float = 0.2
    feature_noise: float = 0.3
    positive_weight: float = 2.0
    clip_weight: float = 1.0
    focal: float = 0.0
    hard_epochs: int = 0
    dense_share: float = 0.3
    random_open: float = 0.02
    help_weight: float = 1.0
    switch_positive_weight: float = 3.0
    budget_weight: float = 0.1
    switch_first_steps: int = 0
    straight_through_epochs: int = 1
    guide_steps: int = 0


@dataclass(frozen=True)
class EvaluateOptions:
    """How the model is judged.

    Args:
        false_alarms_per_hour: false alarms per hour and label at which thresholds are set on validation streams.
        thresholds_on: kind of validation recordings that thresholds are set on, or several; null: all of them.
    """

    false_alarms_per_hour: float = 1.0
    thresholds_on: str | list[str] | None = None

    def kinds(self, among: Collection[str]) -> list[str]:
        """The kinds that thresholds are set on, of those that there are.

        Raises:
            UserError: if one is named that there is not, or none.
        """
        wanted = self.thresholds_on
        named = sorted(among) if wanted is None else [wanted] if isinstance(wanted, str) else wanted
        for kind in named:
            if kind not in among:
                raise UserError(
                    f"evaluate.thresholds_on={kind!r} is no kind of validation recording; there are: "
                    f"{', '.join(sorted(among)) or 'none'}; null takes all of them"
                )
        if not named:
            raise UserError("evaluate.thresholds_on names no kind; name one, or give null for all of them")
        return named


class Section(NamedTuple):
    """One section: what it is for, and either a class's role or a dataclass of options."""

    doc: str
    role: Role | None = None
    options: type | None = None


SECTIONS: Mapping[str, Section] = {
    "task": Section("What is looked for, and how it is scored.", Role()),
    "corpus": Section("Recordings to train and evaluate with, and what is known of them.", Role()),
    "grid": Section("The frame grid that switch, featurizer, encoder and head share.", options=GridOptions),
    "glance": Section("Cheap features of every frame: what the switch looks at.", Role(("grid",), (), Featurizer)),
    "switch": Section(
        "Decides which frames are open; closed ones cost only a glance.", Role(("glance_size",), (), Gate)
    ),
    "featurizer": Section("Features of open frames; may be expensive.", Role(("grid",), ("glance_size",), Featurizer)),
    "encoder": Section("The recurrent layers, which run over open frames only.", options=EncoderOptions),
    "head": Section("Turns hidden states into scores per label.", Role(("hidden_size", "num_labels"))),
    "train": Section("How the model is trained.", options=TrainOptions),
    "evaluate": Section("How the model is judged.", options=EvaluateOptions),
}


class Sectioned(Protocol):
    """Any complete, checked recipe: a value for each of its sections, as the attribute of that name."""

    sections: ClassVar[Mapping[str, Section]]


@dataclass(frozen=True)
class Recipe:
    """A complete, checked recipe: every default filled in. Equal recipes do the same work."""

    sections: ClassVar[Mapping[str, Section]] = SECTIONS

    task: Component
    corpus: Component
    glance: Component
    switch: Component
    featurizer: Component
    head: Component
    grid: GridOptions = GridOptions()
    encoder: EncoderOptions = EncoderOptions()
    train: TrainOptions = TrainOptions()
    evaluate: EvaluateOptions = EvaluateOptions()
    source: str = field(default="recipe", compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, section by section, as it would stand in the file."""
        return plain_recipe(self)

    def foreign_classes(self) -> list[str]:
        """Dotted paths of all classes outside surnn, featurizers and pipelines; loading a bundle needs them trusted."""
        return foreign_class_paths(self.as_dict())


def load_recipe(
    path: str | Path, overrides: Iterable[tuple[str, str]] = (), *, trust: Collection[str] | None = None
) -> Recipe:
    """The recipe in a file, with values from the command line put in, complete and checked.

    Args:
        path: a YAML file.
        overrides: (dotted key, YAML text) such as ("train.max_epochs", "3"), applied in order. A class path for a whole
            section ("switch", "surnn.Open") replaces the section's class and its arguments.
        trust: None for the user's own recipe, which may name any class. For a recipe that came from elsewhere: names of
            the classes outside our packages that may be imported; any other one is refused before it is imported.
    Raises:
        RecipeError: for the first mistake found, with its place.
    """
    return Recipe(**read_sections(read_document(Path(path)), SECTIONS, overrides, trust=trust), source=str(path))


def read_sections(
    document: Document,
    sections: Mapping[str, Section],
    overrides: Iterable[tuple[str, str]] = (),
    *,
    trust: Collection[str] | None = None,
) -> dict[str, Any]:
    """A checked, complete value for each section; arguments and errors as in `load_recipe`."""
    given = [_override(document.data, key, text, sections) for key, text in overrides]
    if trust is not None and (foreign := foreign_class_paths(_with_class_paths(document.data, sections), trust)):
        advice = f"read their code, then trust them by name: trust={foreign}"
        raise RecipeError(f"names classes that are not trusted: {', '.join(foreign)}; {advice}", source=document.source)

    def place(key: str) -> Place:
        parts = tuple(key.split("."))
        if any(key == other or key.startswith(other + ".") for other in given):
            return Place("command line", None, key)
        return Place(document.source, document.line(parts), key)

    for name in document.data:
        if name not in sections:
            raise place(name).error(f"no such section{did_you_mean(name, sections)} (sections: {', '.join(sections)})")
    return {name: _read_section(name, section, document, place, trust) for name, section in sections.items()}


def save_recipe(recipe: Sectioned, path: str | Path) -> None:
    """Write the complete recipe, every key explained; `load_recipe` reads the same recipe back."""
    write_atomic(Path(path), recipe_text(recipe))


def recipe_text(recipe: Sectioned) -> str:
    """The complete recipe as YAML, with an explanation above every key."""
    blocks = []
    for name, section in recipe.sections.items():
        value = getattr(recipe, name)
        if isinstance(value, Component):
            keys = keys_of(value.load(), value.role)
            body = write_yaml({"class_path": value.class_path})
            if value.init_args:
                body += "init_args:\n" + textwrap.indent(_commented(keys, value.init_args), "  ")
        else:
            assert section.options is not None
            body = _commented(keys_of(section.options), _plain(value))
        blocks.append(f"# {section.doc}\n{name}:\n{textwrap.indent(body, '  ')}")
    return "\n".join(blocks)


def plain_recipe(recipe: Sectioned) -> dict[str, Any]:
    """Plain data, section by section, as it would stand in the file."""
    return {name: _plain(getattr(recipe, name)) for name in recipe.sections}


def changed_keys(one: Sectioned, other: Sectioned) -> list[str]:
    """Dotted keys whose values differ."""
    return sorted(_differing(plain_recipe(one), plain_recipe(other), ""))


def explain(recipe: Sectioned | None = None) -> str:
    """Every key of a recipe with type, default and meaning; with a recipe, the arguments of its classes as well."""
    lines: list[str] = []
    for name, section in (recipe.sections if recipe else SECTIONS).items():
        lines.append(f"{name}: {section.doc}")
        component = getattr(recipe, name) if section.role and recipe else None
        if section.options is not None:
            lines += _explained(f"{name}.", keys_of(section.options))
        elif component is not None:
            lines.append(f"  --{name} CLASS  (here {component.class_path})")
            lines += _explained(f"{name}.init_args.", keys_of(component.load(), component.role))
        else:
            lines.append(f"  --{name} CLASS, --{name}.init_args.NAME VALUE")
    return "\n".join(lines)


def _read_section(name: str, section: Section, document: Document, place: Any, trust: Collection[str] | None) -> Any:
    def locate(key: str) -> Place:
        found: Place = place(f"{name}.{key}" if key else name)
        return found

    value = document.data.get(name)
    if section.role is not None:
        if value is None:
            example = f"{name}: package.module.Class"
            raise RecipeError(f"needs this section: {section.doc} Add '{example}'", source=document.source, key=name)
        return read_component(value, section.role, locate, trust)
    assert section.options is not None
    if not isinstance(value, dict | None):
        raise locate("").error(f"expected a mapping of options; got {describe(value)}")
    return section.options(**read_arguments(section.options, Role(), value or {}, locate, locate("")))


def _override(data: dict[str, Any], key: str, text: str, sections: Mapping[str, Section]) -> str:
    """Put one value from the command line into the recipe's data; returns its key."""
    *parents, last = key.split(".")
    if (parents or [last])[0] not in sections:
        near = did_you_mean(key, sections) or did_you_mean((parents or [last])[0], sections)
        raise RecipeError(f"no such key{near}", source="command line", key=key)
    for depth, parent in enumerate(parents):
        below = data.get(parent)
        if depth == 0 and isinstance(below, str):
            below = {"class_path": below}
        if not isinstance(below, dict | None):
            raise RecipeError(f"{'.'.join(parents[: depth + 1])} is not a mapping", source="command line", key=key)
        data[parent] = below = below or {}
        data = below
    data[last] = read_value(text, "command line", key)
    return key


def _with_class_paths(data: dict[str, Any], sections: Mapping[str, Section]) -> dict[str, Any]:
    """The data with short forms spelled out, so that no class is overlooked."""
    return {
        name: {"class_path": value} if name in sections and sections[name].role and isinstance(value, str) else value
        for name, value in data.items()
    }


def _plain(value: Any) -> dict[str, Any]:
    if isinstance(value, Component):
        return {"class_path": value.class_path, "init_args": value.init_args}
    return dataclasses.asdict(value)


def _differing(one: Any, other: Any, key: str) -> list[str]:
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return [] if one == other else [key.removeprefix(".")]
    return [
        found
        for name in one.keys() | other.keys()
        for found in _differing(one.get(name), other.get(name), f"{key}.{name}")
    ]


def _commented(keys: list[Key], values: Mapping[str, Any]) -> str:
    docs = {key.name: key.doc for key in keys}
    parts = []
    for name, value in values.items():
        comment = (
            textwrap.fill(docs[name], 100, initial_indent="# ", subsequent_indent="# ") + "\n" if docs[name] else ""
        )
        parts.append(comment + write_yaml({name: value}))
    return "".join(parts)


def _explained(prefix: str, keys: list[Key]) -> list[str]:
    lines = []
    for key in keys:
        default = "must be given" if key.is_required else f"default {key.default}"
        lines.append(f"  --{prefix}{key.name} ({key.type}; {default})")
        if key.doc:
            lines.append(textwrap.fill(key.doc, 100, initial_indent="      ", subsequent_indent="      "))
    return lines
