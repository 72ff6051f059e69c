"""Training material: glance, features and targets of every frame of a corpus, computed once and cached."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Frames(NamedTuple):
    """All frames of a split, recording after recording.

    Args:
        glance: (N, G) float16.
        features: (N, F) float16, of a frozen featurizer; (N, 0) where it is trained.
        labels: (N, C) bool.
        weights: (N, C) bool.
        switch: (N,) bool; what the helping loss wants open.
        lengths: (R,) int64 frames per recording; their sum is N.
        starts_seconds: R times on the media clock at which the recordings begin.
    """

    glance: Tensor
    features: Tensor
    labels: Tensor
    weights: Tensor
    switch: Tensor
    lengths: Tensor
    starts_seconds: tuple[float, ...]


class Crop(NamedTuple):
    """A batch of B crops of T frames.

    Args:
        glance, features, labels, weights, switch: float32, as in Frames, (B, T, ...).
        starts: (B,) int64 row of Frames that each crop begins with.
        recordings: (B, 2) int64 first row and end row of each crop's recording.
    """

    glance: Tensor
    features: Tensor
    labels: Tensor
    weights: Tensor
    switch: Tensor
    starts: Tensor
    recordings: Tensor


def crops(frames: Frames, *, crop_frames: int, batch_size: int, num_batches: int, seed: int) -> Iterator[Crop]:
    """Random crops, each inside one recording, all recordings weighted by their length."""
    generator = torch.Generator().manual_seed(seed)
    ends = frames.lengths.cumsum(0)
    firsts = ends - frames.lengths
    places = (frames.lengths - crop_frames + 1).clamp_min(0)  # starts that fit
    if int(places.sum()) == 0:
        raise ValueError(
            f"crop_frames={crop_frames} is longer than every recording of the training split "
            f"(longest: {int(frames.lengths.max())} frames); lower train.crop_seconds or lengthen the recordings"
        )
    bounds = places.cumsum(0)
    steps = torch.arange(crop_frames)
    for _ in range(num_batches):
        draw = torch.randint(int(bounds[-1]), (batch_size,), generator=generator)
        recording = torch.searchsorted(bounds, draw, right=True)
        start = firsts[recording] + draw - (bounds[recording] - places[recording])
        rows = start[:, None] + steps
        glance, features, labels, weights, switch = (column[rows].float() for column in frames[:5])
        limits = torch.stack([firsts[recording], ends[recording]], dim=1)
        yield Crop(glance, features, labels, weights, switch, start, limits)
