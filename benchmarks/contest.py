"""Systems side by side over several seeds: each trained or tuned once, tested, kept; a stopped contest is gone on with.

OUTPUT/contest.json                what is compared: recipe, test corpus
       smaller.json                size of the dense model that takes as long as the learned switch
       seed-0/SYSTEM/score.json    figures of a system, with resamples; written when it is complete
       seed-0/SYSTEM/model/        of those that are trained; checkpoints/ while they are
       times.json                  wall times of all systems of the first seed; delete it to measure anew
       results.json                the table
"""

import argparse
import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.paired import Draws
from benchmarks.report import plain
from benchmarks.shrinking import equal_time, seconds_of_walk
from benchmarks.systems import (
    DENSE,
    ENERGY,
    ENERGY_EQUAL,
    GATES,
    LEARNED,
    SMALLER,
    TRAINED,
    Material,
    System,
    energy_at_equal_share,
    gate_of,
    rival,
    tracks_of_test,
    trained,
)
from benchmarks.timing import line_with
from benchmarks.yardsticks import Yardstick
from pipelines.console import Progress
from pipelines.errors import UsageError
from pipelines.evaluate import visit, work_of
from pipelines.events import Recording
from pipelines.line import Track
from pipelines.metrics import work_metrics
from pipelines.recipe import Recipe, load_recipe
from pipelines.runfolder import write_atomic
from surnn import EventGate


class Score(NamedTuple):
    """What a system of one seed did on the test recordings.

    Args:
        frames_open: share of frames, per kind, and of all recordings ("").
        figures: of the yardstick, on recordings of its kind.
        hours, num_events: how much there was of that kind.
        gate: as in System.
        decisions: of the task, by label, as plain numbers.
    """

    frames_open: dict[str, float]
    figures: dict[str, Draws]
    hours: float
    num_events: int
    gate: dict[str, float]
    decisions: dict[str, dict[str, float]]


class Entry(NamedTuple):
    """What is compared.

    Args:
        path, given: the recipe and keys that are overridden.
        recipes: of the systems that are trained, as far as they are known.
        material: what they are trained and tested on.
        yardstick: what they are compared by.
        has_smaller: whether a smaller dense model takes part.
        device: to train on.
    """

    path: str
    given: Sequence[tuple[str, str]]
    recipes: Mapping[str, Recipe]
    material: Material
    yardstick: Yardstick
    has_smaller: bool
    device: str

    @property
    def names(self) -> tuple[str, ...]:
        """The systems, those first that others are made from."""
        return tuple(name for name in (*TRAINED, *GATES) if self.has_smaller or name != SMALLER)


class Contest:
    """All systems of all seeds.

    Args:
        entry: what is compared.
        output: folder in which everything is kept.
        report: lines and bars.
    """

    def __init__(self, entry: Entry, output: Path, report: Progress) -> None:
        self.entry, self.output, self.report = entry, output, report
        self._systems: dict[tuple[int, str], System] = {}

    def score(self, seed: int, name: str) -> Score:
        """A system's figures, as kept or as measured now."""
        path = self._folder(seed, name) / "score.json"
        if path.exists():
            return score_of(json.loads(path.read_text()))
        system = self.system(seed, name)
        self.report.say(f"Testing seed {seed}, {name}")
        score = scored(system, self.entry)
        write_atomic(path, json.dumps(plain(score)) + "\n")
        return score

    def system(self, seed: int, name: str) -> System:
        """A system, trained and tuned, as kept or as made now."""
        key = seed, name
        if key not in self._systems:
            self._systems = {k: v for k, v in self._systems.items() if k[0] == seed}  # one seed at a time in memory
            self._systems[key] = self._made(seed, name)
        return self._systems[key]

    def _made(self, seed: int, name: str) -> System:
        entry, folder = self.entry, self._folder(seed, name)
        folder.mkdir(parents=True, exist_ok=True)
        if name in TRAINED:
            recipe = self.smaller_recipe(seed) if name == SMALLER else entry.recipes[name]
            return trained(recipe, entry.material, folder, seed=seed, device=entry.device, report=self.report)
        learned = self.system(seed, LEARNED)
        if (folder / "score.json").exists():
            score = self.score(seed, name)
            decision = entry.recipes[LEARNED].task.build().decision
            line = line_with(learned.line, gate=gate_of(name, learned.line.glance.size, score.gate))
            return System(line, {label: decision(**given) for label, given in score.decisions.items()}, score.gate)
        self.report.say(f"Tuning seed {seed}, {name}")
        if name == ENERGY_EQUAL:
            kind = entry.yardstick.kind
            share = self.score(seed, LEARNED).frames_open[kind]
            return energy_at_equal_share(self.system(seed, ENERGY), entry.material, kind, share)
        return rival(name, learned, entry.material, entry.recipes[LEARNED], entry.yardstick, seed)

    def smaller_recipe(self, seed: int) -> Recipe:
        """The dense model that takes as long as the learned switch; one size for all seeds, found with the first."""
        entry, path = self.entry, self.output / "smaller.json"
        given = [*entry.given, ("switch", "surnn.Open")]
        if not path.exists():
            learned = self.system(seed, LEARNED)
            chosen = [r for r in entry.material.test if entry.yardstick.kind in ("", r.kind)][:1]
            decode = self._decoder(learned)
            overrides, ratio = equal_time(
                entry.path,
                given,
                len(entry.material.labels),
                lambda: seconds_of_walk(learned.line, chosen, decode),
                lambda line: seconds_of_walk(line, chosen, decode),
            )
            self.report.say(f"{SMALLER}: {dict(overrides)} takes {ratio:.2f} times as long as the {LEARNED}")
            write_atomic(path, json.dumps({"keys": overrides, "time_ratio": ratio}) + "\n")
        return load_recipe(entry.path, [*given, *map(tuple, json.loads(path.read_text())["keys"])])

    def times(self, seed: int, num_files: int) -> dict[str, dict[str, float]]:
        """The keys of docs/metrics.md on cost, per system, from path to events of whole files; systems take turns."""
        path = self.output / "times.json"
        if path.exists():
            return {name: _numbers(work) for name, work in json.loads(path.read_text()).items()}
        chosen = list(first_of_each_kind(self.entry.material.test, num_files))
        systems = {name: self.system(seed, name) for name in self.entry.names}
        visits: dict[str, list[Any]] = {name: [] for name in systems}
        for place, recording in enumerate([chosen[0], *self.report.track(chosen, "timing", unit="recordings")]):
            for name, system in systems.items():
                walked = visit(system.line, recording, self._decoder(system))
                visits[name] += [walked] if place else []  # the first round loads what later ones find ready
        work = {name: work_metrics(work_of(walked, chosen)) for name, walked in visits.items()}
        write_atomic(path, json.dumps(plain(work), indent=1) + "\n")
        return work

    def _decoder(self, system: System) -> functools.partial[object]:
        return functools.partial(decoded, system, self.entry)

    def _folder(self, seed: int, name: str) -> Path:
        return self.output / f"seed-{seed}" / name.replace("...", ENERGY).replace(" ", "-")


