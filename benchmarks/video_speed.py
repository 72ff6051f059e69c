"""What not decoding saves in long video, from file to scores: python -m benchmarks.video_speed MODEL [FILE...]

Without FILE it renders its own, by --material: "sparse" recordings of 640 x 480, a key frame every 2 s, with actions in
at most 8 % of the time; the same of 1080 "lines"; "keys", the same with key frames 0.5 to 10 s apart; a "still" camera
with one short event in ten minutes, quiet and grainy. The switch is the model's; the featurizer its own, and again
torchvision's ResNet-18 with random weights, which costs what trained ones cost. Beside them: every picture decoded and
nothing done, and packets with the glance alone (the floor). One thread; medians of --runs walks through all files.
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
from benchmarks.video_decoding import make_video
from benchmarks.video_material import material
from featurizers import Featurizer, TorchvisionImage
from pipelines.encoder import Encoder
from pipelines.errors import UserError
from pipelines.heads import LevelDecay
from pipelines.line import Line
from surnn import Gate, Open

MATERIAL = ("sparse", "still", "lines", "keys")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Figures(NamedTuple):
    """What one way through all files took and did.

    Args:
        seconds: median of the runs.
        pictures_decoded: share of the pictures.
        frames_featurized: share of the frames; short gaps between open ones are featurized, too.
        frames_open: share of the frames: those that are encoded.
    """

    seconds: float = 0.0
    pictures_decoded: float = 0.0
    frames_featurized: float = 0.0
    frames_open: float = 0.0


def decode_only(files: Sequence[Path]) -> Figures:
    """Every picture decoded by FFmpeg, nothing else done."""
    for path in files:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_count = 1
            for _ in container.decode(video=0):
                pass
    return Figures(pictures_decoded=1.0)


def walk(line: Line, files: Sequence[Path], gate: Gate | None) -> Figures:
    """From file to scores."""
    open_frames = featurized = frames = decoded = pictures = 0
    for path in files:
        with line.open(path) as stream:
            track = line.follow(stream, gate=gate)
        open_frames, frames = open_frames + int(track.is_open.sum()), frames + track.is_open.numel()
        featurized += track.frames_featurized
        decoded, pictures = decoded + track.pictures.decoded, pictures + track.pictures.read
    return Figures(0.0, decoded / pictures, featurized / frames, open_frames / frames)


def floor(line: Line, files: Sequence[Path]) -> Figures:
    """Packets and glance."""
    for path in files:
        with line.open(path) as stream:
            line.glance_only(stream)
    return Figures()


def with_backbone(line: Line, width: int, height: int) -> Line:
    """The same glance and switch before a ResNet-18, with an encoder of the same width that fits it."""
    backbone: Featurizer = TorchvisionImage(line.grid, name="resnet18", weights=None, width=width, height=height)
    changed: Any = line_with(line, featurizer=backbone)
    changed.encoder = Encoder(backbone.size, 96)
    changed.head = LevelDecay(changed.encoder.size, line.head.num_labels)
    ready: Line = changed.eval()
    return ready


def measure(
    ways: dict[str, Callable[[], Figures]], num_runs: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Figures]:
    """All ways in turn, so many times; medians."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, Figures] = {}
    for _ in range(num_runs):
        for name, way in ways.items():
            started = clock()
            answers[name] = way()
            taken[name].append(clock() - started)
    return {name: answers[name]._replace(seconds=statistics.median(taken[name])) for name in ways}


def ways_of(line: Line, dear: Line, files: Sequence[Path]) -> dict[str, Callable[[], Figures]]:
    """All that is timed; `dear` is the line before a ResNet-18."""
    everything = Open(line.glance.size)
    return {
        "decode everything, do nothing": lambda: decode_only(files),
        "packets and glance (floor)": lambda: floor(line, files),
        "own featurizer, switch": lambda: walk(line, files, None),
        "own featurizer, open": lambda: walk(line, files, everything),
        "ResNet-18, switch": lambda: walk(dear, files, None),
        "ResNet-18, open": lambda: walk(dear, files, everything),
    }


def warm_up(*lines: Line) -> None:
    """Walk over two seconds that do not count: kernels are compiled, and libraries loaded, at first use."""
    with tempfile.TemporaryDirectory() as folder:
        path = make_video(Path(folder) / "short.mp4", 64, 48, 2.0)
        for line in lines:
            for gate in (None, Open(line.glance.size)):
                walk(line, [path], gate)


def told(found: dict[str, Figures]) -> str:
    """The table of one material, and what follows from it."""
    decode, least = found["decode everything, do nothing"].seconds, found["packets and glance (floor)"].seconds
    rows = [
        [name, f"{each.seconds:.2f}", f"{each.seconds / decode:.3f}", *(f"{share:.1%}" for share in each[1:])]
        for name, each in found.items()
    ]
    lines = [table(["", "seconds", "of decoding", "decoded", "featurized", "encoded"], rows)]
    for name in ("own featurizer", "ResNet-18"):
        if f"{name}, open" in found:
            switch, opened = found[f"{name}, switch"], found[f"{name}, open"]
            could = (1 - switch.frames_open) * (opened.seconds - least)
            lines.append(
                f"{name}: {opened.seconds / switch.seconds:.1f} times faster than everything open, "
                f"{decode / switch.seconds:.1f} times faster than decoding alone, "
                f"saved_share {(opened.seconds - switch.seconds) / could:.2f}"
            )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.video_speed")
    parser.add_argument("model", help="folder of a video model")
    parser.add_argument("files", nargs="*", type=Path, help="videos; none: some are rendered")
    parser.add_argument("--material", nargs="+", choices=MATERIAL, default=["sparse"], help="(default: sparse)")
    parser.add_argument("--minutes", type=float, default=8.0, help="of sparse recordings (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="walks of each way (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="side of the ResNet's pictures (default: %(default)s)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: of this process, on a busy machine")
    parser.add_argument("--without-resnet", action="store_true", help="leave the ResNet-18 out")
    parser.add_argument("--keep", type=Path, help="folder for what is rendered; none: it is thrown away")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    try:
        line = pipelines.load(options.model).line
        if not line.is_video:
            raise UserError(f"{options.model} reads sound; give a model of recipes/actions.yaml")
        dear = with_backbone(line, options.size, options.size)
        warm_up(line, *([] if options.without_resnet else [dear]))
        print(machine_line())
        with tempfile.TemporaryDirectory() as folder:
            for section in ["files"] if options.files else options.material:
                kept = options.keep or Path(folder)
                rows = {"files": options.files} if options.files else material(section, kept, options.minutes)
                for name, files in rows.items():
                    ways = ways_of(line, dear, files)
                    if options.without_resnet:
                        ways = {way: walked for way, walked in ways.items() if not way.startswith("ResNet")}
                    print(
                        f"\n{name}: {len(files)} files\n{told(measure(ways, options.runs, CLOCKS[options.clock]))}",
                        flush=True,
                    )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
