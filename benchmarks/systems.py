"""The systems that benchmarks/contest.py compares: trained, tuned on validation recordings, tested on cached frames."""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

from benchmarks.rivals import EnergyGate, EvenStride
from benchmarks.timing import line_with
from benchmarks.yardsticks import Yardstick
from featurizers import Grid
from pipelines.console import Progress
from pipelines.errors import UsageError
from pipelines.evaluate import track_of_frames, tracks_of_frames, tune
from pipelines.events import Recording
from pipelines.features import load_frames
from pipelines.job import cached_frames, fit_statistics, stage_corpus
from pipelines.lessons import Frames
from pipelines.line import Line, Track
from pipelines.model import Model, build_line, load
from pipelines.recipe import Recipe, changed_keys
from pipelines.train import train_line
from surnn import Gate, RandomGate

DENSE, LEARNED, SMALLER = "dense twin", "learned switch", "smaller dense model"
STRIDE, RANDOM, ENERGY, ENERGY_EQUAL = "uniform stride", "random skipping", "dilated energy", "... at equal share"
TRAINED, GATES = (DENSE, LEARNED, SMALLER), (STRIDE, RANDOM, ENERGY, ENERGY_EQUAL)
ENERGY_DILATIONS = (1, 2, 4)  # frames; which one, and against what, is the best on validation recordings
ENERGY_AGAINST = (0, 125)


class Material(NamedTuple):
    """What every system is trained, tuned and tested on.

    Args:
        labels: C names.
        train: called for the training frames, which are loaded only if something has to be trained.
        validation, validation_recordings: called for what thresholds are set on.
        test, test_paths: recordings that nothing is set on, and where their frames are cached.
    """

    labels: tuple[str, ...]
    train: Callable[[], Frames]
    validation: Callable[[], Frames]
    validation_recordings: Sequence[Recording]
    test: Sequence[Recording]
    test_paths: Sequence[Path]


class System(NamedTuple):
    """One way to skip, tuned.

    Args:
        line: its gate is the way to skip.
        decisions: of the task, by label.
        gate: the numbers from which a gate of GATES is built; empty: the gate is the trained line's.
    """

    line: Line
    decisions: dict[str, Any]
    gate: dict[str, float]


def prepare(recipe: Recipe, test_recipe: Recipe, cache: Path, report: Progress, *, test_seed: int = 0) -> Material:
    """Stage both corpora, the one for the test from a seed of its own, and cache their frames."""
    corpus, task = recipe.corpus.build(), recipe.task.build()
    recordings = stage_corpus(recipe, corpus, cache, report)
    train, validation = ([r for r in recordings if r.split == split] for split in ("train", "validation"))
    staged = test_recipe.corpus.build().prepare(cache / "corpora", seed=test_seed)
    test = [recording for recording in staged if recording.split == "test"]
    paths = [paths for _, paths in cached_frames([train, validation, test], recipe, cache, report)]

    def frames_of(members: Sequence[Recording], cached: Sequence[Path]) -> Callable[[], Frames]:
        return functools.cache(lambda: load_frames(members, cached, recipe, task, corpus.labels))

    return Material(
        corpus.labels, frames_of(train, paths[0]), frames_of(validation, paths[1]), validation, test, paths[2]
    )


def trained(recipe: Recipe, material: Material, folder: Path, *, seed: int, device: str, report: Progress) -> System:
    """A line trained and tuned, or the one that an earlier run left in `folder`/model.

    Raises:
        UsageError: if what lies there was trained with another recipe.
    """
    bundle = folder / "model"
    if (bundle / "card.md").is_file():
        model = load(bundle, trust=recipe.foreign_classes())
        if changed := changed_keys(recipe, model.recipe):
            raise UsageError(f"{bundle} was trained with another {', '.join(changed)}; choose another --output")
        return System(model.line, dict(model.decisions), {})
    torch.manual_seed(seed)
    line = build_line(recipe, len(material.labels))
    fit_statistics(line, material.train())
    report.say(f"Training {bundle}")
    checkpoints = folder / "checkpoints"
    train_line(line, material.train(), recipe.train, folder=checkpoints, seed=seed, device=device, progress=report)
    decisions = tuned(line, material, recipe)
    Model(recipe, line, material.labels, decisions, card="Trained by benchmarks.contest.\n").save(bundle)
    return System(line, decisions, {})