def decoded(system: System, entry: Entry, track: Track) -> object:
    """The events of a track, as the task decodes them."""
    task = entry.recipes[LEARNED].task.build()
    return task.decode(track.held, track.grid, track.seconds, entry.material.labels, system.decisions)


def scored(system: System, entry: Entry) -> Score:
    """Walk over the cached frames of all test recordings."""
    material, kind = entry.material, entry.yardstick.kind
    tracks = tracks_of_test(system, material)
    opened: dict[str, list[torch.Tensor]] = {}
    for track, recording in zip(tracks, material.test, strict=True):
        for name in {"", recording.kind}:
            opened.setdefault(name, []).append(track.is_open)
    pairs = [(t, r) for t, r in zip(tracks, material.test, strict=True) if kind in ("", r.kind)]
    recordings = [recording for _, recording in pairs]
    figures = entry.yardstick.measure([t for t, _ in pairs], recordings, material.labels, system.decisions)
    return Score(
        {kind: float(torch.cat(parts).float().mean()) for kind, parts in opened.items()},
        figures,
        sum(track.seconds for track, _ in pairs) / 3600,
        sum(event.label in material.labels for recording in recordings for event in recording.events),
        system.gate,
        {label: decision._asdict() for label, decision in system.decisions.items()},
    )


def score_of(kept: dict[str, Any]) -> Score:
    """A score as it was written."""
    figures = {
        name: Draws(_number(value), tuple(map(_number, resampled)), tuple(units))
        for name, (value, resampled, units) in ((n, (f["value"], f["resampled"], f["units"])) for n, f in
                                                kept["figures"].items())
    }  # fmt: skip
    return Score(**{**kept, "figures": figures})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: _number(value) for name, value in values.items()}


def first_of_each_kind(recordings: Sequence[Recording], number: int) -> Iterator[Recording]:
    """So many recordings of each kind."""
    for kind in dict.fromkeys(recording.kind for recording in recordings):
        yield from [recording for recording in recordings if recording.kind == kind][:number]


def recipes_of(path: str, given: Sequence[tuple[str, str]], hours: Mapping[str, float]) -> dict[str, Recipe]:
    """The recipe of the learned switch, of its dense twin, and the one whose test recordings are walked.

    A staged corpus gets one of its own for the test, which leaves the training recordings, and their cached frames, as
    pipelines.run has them. Of any other corpus the test split is taken.
    """
    learned = load_recipe(path, given)
    if learned.switch.load() is not EventGate:
        raise UsageError(f"{path}: switch is {learned.switch.class_path}; this compares a surnn.EventGate")
    tested = "{" + ", ".join(f"{kind}: {number}" for kind, number in hours.items()) + "}"
    corpus = [("corpus.init_args.train_hours", "{}"), ("corpus.init_args.validation_hours", "{}")]
    test = [*corpus, ("corpus.init_args.test_hours", tested)] if is_staged(learned) else []
    return {
        LEARNED: learned,
        DENSE: load_recipe(path, [*given, ("switch", "surnn.Open")]),
        "test": load_recipe(path, [*given, *test]),
    }


def is_staged(recipe: Recipe) -> bool:
    """Whether its corpus makes as many hours of test recordings, of named kinds, as one likes."""
    return "test_hours" in recipe.corpus.init_args


def refuse_another(output: Path, facts: Mapping[str, Any]) -> None:
    """Note what a contest compares, or check that what lies in its folder is of the same one.

    Raises:
        UsageError: if it is not.
    """
    path, facts = output / "contest.json", json.loads(json.dumps(plain(facts)))
    if not path.exists():
        output.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(facts, indent=1) + "\n")
    elif (kept := json.loads(path.read_text())) != facts:
        changed = [name for name in facts if kept.get(name) != facts[name]]
        raise UsageError(f"{output} holds a contest with another {', '.join(changed)}; choose another --output")


def common_options(parser: argparse.ArgumentParser) -> None:
    """What every contest is told."""
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of training (default: 0 1 2)")
    add("--corpus-seed", type=int, default=0, help="of the test recordings (default: %(default)s)")
    add("--timed", type=int, default=4, help="files of each kind to time (default: %(default)s)")
    add("--output", type=Path, required=True, metavar="DIR", help="keeps models, scores and results.json")
    add("--cache", type=Path, required=True, metavar="DIR", help="as in pipelines.run")
    add("--device", default="auto", help="to train on, as in pipelines.run")
