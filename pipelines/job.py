"""The main job: prepare a corpus, train, set thresholds, evaluate beside the dense twin, report, save a model."""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from surnn import EventGate

from .console import Progress, Step, seconds_text
from .errors import UserError
from .evaluate import missed_metrics, tune, visit, work_of
from .events import Recording
from .features import ensure_frames, load_frames
from .lessons import Frames
from .line import Line
from .metrics import work_metrics
from .model import Model, build_line, metrics_text
from .recipe import Recipe
from .runfolder import held_alone, write_atomic
from .stage_times import shares_sentence, time_shares
from .summary import card_text, last_lines, write_pages
from .tasks import Judged
from .train import train_line


def run_job(
    recipe: Recipe, *, run_folder: Path, cache: Path, seed: int, device: str, report: Progress
) -> dict[str, float]:
    """Do all that a recipe asks for; returns what metrics.json holds.

    What an interrupted run left in the cache and in the run folder (its last checkpoint) is gone on from.

    Args:
        recipe: complete and checked.
        run_folder: exists; gets metrics.json, plots, report.html and model/.
        cache: corpora and frames, kept between runs.
        seed: of training; the corpus has its own.
        device: "cpu" or "cuda:N", for training; evaluation times one CPU thread.
        report: lines and bars.
    """
    torch.set_num_threads(1)  # with two, small products stall as soon as anything else runs; times are of one core
    corpus, task = recipe.corpus.build(), recipe.task.build()
    labels: tuple[str, ...] = corpus.labels
    torch.manual_seed(seed)
    line = build_line(recipe, len(labels))  # before the long work: what does not fit together is told at once
    recordings = stage_corpus(recipe, corpus, cache, report)
    splits = {split: [r for r in recordings if r.split == split] for split in ("train", "validation", "test")}
    for split, members in splits.items():
        if not members:
            raise UserError(f"the corpus has no recordings in its {split} split; all three splits are needed")
    cached = cached_frames([splits["train"], splits["validation"]], recipe, cache, report)
    with report.step("loading features"):
        train, validation = (load_frames(members, paths, recipe, task, labels) for members, paths in cached)
        fit_statistics(line, train)
    begun = time.monotonic()
    history = train_line(
        line, train, recipe.train, folder=run_folder / "checkpoints", seed=seed, device=device, progress=report
    )
    training_seconds = time.monotonic() - begun
    del train

    with report.step("setting thresholds"):
        tuning = tune(line, validation, splits["validation"], labels, recipe.evaluate, task)
    model = Model(recipe, line, labels, tuning.decisions)
    test = splits["test"]
    visit(line, test[0], model.decode)  # a first walk loads and warms what the later ones find ready
    visits = [visit(line, recording, model.decode) for recording in report.track(test, "evaluating", unit="recordings")]
    judged = Judged(test, [v.track for v in visits], [v.dense_track for v in visits], labels, tuning)
    metrics: dict[str, float] = (
        task.metrics(judged) | work_metrics(work_of(visits, test)) | missed_metrics(model, judged)
    )
    shares = time_shares(model, test)
    metrics |= shares | {"training_seconds": training_seconds, "seed": float(seed)}
    model.metrics = metrics
    model.card = card_text(model, corpus)
    model.save(run_folder / "model")
    write_atomic(run_folder / "metrics.json", metrics_text(metrics))
    with report.step("report"):
        write_pages(run_folder, model, history, judged)
    report.say(shares_sentence(shares))
    for sentence in last_lines(model, list(dict.fromkeys(r.kind for r in test)), run_folder / "model"):
        report.say(sentence)
    return metrics


def stage_corpus(recipe: Recipe, corpus: Any, cache: Path, report: Progress) -> list[Recording]:
    """The corpus's recordings, staged below the cache or found there."""
    begun = time.monotonic()
    folder = cache / "corpora"
    folder.mkdir(parents=True, exist_ok=True)
    with held_alone(folder, "--cache"), _steps(report) as show:
        recordings: list[Recording] = corpus.prepare(folder, seed=0, progress=show)
        staged = bool(show.steps)
    how = f"staged in {seconds_text(time.monotonic() - begun)}" if staged else "reused from the cache"
    report.say(f"Corpus {recipe.corpus.class_path}: {len(recordings)} recordings, {how}")
    return recordings


def cached_frames(
    splits: Sequence[Sequence[Recording]], recipe: Recipe, cache: Path, report: Progress
) -> list[tuple[Sequence[Recording], Sequence[Path]]]:
    """Where glance and features of every recording of some splits are cached; computes what is missing."""
    begun = time.monotonic()
    recordings = [recording for split in splits for recording in split]
    with _steps(report) as show:
        paths = dict(zip(recordings, ensure_frames(recordings, recipe, cache, report=show), strict=True))
        computed = bool(show.steps)
    how = f"computed in {seconds_text(time.monotonic() - begun)}" if computed else "reused from the cache"
    report.say(f"Features of {len(recordings)} recordings to train and tune with: {how}")
    return [(split, [paths[recording] for recording in split]) for split in splits]


def fit_statistics(line: Line, frames: Frames) -> None:
    """Fix the normalisation of switch, featurizer and encoder by the training split."""
    glance = frames.glance[::5].float()
    if not line.trains_featurizer:
        features = frames.features[::5].float()
        line.encoder.set_statistics(features.mean(0), features.std(0))
    fit = getattr(line.featurizer, "fit", None)
    if line.trains_featurizer and fit is not None:
        material = frames.glance if line.featurizer.needs.reads == "glance" else frames.features
        length = min(250 if material.ndim == 2 else 20, len(material))
        whole = material[: len(material) // length * length]
        stretches = whole.view(-1, length, *material.shape[1:])
        fit(stretches[:: math.ceil(len(stretches) / 64)])
    if isinstance(line.gate, EventGate):
        line.gate.set_statistics(glance.mean(0), glance.std(0).clamp_min(1e-3))


class _Steps:
    """Bars one after the other, told by name, done and total; a new name ends the one before."""

    def __init__(self, report: Progress, stack: contextlib.ExitStack) -> None:
        self.report, self.stack = report, stack
        self.steps: dict[str, tuple[Step, int]] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self.steps:
            self.stack.close()
            self.steps[what] = (self.stack.enter_context(self.report.step(what, total)), 0)
        step, before = self.steps[what]
        step.advance(done - before)
        self.steps[what] = (step, done)


@contextlib.contextmanager
def _steps(report: Progress) -> Iterator[_Steps]:
    with contextlib.ExitStack() as stack:
        yield _Steps(report, stack)
