"""Frames of a corpus, computed once: glance and frozen features of every recording, in a cache on disk.

A recording's frames are one safetensors file, named by what they depend on: the recording (path, size, time of
change), the grid, glance and featurizer of the recipe, and the version of this project. Written by temporary name and
rename, so an interrupted run goes on where it was.
"""

import hashlib
import importlib.metadata
import json
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from featurizers import Grid, MediaError

from .console import ctrl_c_held_back
from .errors import UserError
from .events import Recording
from .lessons import Frames
from .line import Line
from .model import build_line
from .recipe import Recipe
from .runfolder import write_atomic
from .tasks import Task
from .weak_labels import clips_of

Report = Callable[[str, int, int], None]  # what, done, total

_line: Line | None = None  # one per worker process, built by its initializer


def frames_path(recording: Recording, recipe: Recipe, cache: Path) -> Path:
    """Where the frames of a recording are cached."""
    status = os.stat(recording.source)
    parts = [importlib.metadata.version("surnn-pipelines"), recipe.grid.hop_seconds]
    parts += [str(recording.source.resolve()), status.st_size, status.st_mtime_ns]
    parts += [(c.class_path, c.init_args) for c in (recipe.glance, recipe.featurizer)]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]
    return cache / "frames" / key[:2] / f"{key}.safetensors"


def _start_worker(recipe: Recipe) -> None:
    global _line
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's business
    torch.set_num_threads(1)
    _line = build_line(recipe, 1)


def _compute(source: Path, target: Path) -> None:
    assert _line is not None
    with _line.open(source) as stream:
        glance, features = _line.all_frames(stream)
        start = torch.tensor([stream.start_seconds], dtype=torch.float64)
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = features.half() if features.is_floating_point() else features
    tensors = {"glance": glance.half(), "features": kept, "start_seconds": start}
    write_atomic(target, safetensors.torch.save(tensors))


def ensure_frames(
    recordings: Sequence[Recording], recipe: Recipe, cache: Path, *, workers: int = 2, report: Report
) -> list[Path]:
    """Paths of the cached frames of every recording, in order; computes what is missing in `workers` processes.

    Raises:
        UserError: if a recording cannot be read, the recipe's classes cannot be built, or the disk is full.
    """
    paths = [frames_path(recording, recipe, cache) for recording in recordings]
    todo = [(r.source, path) for r, path in zip(recordings, paths, strict=True) if not path.exists()]
    if not todo:
        return paths
    build_line(recipe, 1)  # here, where a mistake in the recipe can be told; a worker could only die of it
    context = get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(todo)), context, _start_worker, (recipe,))
    try:
        with ctrl_c_held_back():  # this starts the processes
            pending = {pool.submit(_compute, *job) for job in todo}
        report("features", 0, len(todo))
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            report("features", len(todo) - len(pending), len(todo))
    except MediaError as error:
        raise UserError(f"{error}; the corpus lists it: repair it, or take it out") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return paths


def load_frames(
    recordings: Sequence[Recording], paths: Sequence[Path], recipe: Recipe, task: Task, labels: Sequence[str]
) -> Frames:
    """The frames of many recordings with their targets, in memory: 2 bytes for each number of a frame."""
    glances, features, targets, lengths, starts = [], [], [], [], []
    for recording, path in zip(recordings, paths, strict=True):
        try:
            tensors = safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise UserError(f"{path} is damaged ({error}); delete it, and it is computed again") from error
        starts.append(float(tensors["start_seconds"][0]))
        grid = Grid(recipe.grid.hop_seconds, starts[-1])
        glances.append(tensors["glance"])
        features.append(tensors["features"])
        targets.append(task.targets(recording, labels, grid, len(tensors["glance"])))
        lengths.append(len(tensors["glance"]))
    return Frames(
        torch.cat(glances),
        torch.cat(features),
        torch.cat([t.labels for t in targets]).bool(),
        torch.cat([t.weights for t in targets]).bool(),
        torch.cat([t.switch for t in targets]).bool(),
        torch.tensor(lengths),
        tuple(starts),
        clips_of([t.clip for t in targets]),
    )
