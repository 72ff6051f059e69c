"""What a run will take, measured on a few seconds of noise: time for features and training, disk and memory."""

import dataclasses
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

from featurizers import array_blocks, write_audio

from .check_data import Facts
from .console import Progress, seconds_text
from .job import fit_statistics
from .lessons import Frames
from .line import Line
from .recipe import Recipe
from .runfolder import write_atomic
from .train import train_line

NOISE_SECONDS = 8.0
MOST_MEASURED_SECONDS = 8.0  # a step longer than this is not repeated
STAGED_BYTES_PER_SECOND = 24_000  # 16 kHz FLAC of noisy sound, about three quarters of its 16 bits
FEATURE_WORKERS = 2
WALKS = 3  # of a recording that is judged: with the switch, with everything open, and the floor


class Cost(NamedTuple):
    """What to expect.

    Args:
        lines: to show.
        errors: a run would fail for these.
        warnings: a run might.
    """

    lines: list[str]
    errors: list[str]
    warnings: list[str]


def cost_of(
    recipe: Recipe, line: Line, facts: Facts, cache: Path, device: str, *, stages: bool, report: Progress
) -> Cost:
    """Time and disk of a run on this data.

    Args:
        recipe, line: what would be trained.
        facts: of the data: hours and recordings of each split.
        cache: where corpus and features would be kept.
        device: "cpu" or "cuda:N", for training.
        stages: whether the corpus writes its recordings into the cache first.
        report: shows what is being measured.
    """
    if line.is_video:
        return Cost(["Disk, time  not known before the first recordings: they depend on the videos"], [], [])
    hours, numbers = facts.hours, facts.num_recordings
    prepared = (hours["train"] + hours["validation"]) * 3600
    frame_bytes = 2 * (line.glance.size + (0 if line.trains_featurizer else line.featurizer.size))
    frames_bytes = prepared / line.grid.hop_seconds * frame_bytes
    disk = frames_bytes + (sum(hours.values()) * 3600 * STAGED_BYTES_PER_SECOND if stages else 0.0)
    free = shutil.disk_usage(_existing(cache)).free
    lines = [f"Disk     about {_bytes(disk)} in the cache {cache}, of {_bytes(free)} free"]
    errors, warnings = [], []
    if disk > free:
        errors.append(
            f"the cache needs about {_bytes(disk)}, and {cache} has {_bytes(free)} free; free some space, or choose "
            "another --cache"
        )
    memory = _free_memory()
    if memory is not None:
        lines.append(f"Memory   about {_bytes(frames_bytes)} of features while training, of {_bytes(memory)} free")
        if frames_bytes > 0.9 * memory:
            warnings.append(
                f"features take about {_bytes(frames_bytes)} of memory, and {_bytes(memory)} are free; fewer hours, or "
                "a longer grid.hop_seconds"
            )
    with report.step("measuring on noise"):
        features, per_second = _feature_time(line)
        per_recording, per_file = _fixed_times(line, _existing(cache))
        per_step = _step_time(recipe, line, features, device)
    crop_seconds = recipe.train.crop_seconds * recipe.train.batch_size
    num_steps = recipe.train.max_epochs * max(1, int(hours["train"] * 3600 / crop_seconds))
    num_prepared = numbers.get("train", 0) + numbers.get("validation", 0)
    parts = {
        "features": (prepared * per_second + num_prepared * (per_recording + per_file)) / FEATURE_WORKERS,
        f"training, {num_steps:,} steps": num_steps * per_step,
        "judging": WALKS * (hours["test"] * 3600 * per_second + numbers.get("test", 0) * per_recording),
    }
    told = "; ".join(f"{what} {seconds_text(seconds)}" for what, seconds in parts.items())
    lines.append(f"Time     about {seconds_text(sum(parts.values()))} ({told}), as busy as this machine is now")
    if stages:
        lines.append("         and before that, at the first run, the time to compute the corpus")
    return Cost(lines, errors, warnings)


def _feature_time(line: Line) -> tuple[Frames, float]:
    """Frames of some noise, and how long a second of it took."""
    rate_hz = line.rate_hz
    noise = 0.1 * torch.randn(round(NOISE_SECONDS * rate_hz), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        line.all_frames(array_blocks(noise[:rate_hz], rate_hz, rate_hz))  # loads what later calls find ready
        begun = time.perf_counter()
        glance, features = line.all_frames(array_blocks(noise, rate_hz, rate_hz))
        took = time.perf_counter() - begun
    num_frames, num_labels = len(glance), line.head.num_labels
    nothing = torch.zeros(num_frames, num_labels, dtype=torch.bool)
    frames = Frames(
        glance.half(),
        features.half(),
        nothing,
        ~nothing,
        torch.zeros(num_frames, dtype=torch.bool),
        torch.tensor([num_frames]),
        (0.0,),
    )
    return frames, took / NOISE_SECONDS


def _fixed_times(line: Line, folder: Path) -> tuple[float, float]:
    """What a recording takes however short it is, and a file in the cache: seconds of opening, seconds of writing."""
    rate_hz = line.rate_hz
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        path, times = Path(inside) / "noise.flac", []
        write_audio(path, torch.zeros(rate_hz // 10), rate_hz)
        for number in range(5):
            begun = time.perf_counter()
            with torch.inference_mode(), line.open(path) as stream:
                line.all_frames(stream)
            opened = time.perf_counter()
            write_atomic(Path(inside) / str(number), bytes(1000))
            times.append((opened - begun, time.perf_counter() - opened))
    opening, writing = (statistics.median(column) for column in zip(*times, strict=True))
    return opening, writing


def _step_time(recipe: Recipe, line: Line, frames: Frames, device: str) -> float:
    """Seconds of a training step: what two more steps take, so that the beginning does not count."""
    options = dataclasses.replace(recipe.train, max_epochs=1, straight_through_epochs=0, hard_epochs=0, guide_steps=0)
    crop_frames = round(options.crop_seconds / line.grid.hop_seconds) * options.batch_size
    fit_statistics(line, frames)

    def took(num_steps: int) -> float:
        times = -(-num_steps * crop_frames // len(frames.glance))
        columns = [name for name in Frames._fields if name not in ("starts_seconds", "clips")]
        repeated = {name: torch.cat([getattr(frames, name)] * times) for name in columns}
        many = Frames(**repeated, starts_seconds=frames.starts_seconds * times)
        with tempfile.TemporaryDirectory() as folder:
            line.train()
            begun = time.perf_counter()
            train_line(line, many, options, folder=Path(folder), seed=0, device=device, progress=Progress(quiet=True))
            return time.perf_counter() - begun

    took(1)  # torch compiles and allocates at the first step
    first = took(1)
    return first if first > MOST_MEASURED_SECONDS else max(0.0, (took(3) - first) / 2)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.absolute().parent
    return path


def _free_memory() -> int | None:
    """Bytes of memory that are free, where the system tells."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _bytes(number: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number / 1e3:.0f} kB"
