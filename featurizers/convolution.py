"""Features that are trained with the rest: a stack of convolutions over the log-mel glance."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from featurizers.grid import Grid, Needs, Stretch

ROWS_PER_PASS = 256  # what a processor's cache holds


class ConvFeaturizer(nn.Module):
    """A small convolutional network over time and mel bands, one vector per frame; its weights are trained.

    Each layer is a convolution of 3 rows by 3 bands, a LayerNorm over the bands and channels of each row by itself, a
    ReLU, and the mean of two bands, until one is left. The first layers also take the mean of some rows, so that in the
    end one row per frame is left, whatever the run: rows are pooled from the frame's own first row on. A linear layer
    and a LayerNorm over the frame's numbers follow. Nothing is normalised over time or over the batch, nothing is
    padded in time, and nothing is dropped at random: any cut into runs gives the same frames.

    With 8 rows per frame and four layers, a frame hears 15 rows on either side (2 frames of context):
    38 rows, convolved 36, pooled 18, convolved 16, pooled 8, convolved 6, pooled 3, convolved 1: the frame.

    Args:
        grid: the model's frames.
        glance_size: numbers per glance frame.
        num_mels: bands of the glance, whose frame is a stack of rows of so many numbers: the glance's own num_mels.
        channels: channels of each layer, first to last.
        size: numbers per frame.

    Raises:
        ValueError: if the glance's frame is no whole number of rows, or there is no layer.
    Source: Cakir et al., Convolutional Recurrent Neural Networks for Polyphonic Sound Event Detection, IEEE/ACM TASLP
        25(6), 2017, for convolutions with pooling over frequency before recurrent layers.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        glance_size: int,
        num_mels: int,
        channels: Sequence[int] = (32, 48, 64, 96),
        size: int = 128,
    ) -> None:
        super().__init__()
        if num_mels < 1 or glance_size % num_mels:
            raise ValueError(
                f"num_mels={num_mels} must divide the glance's {glance_size} numbers per frame; give the glance's own"
            )
        if not channels or min(*channels, size) < 1:
            raise ValueError(f"channels={list(channels)} and size={size}: the rule is one layer or more, all above 0")
        self.num_mels, self.size = num_mels, size
        self.pooled_rows = pooled_rows(glance_size // num_mels, len(channels))
        self.context_rows = 0
        for pooled in reversed(self.pooled_rows):
            self.context_rows = self.context_rows * pooled + 1
        self.rows_per_frame = glance_size // num_mels
        context_seconds = math.ceil(self.context_rows / self.rows_per_frame) * grid.hop_seconds
        self.needs = Needs("glance", left_seconds=context_seconds, right_seconds=context_seconds)
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleList()
        num_bands, before = num_mels, 1
        for number in channels:
            layer = nn.Conv2d(before, number, 3, padding=(0, 1))
            # without this torch takes a layer of one channel for the other format, and every later one copies
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
            self.layers.append(layer)
            self.norms.append(nn.LayerNorm([num_bands, number]))
            num_bands, before = math.ceil(num_bands / 2), number
        self.last = nn.Sequential(nn.Linear(num_bands * before, size), nn.LayerNorm(size))

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, left + num_frames + right, glance size) to (R, num_frames, size)."""
        data, context = stretch.data, 2 * self.context_rows
        rows = data.reshape(len(data), 1, -1, self.num_mels)  # (R, channels, rows, bands)
        rows = rows[:, :, (rows.shape[2] - num_frames * self.rows_per_frame - context) // 2 :]
        if not data.is_cpu:
            return self._pass(rows, num_frames)
        most_frames = max(1, ROWS_PER_PASS // self.rows_per_frame)
        most_runs = max(1, ROWS_PER_PASS // (min(most_frames, num_frames) * self.rows_per_frame + context))
        passes = []
        for begin in range(0, num_frames, most_frames):
            count = min(most_frames, num_frames - begin)
            part = rows[:, :, begin * self.rows_per_frame :]
            passes.append(torch.cat([self._pass(runs, count) for runs in torch.split(part, most_runs)]))
        return torch.cat(passes, dim=1)

    def _pass(self, rows: Tensor, num_frames: int) -> Tensor:
        """Features of the first frames of (R, 1, context + rows + context, bands), however many rows follow."""
        num_rows = num_frames * self.rows_per_frame + 2 * self.context_rows
        rows = rows[:, :, :num_rows].contiguous(memory_format=torch.channels_last)
        for layer, norm, pooled in zip(self.layers, self.norms, self.pooled_rows, strict=True):
            rows = layer(rows).permute(0, 2, 3, 1)  # (R, rows, bands, channels), which is how it lies in memory
            rows = norm(rows).relu_().permute(0, 3, 1, 2)
            bands = min(2, rows.shape[3])
            rows = nn.functional.avg_pool2d(rows, (pooled, bands), ceil_mode=True, count_include_pad=False)
        features: Tensor = self.last(rows.permute(0, 2, 3, 1).reshape(len(rows), num_frames, -1))
        return features


def pooled_rows(rows_per_frame: int, num_layers: int) -> list[int]:
    """How many rows each layer pools: prime factors of rows per frame, small ones first, from the first layer on."""
    factors, rest = [], rows_per_frame
    for factor in range(2, rows_per_frame + 1):
        while rest % factor == 0:
            factors.append(factor)
            rest //= factor
    while len(factors) > num_layers:
        first, second, *others = factors
        factors = sorted([first * second, *others])
    return factors + [1] * (num_layers - len(factors))
