"""What decoding only what is wanted saves, against decoding everything: python -m benchmarks.video_decoding FILE...

Without FILE it makes two videos of moving content, 640 x 480 and 1920 x 1080, H.264, a key frame every 2 s, and
measures those. One thread; every figure is the median of --runs runs, and a ratio to "decode": every picture decoded,
nothing else done. The ways: packets alone; decode and a thumbnail of each picture; and the decode plan, with
thumbnails, when a share of the pictures is wanted, in spans spread evenly over the video.

Measured on a busy AMD EPYC, 2 cores, 640 x 480, 60 s at 25 Hz, 7 runs, as ratios to "decode" (3.50 s):

    packets alone 0.017    decode and thumbnail 1.10
    plan, with a share wanted of    1 %    5 %    10 %   20 %   50 %
                                    0.034  0.082  0.167  0.383  0.798

Scaling, one 64 x 48 picture out of 640 x 480 (which decodes in 0.76 ms), by libswscale's flags; what is left, as
standard deviation of 0 to 255, of fine stripes (3 pixels; 0 is right) and of noise of 40 (4 is the mean of 10 x 10):

    flag             gray       rgb        stripes   noise
    point            0.016 ms   0.034 ms      70.7    40.7
    fast_bilinear    0.017 ms   0.040 ms      40.4    23.8
    area             0.051 ms   0.110 ms       0.3     3.9    the choice: no aliasing, and faster than bilinear
    bilinear         0.062 ms   0.141 ms       0.0     2.6
    bicubic          0.084 ms   0.201 ms       0.1     3.3
"""

import argparse
import itertools
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from benchmarks.report import machine_line, table
from featurizers.grid import PictureFormat
from featurizers.media import MediaError
from featurizers.video import open_video

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
THUMBNAIL = PictureFormat(64, 48, "gray")
SPAN_SECONDS = 4.0
RATE_HZ, KEY_SECONDS = 25, 2.0


def make_video(path: Path, width: int, height: int, seconds: float) -> Path:
    """Textured squares that wander over a slope with camera noise, H.264 as x264 makes it by default."""
    generator = np.random.default_rng(0)
    texture = generator.integers(0, 255, (4, height // 6, height // 6, 3), dtype=np.uint8)
    slope = np.linspace(30, 190, width)[None, :, None] + np.zeros((height, 1, 3))
    noise = generator.normal(0, 3, (8, height, width, 1))
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE_HZ)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"g": str(round(RATE_HZ * KEY_SECONDS)), "preset": "medium", "crf": "23"}
        for number in range(round(seconds * RATE_HZ)):
            picture = (slope + noise[number % 8]).astype(np.uint8)
            for which, part in enumerate(texture):
                top = round((0.5 + 0.45 * math.sin(number / (17 + which))) * (height - len(part)))
                left = round((0.5 + 0.45 * math.cos(number / (23 + 3 * which))) * (width - len(part)))
                picture[top : top + len(part), left : left + len(part)] = part
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def decode_all(path: Path) -> int:
    """Every picture decoded by a plain loop, and nothing else."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def thumbnails(path: Path, spans: Sequence[Tensor]) -> int:
    """The decode plan: a thumbnail at each time of each span; pictures decoded."""
    with open_video(path) as stream:
        for times in spans:
            stream.pictures(times, THUMBNAIL)
            stream.forget(float(times[-1]))
        stream.read_until(math.inf)
        return stream.pictures_decoded


def packets_alone(path: Path) -> int:
    """Times, bytes and key frames of everything; nothing decoded."""
    with open_video(path) as stream:
        stream.read_until(math.inf)
        return len(stream.packets(-math.inf, math.inf).times)


def spans_of(times: Tensor, share: float) -> list[Tensor]:
    """This share of a video's picture times, in spans of at most 4 s, spread evenly."""
    if share == 1.0:
        return [times[first : first + 256] for first in range(0, len(times), 256)]
    wanted = max(round(share * len(times)), 1)
    seconds = float(times[-1] - times[0])
    num_spans = max(math.ceil(share * seconds / SPAN_SECONDS), 1)
    edges = [round(number * wanted / num_spans) for number in range(num_spans + 1)]
    spans = []
    for number, (first, last) in enumerate(itertools.pairwise(edges)):
        begin = round((number + 0.5) * len(times) / num_spans - (last - first) / 2)
        spans.append(times[begin : begin + last - first])
    return spans


def measure(path: Path, num_runs: int) -> tuple[Mapping[str, float], Mapping[str, int]]:
    """Median seconds and pictures decoded (packets: read) of every way; the ways take turns."""
    with open_video(path) as stream:
        stream.read_until(math.inf)
        times = stream.packets(-math.inf, math.inf).times
    ways: dict[str, Callable[[], int]] = {
        "decode": lambda: decode_all(path),
        "packets alone": lambda: packets_alone(path),
    }
    for share in SHARES:
        spans = spans_of(times, share)
        name = "decode and thumbnail" if share == 1.0 else f"plan, {share:.0%} wanted"
        ways[name] = lambda spans=spans: thumbnails(path, spans)  # type: ignore[misc]
    taken: dict[str, list[float]] = {name: [] for name in ways}
    counts: dict[str, int] = {}
    for number in range(num_runs + 1):  # the first does not count
        for name, way in ways.items():
            begun = time.perf_counter()
            counts[name] = way()
            if number:
                taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}, counts


def print_measured(path: Path, num_runs: int) -> None:
    """One table per file."""
    seconds, counts = measure(path, num_runs)
    rows = [
        [
            name,
            str(counts[name]),
            f"{value:.3f} s",
            f"{value / seconds['decode']:.3f}",
            f"{seconds['decode'] / value:.1f}",
        ]
        for name, value in seconds.items()
    ]
    print(f"{path.name}: medians of {num_runs} runs, one thread")
    print(table(["way", "pictures", "time", "ratio to decode", "times faster"], rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.video_decoding", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="videos; none: two are made")
    parser.add_argument("--runs", type=int, default=7, help="timed runs of each way (default: 7)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the videos made (default: 60)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    print(machine_line())
    try:
        for path in options.files:
            print_measured(path, options.runs)
    except MediaError as error:
        print(error, file=sys.stderr)
        return 1
    if not options.files:
        with tempfile.TemporaryDirectory() as folder:
            for width, height in ((640, 480), (1920, 1080)):
                print_measured(
                    make_video(Path(folder) / f"{width}x{height}.mp4", width, height, options.seconds), options.runs
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
