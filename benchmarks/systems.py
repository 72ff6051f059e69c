"""The systems that benchmarks/skipping.py compares: trained, tuned on validation streams, tested on cached frames."""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch

from benchmarks.paired import seed_values
from benchmarks.rivals import EnergyGate, EvenStride
from benchmarks.timing import line_with
from featurizers import Grid
from pipelines.console import Progress
from pipelines.errors import UsageError
from pipelines.evaluate import (
    track_of_frames,
    tracks_of_frames,
    tune,
    visit,
    work_of,
)
from pipelines.events import Recording
from pipelines.features import load_frames
from pipelines.job import cached_frames, fit_statistics, stage_corpus
from pipelines.keywords import Tuning, results_of
from pipelines.lessons import Frames
from pipelines.line import Line, Track
from pipelines.metrics import RecordingResult, ScoreSheet, recall_statistic, score_sheet, work_metrics
from pipelines.model import Model, build_line, load
from pipelines.recipe import Recipe, changed_keys
from pipelines.tasks import Task
from pipelines.train import train_line
from surnn import RandomGate

DENSE, LEARNED, STRIDE, RANDOM = "dense twin", "learned switch", "uniform stride", "random skipping"
ENERGY, ENERGY_EQUAL = "dilated energy", "... at equal share"
SYSTEMS = (DENSE, LEARNED, STRIDE, RANDOM, ENERGY, ENERGY_EQUAL)
KIND = "talkative"  # streams in which systems are compared: false alarms come from other speech
RECALL_AT_1 = recall_statistic(1.0)
ENERGY_DILATIONS = (1, 2, 4)  # frames; which one, and against what, is the best on validation streams
ENERGY_AGAINST = (0, 125)


class Material(NamedTuple):
    """What every system is trained, tuned and tested on.

    Args:
        labels: C names.
        train: called for the training frames, which are loaded only if something has to be trained.
        validation, validation_recordings: what thresholds are set on.
        test, test_paths: streams that nothing is set on, and where their frames are cached.
    """

    labels: tuple[str, ...]
    train: Callable[[], Frames]
    validation: Frames
    validation_recordings: Sequence[Recording]
    test: Sequence[Recording]
    test_paths: Sequence[Path]


class System(NamedTuple):
    """One way to skip, tuned: its gate is the line's."""

    line: Line
    tuning: Tuning


class Score(NamedTuple):
    """What a system of one seed did on the test streams, per kind.

    Args:
        sheets: detections beside the truth.
        frames_open: share of frames.
    """

    sheets: dict[str, ScoreSheet]
    frames_open: dict[str, float]


