"""What a model's switch sees in videos before anything is decoded, what it skips and what it misses.

python -m benchmarks.video_glance MODEL FOLDER...

Each folder holds an index.csv (file, label, onset, offset), rows without times only name
files. Per file: bytes of a picture between key frames, middle and largest second (relative to the middle one); shares
of frames opened and of pictures decoded; and of each annotated event the share of its frames that is open.
"""

import argparse
import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import pipelines
from benchmarks.report import table
from benchmarks.video_rivals import follow
from featurizers import open_video
from pipelines.errors import UserError
from pipelines.line import Line, Track


class Noted(NamedTuple):
    """A file of an index, and its events as (label, onset, offset) in seconds from the first picture."""

    path: Path
    events: list[tuple[str, float, float]]


def read_index(folder: Path) -> list[Noted]:
    """The files of a folder's index.csv, in its order.

    Raises:
        UserError: if there is none.
    """
    path = folder / "index.csv"
    if not path.is_file():
        raise UserError(f"{path} is missing; it must name files, and labels with onset and offset where known")
    files: dict[str, Noted] = {}
    with path.open(newline="", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            noted = files.setdefault(row["file"], Noted(folder / row["file"], []))
            if row.get("onset"):
                noted.events.append((row["label"], float(row["onset"]), float(row["offset"])))
    return list(files.values())


def bytes_per_second(path: Path) -> Tensor:
    """(S,) bytes of the pictures that are no key frames, second by second."""
    with open_video(path) as stream:
        stream.read_until(math.inf)
        packets = stream.packets(-math.inf, math.inf)
        seconds = max(1, math.ceil(stream.end_seconds - stream.start_seconds - 1e-6))
        place = (packets.times - stream.start_seconds).floor().long().clamp(0, seconds - 1)
    return torch.zeros(seconds, dtype=torch.int64).index_add(0, place, packets.sizes * ~packets.is_key)


def open_in(track: Track, onset_seconds: float, offset_seconds: float) -> float:
    """Share of the frames within a stretch (seconds from the first picture) that are open."""
    hop = track.grid.hop_seconds
    first, end = math.floor(onset_seconds / hop + 1e-6), math.ceil(offset_seconds / hop - 1e-6)
    return float(track.is_open[first : max(end, first + 1)].float().mean())


def row_of(line: Line, noted: Noted) -> list[str]:
    """One line of the table."""
    track, sizes = follow(line, noted.path), bytes_per_second(noted.path).double()
    usual = float(sizes.median())
    shares = [open_in(track, onset, offset) for _, onset, offset in noted.events]
    found = sum(share > 0 for share in shares)
    return [
        noted.path.name,
        f"{track.seconds:.0f}",
        f"{usual / 1024:.1f}",
        f"{float(sizes.max()) / usual:.1f}" if usual else "",
        f"{float(track.is_open.float().mean()):.0%}",
        f"{track.pictures.decoded / track.pictures.read:.0%}",
        f"{found} of {len(shares)}" if shares else "",
        " ".join(f"{share:.0%}" for share in shares),
    ]


HEAD = ("", "seconds", "KiB/s", "largest", "open", "decoded", "events seen", "open within each")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="python -m benchmarks.video_glance",
    )
    parser.add_argument("model", help="folder of a video model")
    parser.add_argument("folders", nargs="+", type=Path, help="each with an index.csv")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    try:
        line = pipelines.load(options.model).line
        for folder in options.folders:
            rows = [row_of(line, noted) for noted in read_index(folder)]
            print(f"{folder.name}\n{table(HEAD, rows)}\n")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
