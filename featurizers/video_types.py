"""What a video gives: its packets, which nothing had to be decoded for, and its pictures."""

from typing import NamedTuple

from torch import Tensor


class Packets(NamedTuple):
    """Compressed pictures as the container tells of them, K of them in order of presentation.

    Args:
        times: (K,) float64, presentation time in seconds.
        sizes: (K,) int64, bytes.
        is_key: (K,) bool, true for a key frame.
    """

    times: Tensor
    sizes: Tensor
    is_key: Tensor


class Pictures(NamedTuple):
    """Decoded pictures, N of them in order of time.

    Args:
        data: (N, channels, height, width) uint8.
        times: (N,) float64, true time in seconds of the picture taken.
    """

    data: Tensor
    times: Tensor
