"""Simpler ways to skip frames, at any share of open frames: what a learned switch must beat. Each is a surnn.Gate."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, max_pool1d

from surnn import Switch


class EvenStride:
    """Open on frames spread as evenly as a share allows: surnn.Stride where one over the share is a whole number.

    Args:
        glance_size: numbers per glance frame.
        share: of frames that are open, in (0, 1].
    """

    lookahead_frames = 0
    lookback_frames = 0

    def __init__(self, glance_size: int, *, share: float) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share={share} must lie in (0, 1]; it is the share of frames that are open")
        self.glance_size = glance_size
        self.share = share

    def switch(self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None) -> Switch:
        """Open wherever share * frames passes a whole number; see surnn.Gate."""
        frame = torch.arange(first_frame, first_frame + glance.shape[1] + 1, dtype=torch.float64)
        passed = torch.floor(frame * self.share + 1e-9)
        is_open = (passed[1:] > passed[:-1]).expand(glance.shape[:2])
        return Switch((is_open if among is None else is_open & among).to(glance.dtype))


class EnergyGate:
    """Open around frames whose smoothed log-mel energy is above a threshold.

    Args:
        glance_size: numbers per glance frame: log powers of bands.
        threshold: in the glance's unit (LogMel: 10 dB).
        smooth_frames: energy is averaged over so many frames on either side.
        dilate_frames: what is open is widened by so many on either side.
        against_frames: energy counts against its mean over so many frames on either side; 0: as it is. Only the former
            can tell speech in a loud recording from noise in a faint one.
    """

    def __init__(
        self,
        glance_size: int,
        *,
        threshold: float = math.inf,
        smooth_frames: int = 1,
        dilate_frames: int = 2,
        against_frames: int = 0,
    ) -> None:
        self.glance_size, self.threshold = glance_size, threshold
        self.smooth_frames, self.dilate_frames, self.against_frames = smooth_frames, dilate_frames, against_frames
        self.lookback_frames = self.lookahead_frames = max(smooth_frames, against_frames) + dilate_frames

    @property
    def numbers(self) -> dict[str, float]:
        """What the constructor was given, the threshold as it is now."""
        names = ("threshold", "smooth_frames", "dilate_frames", "against_frames")
        return {name: getattr(self, name) for name in names}

    def loudness(self, glance: Tensor) -> Tensor:
        """What is compared with the threshold, (B, T), widened already: above it somewhere near is above it here."""
        energy = glance.mean(dim=2)[:, None]
        loudness = _local_mean(energy, self.smooth_frames)
        if self.against_frames:
            loudness = loudness - _local_mean(energy, self.against_frames)
        return max_pool1d(loudness, 2 * self.dilate_frames + 1, 1, self.dilate_frames)[:, 0]

    def open_share(self, glances: Iterable[Tensor], share: float) -> None:
        """Set the threshold at which this share of the frames of some recordings, each (T, F), is open."""
        loudness = torch.cat([self.loudness(glance[None].float())[0] for glance in glances]).double()
        self.threshold = float(loudness.sort().values[max(0, round(len(loudness) * (1 - share)) - 1)])

    def switch(self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None) -> Switch:  # noqa: ARG002
        """Open where it is loud near by; see surnn.Gate."""
        is_open = self.loudness(glance) > self.threshold
        return Switch((is_open if among is None else is_open & among).to(glance.dtype))


def _local_mean(energy: Tensor, radius: int) -> Tensor:
    """Mean over the frames on either side that exist."""
    return avg_pool1d(energy, 2 * radius + 1, 1, radius, count_include_pad=False)
