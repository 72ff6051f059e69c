"""What not decoding saves in long video, from file to scores: python -m benchmarks.video_speed MODEL [FILE...]

Without FILE it stages recordings of 640 x 480, a key frame every 2 s, with actions in at most 8 % of the time. The
switch is the model's; the featurizer its own, and again torchvision's ResNet-18 with random weights, which costs what
trained ones cost. Beside them: every picture decoded and nothing done, and packets with the glance alone (the floor).
One thread; medians of --runs walks through all files.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import torch

import pipelines
from benchmarks.report import machine_line, table
from benchmarks.timing import line_with
from featurizers import Featurizer, TorchvisionImage
from pipelines.corpora import StagedActions
from pipelines.encoder import Encoder
from pipelines.errors import UserError
from pipelines.heads import LevelDecay
from pipelines.line import Line
from surnn import Gate, Open


class Figures(NamedTuple):
    """What one way through all files took and did.

    Args:
        seconds: median of the runs.
        frames_open: share of the frames.
        pictures_decoded: share of the pictures.
    """

    seconds: float
    frames_open: float
    pictures_decoded: float


def decode_only(files: Sequence[Path]) -> Figures:
    """Every picture decoded by FFmpeg, nothing else done."""
    for path in files:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_count = 1
            for _ in container.decode(video=0):
                pass
    return Figures(0.0, 0.0, 1.0)


def walk(line: Line, files: Sequence[Path], gate: Gate | None) -> Figures:
    """From file to scores."""
    open_frames = frames = decoded = pictures = 0
    for path in files:
        with line.open(path) as stream:
            track = line.follow(stream, gate=gate)
        open_frames, frames = open_frames + int(track.is_open.sum()), frames + track.is_open.numel()
        decoded, pictures = decoded + track.pictures.decoded, pictures + track.pictures.read
    return Figures(0.0, open_frames / frames, decoded / pictures)


def floor(line: Line, files: Sequence[Path]) -> Figures:
    """Packets and glance."""
    for path in files:
        with line.open(path) as stream:
            line.glance_only(stream)
    return Figures(0.0, 0.0, 0.0)


def with_backbone(line: Line, width: int, height: int) -> Line:
    """The same glance and switch before a ResNet-18, with an encoder of the same width that fits it."""
    backbone: Featurizer = TorchvisionImage(line.grid, name="resnet18", weights=None, width=width, height=height)
    changed: Any = line_with(line, featurizer=backbone)
    changed.encoder = Encoder(backbone.size, 96)
    changed.head = LevelDecay(changed.encoder.size, line.head.num_labels)
    ready: Line = changed.eval()
    return ready


def measure(ways: dict[str, Callable[[], Figures]], num_runs: int) -> dict[str, Figures]:
    """All ways in turn, so many times; medians."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, Figures] = {}
    for _ in range(num_runs):
        for name, way in ways.items():
            started = time.perf_counter()
            answers[name] = way()
            taken[name].append(time.perf_counter() - started)
    return {name: answers[name]._replace(seconds=statistics.median(taken[name])) for name in ways}


def staged(folder: Path, minutes: float) -> list[Path]:
    """Sparse recordings of 640 x 480."""
    corpus = StagedActions(
        train_minutes={},
        validation_minutes={},
        test_minutes={"sparse": minutes},
        num_clips={},
        width=640,
        height=480,
    )
    return [recording.source for recording in corpus.prepare(folder, seed=1)]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.video_speed")
    parser.add_argument("model", help="folder of a video model")
    parser.add_argument("files", nargs="*", type=Path, help="videos; none: some are staged")
    parser.add_argument("--minutes", type=float, default=8.0, help="of staged recordings (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="walks of each way (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="side of the ResNet's pictures (default: %(default)s)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    try:
        line = pipelines.load(options.model).line
        if not line.is_video:
            raise UserError(f"{options.model} reads sound; give a model of recipes/actions.yaml")
        with tempfile.TemporaryDirectory() as folder:
            files = options.files or staged(Path(folder), options.minutes)
            dear, everything = with_backbone(line, options.size, options.size), Open(line.glance.size)
            ways = {
                "decode everything, do nothing": lambda: decode_only(files),
                "packets and glance (floor)": lambda: floor(line, files),
                "own featurizer, switch": lambda: walk(line, files, None),
                "own featurizer, open": lambda: walk(line, files, everything),
                "ResNet-18, switch": lambda: walk(dear, files, None),
                "ResNet-18, open": lambda: walk(dear, files, everything),
            }
            found = measure(ways, options.runs)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(files)} files; {machine_line()}")
    decode = found["decode everything, do nothing"].seconds
    rows = [
        [
            name,
            f"{each.seconds:.2f}",
            f"{each.seconds / decode:.3f}",
            f"{each.frames_open:.1%}",
            f"{each.pictures_decoded:.1%}",
        ]
        for name, each in found.items()
    ]
    print(table(["", "seconds", "of decoding", "frames open", "pictures decoded"], rows))
    for name in ("own featurizer", "ResNet-18"):
        switch, opened, least = found[f"{name}, switch"], found[f"{name}, open"], found["packets and glance (floor)"]
        could = (1 - switch.frames_open) * (opened.seconds - least.seconds)
        print(
            f"{name}: {opened.seconds / switch.seconds:.1f} times faster than everything open, "
            f"{decode / switch.seconds:.1f} times faster than decoding alone, "
            f"saved_share {(opened.seconds - switch.seconds) / could:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
