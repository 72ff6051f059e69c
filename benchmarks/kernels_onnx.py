"""An exported layer in ONNX Runtime beside our event kernels and the dense operator: python -m benchmarks.kernels_onnx.

All three have the same weights and one stream; the dense operator steps over every frame.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import onnxruntime  # type: ignore[import-untyped]
import torch

from benchmarks.kernels import INPUT_SIZE, Spread, in_turns
from benchmarks.kernels_rivals import LAYERS, Call, onnx_call
from benchmarks.report import machine_line, table
from surnn import Switch, export_onnx
from surnn.layer import SuLayer


class Row(NamedTuple):
    """One cell and size.

    Args:
        cell: "gru", "lstm" or "rnn".
        hidden_size, num_frames: H, T.
        seconds: by name: "ours", "exported", "dense".
        max_difference: of the held outputs, ours and the exported ones.
    """

    cell: str
    hidden_size: int
    num_frames: int
    seconds: dict[str, Spread]
    max_difference: float


def exported_call(layer: SuLayer, frames: torch.Tensor, is_open: torch.Tensor) -> Call:
    """The exported layer on one thread; calling it gives (T, H)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # it warns of inputs that have a default
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.onnx"
        export_onnx(layer, path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {"frames": frames.numpy(), "is_open": is_open.numpy()}
    return lambda: torch.from_numpy(session.run(["output"], given)[0])


@torch.inference_mode()
def measure(cell: str, hidden_size: int, num_frames: int, *, share_open: float, seconds: float) -> Row:
    """The three in turns, on one thread; open frames are drawn at random."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.inference_mode(False):
        layer = LAYERS[cell][0](INPUT_SIZE, hidden_size, batch_first=True).requires_grad_(False)
    frames, is_open = torch.randn(num_frames, INPUT_SIZE), torch.zeros(num_frames, dtype=torch.bool)
    is_open[torch.randperm(num_frames)[: round(share_open * num_frames)]] = True
    switch = Switch(is_open.float()[None])
    calls = {
        "ours": lambda: layer(frames, switch=switch, backend="event").output,
        "exported": exported_call(layer, frames, is_open),
        "dense": onnx_call(cell, layer, frames[None], num_threads=1),
    }
    difference = float((calls["ours"]() - calls["exported"]()).abs().max())
    return Row(cell, hidden_size, num_frames, in_turns(calls, at_least_runs=5, seconds=seconds), difference)


def rows_table(rows: Sequence[Row]) -> str:
    """A line per row; microseconds per frame of the stream, open or closed."""
    head = ["cell", "H", "T", "ours us", "exported us", "dense ORT us", "exported x dense", "ours x exported", "differ"]
    lines = []
    for row in rows:
        medians = [row.seconds[name].median for name in ("ours", "exported", "dense")]
        ours, exported, dense = medians
        each = [f"{median / row.num_frames * 1e6:.3f}" for median in medians]
        ratios = [f"{dense / exported:.2f}", f"{exported / ours:.2f}"]
        sizes = [row.cell, str(row.hidden_size), str(row.num_frames)]
        lines.append([*sizes, *each, *ratios, f"{row.max_difference:.1e}"])
    return table(head, lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--cells", nargs="+", choices=LAYERS, default=["gru", "lstm", "rnn"])
    parser.add_argument("--hidden", nargs="+", type=int, default=[128, 256], help="neurons")
    parser.add_argument("--frames", nargs="+", type=int, default=[1_000, 10_000], help="of the one stream")
    parser.add_argument("--share-open", type=float, default=0.1, help="of the frames (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="spent on a row, at least (default: %(default)s)")
    options = parser.parse_args(argv)
    print(machine_line())
    rows = [
        measure(cell, hidden, num_frames, share_open=options.share_open, seconds=options.seconds)
        for cell in options.cells
        for hidden in options.hidden
        for num_frames in options.frames
    ]
    print(rows_table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
