"""Crops of many recordings from memory, for training a featurizer: cached glance frames or pictures to features."""

import torch
from torch import Tensor

from featurizers.grid import Featurizer, Grid, Needs, Stretch
from featurizers.runs import context_frames, num_elements, picture_shape


def crop_stretch(
    needs: Needs,
    grid: Grid,
    frames: Tensor,
    silence: Tensor | None,
    *,
    starts: Tensor,
    recordings: Tensor,
    num_frames: int,
) -> Stretch:
    """What a featurizer that reads the glance or pictures reads for crops of many recordings, context included.

    The context of a crop is what its recording has there, never a neighbour in memory: before the recording's start and
    after its end the glance of silence, or its first or last picture.

    Args:
        needs: the featurizer's.
        grid: the model's frames; each recording is taken to begin at its origin.
        frames: recording after recording, (N, G) glance frames of any float type; or (N, k, channels, height, width)
            uint8, the k pictures of each frame.
        silence: (G,), the glance of silence, whose type the data get; None with pictures.
        starts: (B,) int64, the row of `frames` that each crop begins with.
        recordings: (B, 2) int64, first row and end row of each crop's recording.
        num_frames: frames per crop.

    Raises:
        ValueError: if the featurizer reads neither, or the frames are not what it reads.
    """
    if needs.reads not in ("glance", "pictures"):
        raise ValueError(
            f"the featurizer reads {needs.reads!r}; only what reads 'glance' or 'pictures' can be given cached frames"
        )
    if needs.reads == "pictures":
        return _crop_pictures(needs, grid, frames, starts, recordings, num_frames)
    if silence is None:
        raise ValueError("the featurizer reads 'glance', which needs the glance of silence; give silence=(G,)")
    left, right = context_frames(needs, grid)
    row = starts[:, None] + torch.arange(-left, num_frames + right, device=starts.device)
    is_inside = (row >= recordings[:, :1]) & (row < recordings[:, 1:])
    data = frames[row.clamp(0, len(frames) - 1)].to(silence.dtype)
    begins = (starts - recordings[:, 0] - left).double() * grid.hop_seconds
    return Stretch(torch.where(is_inside[..., None], data, silence), grid.origin_seconds + begins)


def _crop_pictures(
    needs: Needs, grid: Grid, frames: Tensor, starts: Tensor, recordings: Tensor, num_frames: int
) -> Stretch:
    per_frame = grid.elements_per_frame(needs.rate_hz)
    expected = (per_frame, *picture_shape(needs))
    if tuple(frames.shape[1:]) != expected:
        raise ValueError(f"cached pictures have the shape {tuple(frames.shape)}, the featurizer reads (N, *{expected})")
    begins = -round(needs.left_seconds * needs.rate_hz)
    place = starts[:, None] * per_frame + torch.arange(
        begins, begins + num_elements(needs, grid, num_frames), device=starts.device
    )
    place = place.clamp(recordings[:, :1] * per_frame, recordings[:, 1:] * per_frame - 1)
    onsets = (starts - recordings[:, 0]).double() * grid.hop_seconds
    return Stretch(frames.flatten(0, 1)[place], grid.origin_seconds + onsets + begins / needs.rate_hz)


def evaluate_crops(
    featurizer: Featurizer,
    grid: Grid,
    frames: Tensor,
    silence: Tensor | None,
    *,
    starts: Tensor,
    recordings: Tensor,
    num_frames: int,
) -> Tensor:
    """Features (B, num_frames, size) of crops of many recordings, the same as their runs would have, differentiable.

    Arguments as in `crop_stretch`.

    Raises:
        ValueError: if the featurizer reads neither glance nor pictures, or a crop would cut one of its windows.
    """
    first_frame, window = starts - recordings[:, 0], featurizer.needs.block_frames
    if num_frames % window or bool((first_frame % window).any()):
        raise ValueError(f"crops of {num_frames} frames must begin and end with whole windows of {window} frames")
    stretch = crop_stretch(
        featurizer.needs, grid, frames, silence, starts=starts, recordings=recordings, num_frames=num_frames
    )
    return featurizer.evaluate(stretch, first_frame, num_frames)