def prepare(recipe: Recipe, test_recipe: Recipe, cache: Path, report: Progress) -> Material:
    """Stage both corpora, and cache their frames."""
    corpus, task = recipe.corpus.build(), recipe.task.build()
    recordings = stage_corpus(recipe, corpus, cache, report)
    train, validation = ([r for r in recordings if r.split == split] for split in ("train", "validation"))
    test = [r for r in stage_corpus(test_recipe, test_recipe.corpus.build(), cache, report) if r.split == "test"]
    with_paths = [paths for _, paths in cached_frames([train, validation, test], recipe, cache, report)]
    return Material(
        corpus.labels,
        functools.cache(lambda: load_frames(train, with_paths[0], recipe, task, corpus.labels)),
        load_frames(validation, with_paths[1], recipe, task, corpus.labels),
        validation,
        test,
        with_paths[2],
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
        report.say(f"{bundle}: there already, not trained again")
        return System(model.line, tuned(model.line, material, recipe))
    torch.manual_seed(seed)
    line = build_line(recipe, len(material.labels))
    fit_statistics(line, material.train())
    torch.set_num_threads(2)
    report.say(f"Training {bundle}")
    train_line(
        line,
        material.train(),
        recipe.train,
        folder=folder / "checkpoints",
        seed=seed,
        device=device,
        progress=report,
    )
    torch.set_num_threads(1)
    system = System(line, tuned(line, material, recipe))
    Model(recipe, line, material.labels, system.tuning.decisions, card="Trained by benchmarks.skipping.\n").save(bundle)
    return system


def tuned(line: Line, material: Material, recipe: Recipe) -> Tuning:
    """Threshold of the switch, thresholds of the labels and places of events, on the validation streams."""
    given = material.validation, material.validation_recordings, material.labels, recipe.evaluate
    tuning: Tuning = tune(line, *given, recipe.task.build())
    return tuning


def open_share(line: Line, material: Material, recipe: Recipe) -> float:
    """The share of validation frames that a switch opens, in streams of the kind that thresholds are set on."""
    wanted = recipe.evaluate.kinds({recording.kind for recording in material.validation_recordings})
    tracks = tracks_of_frames(line, material.validation, line.grid, line.gate)
    pairs = zip(tracks, material.validation_recordings, strict=True)
    chosen = torch.cat([track.is_open for track, recording in pairs if recording.kind in wanted])
    return float(chosen.float().mean())


def rivals_of(learned: Line, material: Material, recipe: Recipe, *, seed: int) -> dict[str, System]:
    """The simpler ways to skip, with the encoder and head of the learned switch, at its share of open frames."""
    share, size = open_share(learned, material, recipe), learned.glance.size
    systems = {}
    for name, gate in (
        (STRIDE, EvenStride(size, share=share)),
        (RANDOM, RandomGate(size, rate=share, seed=seed)),
    ):
        line = line_with(learned, gate=gate)
        systems[name] = System(line, tuned(line, material, recipe))
    return systems | {ENERGY: best_energy(learned, material, recipe, share)}


def best_energy(learned: Line, material: Material, recipe: Recipe, share: float) -> System:
    """Of several energy gates, the one that finds most on the validation streams: a rival at its best."""
    recordings, lengths = material.validation_recordings, material.validation.lengths.tolist()
    wanted = recipe.evaluate.kinds({recording.kind for recording in recordings})
    parts = zip(torch.split(material.validation.glance, lengths), recordings, strict=True)
    glances = [glance for glance, recording in parts if recording.kind in wanted]
    systems = []
    for against in ENERGY_AGAINST:
        for dilate in ENERGY_DILATIONS:
            gate = EnergyGate(learned.glance.size, dilate_frames=dilate, against_frames=against)
            gate.open_share(glances, share)
            line = line_with(learned, gate=gate)
            systems.append(System(line, tuned(line, material, recipe)))

    def recall(system: System) -> float:
        tracks = tracks_of_frames(system.line, material.validation, learned.grid, system.line.gate)
        results = results_of(tracks, recordings, material.labels, system.tuning.placements)
        chosen = [result for result in results if result.kind in wanted]
        return seed_values([score_sheet(chosen, material.labels, system.tuning.thresholds)], RECALL_AT_1)[0]

    return max(systems, key=recall)


def energy_at_equal_share(energy: System, material: Material, share: float) -> System:
    """The energy gate with its threshold set anew, so that just this share of the test streams is open.

    A threshold from validation streams opens more or less of others, as they are louder or fainter. No label is looked
    at, so this does the rival no harm.
    """
    tuned_gate = energy.line.gate
    assert isinstance(tuned_gate, EnergyGate)
    gate = copy.copy(tuned_gate)
    pairs = zip(material.test, material.test_paths, strict=True)
    paths = [path for recording, path in pairs if recording.kind == KIND]
    gate.open_share((safetensors.torch.load_file(path)["glance"] for path in paths), share)
    return System(line_with(energy.line, gate=gate), energy.tuning)


def score(system: System, material: Material) -> Score:
    """Walk over the cached frames of all test streams."""
    results: dict[str, list[RecordingResult]] = {}
    opened: dict[str, list[torch.Tensor]] = {}
    line = system.line
    for recording, path in zip(material.test, material.test_paths, strict=True):
        frames = safetensors.torch.load_file(path)
        grid = Grid(line.grid.hop_seconds, float(frames["start_seconds"][0]))
        track = track_of_frames(line, frames["glance"].float(), frames["features"].float(), grid, line.gate)
        results.setdefault(recording.kind, []).extend(
            results_of([track], [recording], material.labels, system.tuning.placements)
        )
        opened.setdefault(recording.kind, []).append(track.is_open)
    return Score(
        {kind: score_sheet(some, material.labels, system.tuning.thresholds) for kind, some in results.items()},
        {kind: float(torch.cat(parts).float().mean()) for kind, parts in opened.items()},
    )


def systems_of(
    recipes: Mapping[str, Recipe], material: Material, output: Path, *, seed: int, device: str, report: Progress
) -> dict[str, System]:
    """All systems of one seed; ENERGY_EQUAL comes later, when the learned switch was tested."""
    folder = output / f"seed-{seed}"
    systems = {
        name: trained(recipes[name], material, folder / name.replace(" ", "-"), seed=seed, device=device, report=report)
        for name in (DENSE, LEARNED)
    }
    return systems | rivals_of(systems[LEARNED].line, material, recipes[LEARNED], seed=seed)


def timed_work(system: System, recordings: Sequence[Recording], labels: Sequence[str], task: Task) -> dict[str, float]:
    """The keys of docs/metrics.md on cost, from path to events of whole files; the line's own gate is the switch."""

    def decode(track: Track) -> object:
        return task.decode(track.held, track.grid, track.seconds, labels, system.tuning.decisions)

    visit(system.line, recordings[0], decode)
    visits = [visit(system.line, recording, decode) for recording in recordings]
    return work_metrics(work_of(visits, recordings))


def first_of_each_kind(recordings: Sequence[Recording], number: int) -> Iterator[Recording]:
    """So many recordings of each kind."""
    for kind in dict.fromkeys(recording.kind for recording in recordings):
        yield from [recording for recording in recordings if recording.kind == kind][:number]
