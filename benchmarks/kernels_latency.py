"""What a block of a stream takes, from frames to held states: python -m benchmarks.kernels_latency [--json FILE]."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.report import machine, machine_line, plain, table
from pipelines.runfolder import write_atomic
from surnn import SuGRU, Switch

HOP_SECONDS, INPUT_SIZE = 0.01, 64
BLOCK_SECONDS = (0.02, 0.08, 0.20)
OPENS = {"closed": 0.0, "10 % open": 0.1, "open": 1.0}


class Latency(NamedTuple):
    """Blocks of one length.

    Args:
        who: "surnn" or "torch".
        opens: share of frames that are open, in words; torch computes all of them.
        block_seconds, num_blocks: what was run.
        median_us, late_us, last_us: microseconds for a block: median, 99.9th percentile, longest.
        growth_bytes: of the memory of the process, from the first tenth of the blocks to the end.
    """

    who: str
    opens: str
    block_seconds: float
    num_blocks: int
    median_us: float
    late_us: float
    last_us: float
    growth_bytes: int


@torch.inference_mode()
def measure(who: str, opens: str, block_seconds: float, *, num_blocks: int, hidden_size: int) -> Latency:
    """Run a stream block by block, the state carried."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.inference_mode(False):
        dense = nn.GRU(INPUT_SIZE, hidden_size, batch_first=True).requires_grad_(False)
        layer: Any = SuGRU.from_torch(dense) if who == "surnn" else dense
    num_frames = round(block_seconds / HOP_SECONDS)
    blocks = torch.randn(64, 1, num_frames, INPUT_SIZE)
    is_open = (torch.rand(64, 1, num_frames) < OPENS[opens]).float()
    taken, state, memory = np.zeros(num_blocks), None, 0
    for number in range(-64, num_blocks):  # the first ones do not count
        frames, switch = blocks[number % 64], Switch(is_open[number % 64])
        begun = time.perf_counter()
        _, state = layer(frames, state, switch=switch) if who == "surnn" else layer(frames, state)
        if number >= 0:
            taken[number] = time.perf_counter() - begun
        if number == num_blocks // 10:
            memory = resident_bytes()
    median, late = np.percentile(taken * 1e6, [50, 99.9])
    growth = resident_bytes() - memory
    return Latency(who, opens, block_seconds, num_blocks, float(median), float(late), float(taken.max() * 1e6), growth)


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not say."""
    listing = Path("/proc/self/statm")
    if not listing.is_file():
        return 0
    pages = int(listing.read_text().split()[1])
    return pages * 4096


def latency_table(rows: Sequence[Latency]) -> str:
    """A line per row."""
    head = ["who", "frames", "block", "blocks", "median us", "99.9 % us", "longest us", "memory grown"]
    lines = [
        [
            row.who,
            row.opens,
            f"{row.block_seconds * 1000:.0f} ms",
            f"{row.num_blocks}",
            f"{row.median_us:.0f}",
            f"{row.late_us:.0f}",
            f"{row.last_us:.0f}",
            f"{row.growth_bytes / 1024:.0f} KiB",
        ]
        for row in rows
    ]
    return table(head, lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--hours", type=float, default=1.0, help="of stream for every row (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=128, help="neurons (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    print(machine_line())
    rows = []
    for seconds in BLOCK_SECONDS:
        num_blocks = max(1, round(options.hours * 3600 / seconds))
        for who, opens in (*(("surnn", opens) for opens in OPENS), ("torch", "open")):
            rows.append(measure(who, opens, seconds, num_blocks=num_blocks, hidden_size=options.hidden))
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(latency_table(rows))
    if options.json is not None:
        results = {"machine": machine(), "hidden_size": options.hidden, "hop_seconds": HOP_SECONDS, "rows": rows}
        write_atomic(options.json, json.dumps(plain(results), indent=1, allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