def tuned(line: Line, material: Material, recipe: Recipe) -> dict[str, Any]:
    """Set the threshold of the switch, and find the decisions of the labels, on the validation recordings."""
    given = material.validation(), material.validation_recordings, material.labels, recipe.evaluate
    decisions: dict[str, Any] = tune(line, *given, recipe.task.build()).decisions
    return decisions


def gate_of(name: str, glance_size: int, numbers: Mapping[str, float]) -> Gate:
    """A gate of GATES from its numbers."""
    given: dict[str, Any] = dict(numbers)
    if name == STRIDE:
        return EvenStride(glance_size, **given)
    return RandomGate(glance_size, **given) if name == RANDOM else EnergyGate(glance_size, **given)


def rival(name: str, learned: System, material: Material, recipe: Recipe, yardstick: Yardstick, seed: int) -> System:
    """A simpler way to skip, with encoder and head of the learned switch, at its share of open validation frames."""
    share = _open_share(learned.line, material, recipe)
    if name == ENERGY:
        return _best_energy(learned.line, material, recipe, yardstick, share)
    numbers: dict[str, float] = {"share": share} if name == STRIDE else {"rate": share, "seed": seed}
    line = line_with(learned.line, gate=gate_of(name, learned.line.glance.size, numbers))
    return System(line, tuned(line, material, recipe), numbers)


def energy_at_equal_share(energy: System, material: Material, kind: str, share: float) -> System:
    """The energy gate with its threshold set anew, so that just this share of the test recordings is open.

    A threshold from validation recordings opens more or less of others, as they are louder or fainter. No label is
    looked at, so this does the rival no harm.
    """
    tuned_gate = energy.line.gate
    assert isinstance(tuned_gate, EnergyGate)
    gate = copy.copy(tuned_gate)
    pairs = zip(material.test, material.test_paths, strict=True)
    paths = [path for recording, path in pairs if kind in ("", recording.kind)]
    gate.open_share((safetensors.torch.load_file(path)["glance"] for path in paths), share)
    return System(line_with(energy.line, gate=gate), energy.decisions, gate.numbers)


def tracks_of_test(system: System, material: Material) -> list[Track]:
    """What a system says of the test recordings, from their cached frames."""
    tracks, line = [], system.line
    for path in material.test_paths:
        frames = safetensors.torch.load_file(path)
        grid = Grid(line.grid.hop_seconds, float(frames["start_seconds"][0]))
        tracks.append(track_of_frames(line, frames["glance"].float(), frames["features"].float(), grid, line.gate))
    return tracks


def _of_wanted_kinds(recordings: Sequence[Recording], recipe: Recipe) -> list[bool]:
    """Which validation recordings thresholds are set on."""
    wanted = recipe.evaluate.kinds({recording.kind for recording in recordings})
    return [recording.kind in wanted for recording in recordings]


def _open_share(line: Line, material: Material, recipe: Recipe) -> float:
    """The share of frames that a switch opens, in validation recordings of the kind that thresholds are set on."""
    tracks = tracks_of_frames(line, material.validation(), line.grid, line.gate)
    is_wanted = _of_wanted_kinds(material.validation_recordings, recipe)
    return float(torch.cat([t.is_open for t, wanted in zip(tracks, is_wanted, strict=True) if wanted]).float().mean())


def _best_energy(line: Line, material: Material, recipe: Recipe, yardstick: Yardstick, share: float) -> System:
    """Of several energy gates, the one that does best on the validation recordings: a rival at its best."""
    recordings, frames = material.validation_recordings, material.validation()
    is_wanted = _of_wanted_kinds(recordings, recipe)
    glances = torch.split(frames.glance, frames.lengths.tolist())
    chosen = [recording for recording, wanted in zip(recordings, is_wanted, strict=True) if wanted]

    def figure(system: System) -> float:
        tracks = tracks_of_frames(system.line, frames, line.grid, system.line.gate)
        tracks = [track for track, wanted in zip(tracks, is_wanted, strict=True) if wanted]
        measured = yardstick.measure(tracks, chosen, material.labels, system.decisions, is_resampled=False)
        return measured[next(iter(yardstick.figures))].value

    systems = []
    for against in ENERGY_AGAINST:
        for dilate in ENERGY_DILATIONS:
            gate = EnergyGate(line.glance.size, dilate_frames=dilate, against_frames=against)
            gate.open_share((g for g, wanted in zip(glances, is_wanted, strict=True) if wanted), share)
            other = line_with(line, gate=gate)
            systems.append(System(other, tuned(other, material, recipe), gate.numbers))
    return max(systems, key=figure)
