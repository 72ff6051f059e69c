"""Open frames to packed rows, and back: closed frames hold the last open one.

frames   a b c d e f        pack        rows  b e        recurrence        hold      . B B B E E
is_open  0 1 0 0 1 0   ------------->   index 1 4   ---> rows B E  ------------->    ('.': the state before)
"""

import torch
from torch import Tensor

from surnn.layout import held_rows
from surnn.types import Packed


def frames_within(lengths: Tensor, num_frames: int) -> Tensor:
    """(B, T) bool: true for the frames of each stream, false for its padding.

    Args:
        lengths: (B,) integers, frames per stream.
        num_frames: T.
    """
    return torch.arange(num_frames, device=lengths.device) < lengths[:, None]


def pack(frames: Tensor, is_open: Tensor, lengths: Tensor | None = None) -> Packed:
    """Only the open frames, stream by stream, in time order.

    Args:
        frames: (B, T, F).
        is_open: (B, T) bool.
        lengths: (B,) frames per stream; padding after them is never open. None: no padding.

    Raises:
        ValueError: if the shapes do not fit, or is_open is not bool.
    """
    if is_open.dtype != torch.bool or is_open.shape != frames.shape[:2]:
        raise ValueError(
            f"is_open has shape {tuple(is_open.shape)} and type {is_open.dtype}; the rule is bool, one per frame, "
            f"{tuple(frames.shape[:2])}; give e.g. switch.frames > 0.5"
        )
    if lengths is not None:
        is_open = is_open & frames_within(lengths, frames.shape[1])
    stream, index = is_open.nonzero(as_tuple=True)
    return Packed(frames[stream, index], index, is_open.sum(dim=1))


def hold(rows: Tensor, index: Tensor, lengths: Tensor, num_frames: int, before: Tensor) -> Tensor:
    """Rows spread over all frames: each frame has the row of the last open frame up to and including itself.

    Differentiable in `rows` and `before`. Values are copied, so held frames are equal to the last bit.

    Args:
        rows: (N, H), in the order of `Packed`.
        index: (N,) int64, the frame in [0, num_frames) that each row stands for.
        lengths: (B,) int64, rows per stream.
        num_frames: T.
        before: (B, H), for the frames before the first open one of each stream.

    Returns:
        (B, T, H).

    Raises:
        ValueError: if an index lies outside of [0, num_frames), or rows, index and lengths disagree.
    """
    num_streams, num_rows = len(lengths), len(rows)
    if len(index) != num_rows or int(lengths.sum()) != num_rows:
        raise ValueError(
            f"{num_rows} rows, {len(index)} indices and lengths that sum to {int(lengths.sum())}; the rule is that all "
            f"three agree; take index and lengths from the Packed that the rows were computed from"
        )
    if num_rows and (int(index.min()) < 0 or int(index.max()) >= num_frames):
        raise ValueError(
            f"index runs from {int(index.min())} to {int(index.max())}; the rule is [0, num_frames={num_frames}); "
            f"count frames from the start of this block"
        )
    stream = torch.repeat_interleave(lengths, output_size=num_rows)
    is_open = torch.zeros(num_streams, num_frames, dtype=torch.bool, device=rows.device)
    is_open[stream, index] = True
    table = torch.cat((before, rows))
    return table[held_rows(is_open, lengths)]
