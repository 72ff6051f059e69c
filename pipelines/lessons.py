"""Training material: glance, features and targets of every frame of a corpus, computed once and cached."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Frames(NamedTuple):
    """All frames of a split, recording after recording.

    Args:
        glance: (N, G) float16.
        features: (N, F) float16, of a frozen featurizer; where it is trained (N, 0), or the pictures that it reads:
            (N, K, channels, height, width) uint8, K to a frame.
        labels: (N, C) bool.
        weights: (N, C) bool.
        switch: (N,) bool; what the helping loss wants open.
        lengths: (R,) int64 frames per recording; their sum is N.
        starts_seconds: R times on the media clock at which the recordings begin.
        clips: (R, C) int8, which labels a recording has of which only these are known, not their times; -1: any other
            recording. None: there is no such recording.
    """

    glance: Tensor
    features: Tensor
    labels: Tensor
    weights: Tensor
    switch: Tensor
    lengths: Tensor
    starts_seconds: tuple[float, ...]
    clips: Tensor | None = None


class Crop(NamedTuple):
    """A batch of B crops of T frames.

    Args:
        glance, features, labels, weights, switch: float32, as in Frames, (B, T, ...); features (B, T, 0) where the
            featurizer is trained.
        is_inside: (B, T) bool; false where a recording shorter than the crop has ended: there the columns repeat its
            last frame.
        starts: (B,) int64 row of Frames that each crop begins with.
        recordings: (B, 2) int64 first row and end row of each crop's recording.
        clips: (B, C) float32, as in Frames; None: no recording is known as a whole only.
    """

    glance: Tensor
    features: Tensor
    labels: Tensor
    weights: Tensor
    switch: Tensor
    is_inside: Tensor
    starts: Tensor
    recordings: Tensor
    clips: Tensor | None = None


def crops(
    frames: Frames,
    *,
    crop_frames: int,
    batch_size: int,
    num_batches: int,
    seed: int,
    moments: Tensor | None = None,
) -> Iterator[Crop]:
    """Random crops of one recording each, all recordings weighted by their length; a shorter one is taken whole.

    Args:
        moments: (M,) int64 rows of frames; every second crop, at random, holds one of them.
    """
    generator = torch.Generator().manual_seed(seed)
    ends = frames.lengths.cumsum(0)
    firsts = ends - frames.lengths
    last_starts = (frames.lengths - crop_frames).clamp_min(0)
    places = torch.where(last_starts > 0, last_starts + 1, frames.lengths)
    bounds = places.cumsum(0)
    steps = torch.arange(crop_frames)
    for _ in range(num_batches):
        draw = torch.randint(int(bounds[-1]), (batch_size,), generator=generator)
        recording = torch.searchsorted(bounds, draw, right=True)
        place = draw - (bounds[recording] - places[recording])
        start = firsts[recording] + torch.minimum(place, last_starts[recording])
        if moments is not None and len(moments):
            at = moments[torch.randint(len(moments), (batch_size,), generator=generator)]
            whose = torch.searchsorted(ends, at, right=True)
            around = at - torch.randint(crop_frames, (batch_size,), generator=generator)
            around = torch.minimum(torch.maximum(around, firsts[whose]), firsts[whose] + last_starts[whose])
            is_chosen = torch.rand(batch_size, generator=generator) < 0.5
            recording, start = torch.where(is_chosen, whose, recording), torch.where(is_chosen, around, start)
        rows = start[:, None] + steps
        is_inside = rows < ends[recording, None]
        rows = torch.minimum(rows, ends[recording, None] - 1)
        glance, labels, weights, switch = (
            column[rows].float() for column in (frames.glance, frames.labels, frames.weights, frames.switch)
        )
        features = frames.features[rows].float() if frames.features.ndim == 2 else glance[..., :0]
        limits = torch.stack([firsts[recording], ends[recording]], dim=1)
        clips = None if frames.clips is None else frames.clips[recording].float()
        yield Crop(glance, features, labels, weights, switch, is_inside, start, limits, clips)
