"""The framework's half of "run by run": open frames to runs, runs to stretches of data, stretches to features.

is_open     . . # # . # . . . . # # .       bridge_frames = 1
runs            [-----]         [-]         4 + 2 frames featurized
stretch    <left|     |right>               context is always kept
"""

from typing import NamedTuple

import torch
from torch import Tensor

from featurizers.grid import Featurizer, Grid, Needs, Stretch


class Run(NamedTuple):
    """Frames [first_frame, first_frame + num_frames) of the grid."""

    first_frame: int
    num_frames: int


class AudioSource(NamedTuple):
    """Mono samples of which samples[0] has index `offset`, counted from the grid's origin. Silence is zero."""

    samples: Tensor
    offset: int = 0


class GlanceSource(NamedTuple):
    """Glance frames (T, G) of which frames[0] is frame `offset` of the grid, and the glance (G,) of silence."""

    frames: Tensor
    silence: Tensor
    offset: int = 0


class RunFeatures(NamedTuple):
    """What was computed.

    Args:
        features: (frames of all runs, size), run by run in the order given.
        num_featurized: how many frames the featurizer computed.
    """

    features: Tensor
    num_featurized: int


def context_frames(needs: Needs, grid: Grid) -> tuple[int, int]:
    """Whole grid frames of context that a featurizer needs to the left and to the right of a run."""
    return grid.num_frames(needs.left_seconds), grid.num_frames(needs.right_seconds)


def plan_runs(is_open: Tensor, *, bridge_frames: int = 0, block_frames: int = 1, first_frame: int = 0) -> list[Run]:
    """Contiguous runs that cover every open frame.

    Args:
        is_open: (T,) bool.
        bridge_frames: gaps of so many closed frames or fewer are computed too, because a run of its own costs more.
        block_frames: runs are widened to whole blocks of so many frames, anchored at frame zero of the grid.
        first_frame: index on the grid of is_open[0].

    Returns:
        Runs in time order, frames counted on the grid; with blocks they may reach beyond the frames of `is_open`.
    """
    if bridge_frames < 0 or block_frames < 1:
        raise ValueError(f"bridge_frames={bridge_frames} must be >= 0 and block_frames={block_frames} >= 1")
    opened = is_open.nonzero().flatten() + first_frame
    if not len(opened):
        return []
    begins = torch.div(opened, block_frames, rounding_mode="floor") * block_frames
    ends = begins + block_frames
    is_new = begins[1:] - ends[:-1] > bridge_frames
    firsts = torch.cat([begins[:1], begins[1:][is_new]])
    lasts = torch.cat([ends[:-1][is_new], ends[-1:]])
    return [Run(first, last - first) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]


def silence_frame(glance: Featurizer, grid: Grid) -> Tensor:
    """The glance (G,) of silence: what stands before the start and after the end of a recording."""
    length = _num_elements(glance.needs, grid, 1)
    stretch = Stretch(torch.zeros(1, length), torch.zeros(1, dtype=torch.float64))
    return glance.evaluate(stretch, torch.zeros(1, dtype=torch.int64), 1)[0, 0]


def evaluate_runs(
    featurizer: Featurizer,
    grid: Grid,
    runs: list[Run],
    source: AudioSource | GlanceSource,
    *,
    batch_frames: int = 1024,
) -> RunFeatures:
    """Features of all frames of the runs, runs of equal length evaluated together.

    Args:
        featurizer: what to evaluate.
        grid: the model's frames.
        runs: from `plan_runs`.
        source: what the featurizer reads.
        batch_frames: runs of equal length are batched up to so many frames, which bounds the memory.

    Raises:
        ValueError: if the source is not what the featurizer reads.
    """
    wanted = AudioSource if featurizer.needs.reads == "audio" else GlanceSource
    if not isinstance(source, wanted):
        raise ValueError(
            f"{type(featurizer).__name__} reads {featurizer.needs.reads!r}, but was given {type(source).__name__}; "
            f"give a {wanted.__name__}"
        )
    by_length: dict[int, list[int]] = {}
    for index, run in enumerate(runs):
        by_length.setdefault(run.num_frames, []).append(index)
    results: dict[int, Tensor] = {}
    for num_frames, members in by_length.items():
        num_runs = max(1, batch_frames // num_frames)
        for at in range(0, len(members), num_runs):
            batch = members[at : at + num_runs]
            first_frame = torch.tensor([runs[index].first_frame for index in batch], dtype=torch.int64)
            stretch = cut_stretch(featurizer.needs, grid, source, first_frame, num_frames)
            results.update(zip(batch, featurizer.evaluate(stretch, first_frame, num_frames), strict=True))
    if not results:
        return RunFeatures(torch.zeros(0, featurizer.size), 0)
    features = torch.cat([results[index] for index in range(len(runs))])
    return RunFeatures(features, len(features))


def cut_stretch(
    needs: Needs, grid: Grid, source: AudioSource | GlanceSource, first_frame: Tensor, num_frames: int
) -> Stretch:
    """What a featurizer reads for runs of equal length, context included; silence where the source has nothing."""
    length = _num_elements(needs, grid, num_frames)
    if isinstance(source, GlanceSource):
        left, _ = context_frames(needs, grid)
        begin = first_frame - left
        times = grid.origin_seconds + begin.double() * grid.hop_seconds
        data, silence = source.frames, source.silence
    else:
        begin = first_frame * grid.elements_per_frame(needs.rate_hz) - round(needs.left_seconds * needs.rate_hz)
        times = grid.origin_seconds + begin.double() / needs.rate_hz
        data, silence = source.samples, source.samples.new_zeros(())
    begin = begin - source.offset
    if len(begin) == 1 and begin[0] >= 0 and begin[0] + length <= len(data):
        return Stretch(data[int(begin[0]) : int(begin[0]) + length][None], times)
    index = begin[:, None] + torch.arange(length)
    is_inside = (index >= 0) & (index < len(data))
    if not len(data):
        return Stretch(silence.expand(*index.shape, *silence.shape).clone(), times)
    gathered = data[index.clamp(0, len(data) - 1)]
    gathered[~is_inside] = silence
    return Stretch(gathered, times)


def crop_stretch(
    needs: Needs,
    grid: Grid,
    frames: Tensor,
    silence: Tensor,
    *,
    starts: Tensor,
    recordings: Tensor,
    num_frames: int,
) -> Stretch:
    """What a featurizer that reads the glance reads for crops of many recordings, context included.

    The context of a crop is what its recording has there, and silence before the recording's start and after its end,
    never a neighbour in memory.

    Args:
        needs: the featurizer's.
        grid: the model's frames; each recording is taken to begin at its origin.
        frames: (N, G) glance frames, recording after recording, of any float type.
        silence: (G,), the glance of silence; data get its type.
        starts: (B,) int64, the row of `frames` that each crop begins with.
        recordings: (B, 2) int64, first row and end row of each crop's recording.
        num_frames: frames per crop.

    Raises:
        ValueError: if the featurizer does not read the glance.
    """
    if needs.reads != "glance":
        raise ValueError(f"the featurizer reads {needs.reads!r}; only what reads 'glance' can be given cached frames")
    left, right = context_frames(needs, grid)
    row = starts[:, None] + torch.arange(-left, num_frames + right, device=starts.device)
    is_inside = (row >= recordings[:, :1]) & (row < recordings[:, 1:])
    data = frames[row.clamp(0, len(frames) - 1)].to(silence.dtype)
    begins = (starts - recordings[:, 0] - left).double() * grid.hop_seconds
    return Stretch(torch.where(is_inside[..., None], data, silence), grid.origin_seconds + begins)


def evaluate_crops(
    featurizer: Featurizer,
    grid: Grid,
    frames: Tensor,
    silence: Tensor,
    *,
    starts: Tensor,
    recordings: Tensor,
    num_frames: int,
) -> Tensor:
    """Features (B, num_frames, size) of crops of many recordings, the same as their runs would have, differentiable.

    Arguments as in `crop_stretch`.

    Raises:
        ValueError: if the featurizer does not read the glance, or a crop would cut one of its windows.
    """
    first_frame, window = starts - recordings[:, 0], featurizer.needs.block_frames
    if num_frames % window or bool((first_frame % window).any()):
        raise ValueError(f"crops of {num_frames} frames must begin and end with whole windows of {window} frames")
    stretch = crop_stretch(
        featurizer.needs, grid, frames, silence, starts=starts, recordings=recordings, num_frames=num_frames
    )
    return featurizer.evaluate(stretch, first_frame, num_frames)


def _num_elements(needs: Needs, grid: Grid, num_frames: int) -> int:
    if needs.reads == "glance":
        return num_frames + sum(context_frames(needs, grid))
    context = round(needs.left_seconds * needs.rate_hz) + round(needs.right_seconds * needs.rate_hz)
    return num_frames * grid.elements_per_frame(needs.rate_hz) + context
