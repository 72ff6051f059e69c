"""Features that are trained with the rest: a stack of convolutions over the log-mel glance."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from featurizers.grid import Grid, Needs, Stretch

ROWS_PER_PASS = 1024  # what a processor's cache holds


class ConvFeaturizer(nn.Module):
    """A small convolutional network over time and mel bands, one vector per frame; its weights are trained.

    Each layer is a convolution of 3 rows by 3 bands, a ReLU, and the mean of two bands, until one is left. The first
    layers also take the mean of some rows, so that in the end one row per frame is left, whatever the run: rows are
    pooled from the frame's own first row on. The very first layer looks at as much and takes no mean: it steps over
    rows and bands, which costs a quarter. Nothing is normalised over time or over the batch, nothing is padded in time,
    and nothing is dropped at random: any cut into runs gives the same frames, in training as ever.

    What a norm of each row would take away, how loud it is against the rows around it, stays. Training is quick all the
    same, as with a norm over the batch: weights are standardised, each channel's having a mean of 0 and a length of 1,
    and a gain and a shift per channel are first fitted to the training split (`fit`), then trained.

    With 8 rows per frame and four layers, a frame hears 15 rows on either side (2 frames of context):
    38 rows, stepped over 18, convolved 16, pooled 8, convolved 6, pooled 3, convolved 1: the frame.

    Args:
        grid: the model's frames.
        glance_size: numbers per glance frame.
        num_mels: bands of the glance, whose frame is a stack of rows of so many numbers: the glance's own num_mels.
        channels: channels of each layer, first to last.

    Attributes:
        size: numbers per frame: the bands that are left, times the last layer's channels.

    Raises:
        ValueError: if the glance's frame is no whole number of rows, or there is no layer.
    Source: Cakir et al., Convolutional Recurrent Neural Networks for Polyphonic Sound Event Detection, IEEE/ACM TASLP
        25(6), 2017, for convolutions with pooling over frequency before recurrent layers; Qiao et al., Micro-Batch
        Training with Batch-Channel Normalization and Weight Standardization, 2019, for the weights; Salimans & Kingma,
        Weight Normalization, 2016, for gains fitted to data.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, grid: Grid, *, glance_size: int, num_mels: int, channels: Sequence[int] = (24, 32, 48, 64)
    ) -> None:
        super().__init__()
        if num_mels < 1 or glance_size % num_mels:
            raise ValueError(
                f"num_mels={num_mels} must divide the glance's {glance_size} numbers per frame; give the glance's own"
            )
        if not channels or min(channels) < 1:
            raise ValueError(f"channels={list(channels)}: the rule is one layer or more, all above 0")
        self.num_mels = num_mels
        self.rows_per_frame = glance_size // num_mels
        self.pooled_rows = pooled_rows(self.rows_per_frame, len(channels))
        self.context_rows = 0
        for pooled in reversed(self.pooled_rows):
            self.context_rows = self.context_rows * pooled + 1
        context_seconds = math.ceil(self.context_rows / self.rows_per_frame) * grid.hop_seconds
        self.needs = Needs("glance", left_seconds=context_seconds, right_seconds=context_seconds)
        self.register_buffer("mean", torch.zeros(num_mels))
        self.register_buffer("scale", torch.ones(num_mels))
        self.layers = nn.ModuleList()
        num_bands = num_mels
        for place, (before, number) in enumerate(zip((1, *channels), channels, strict=False)):
            self.layers.append(
                StandardConv(before, number, (self.pooled_rows[0] + 2, 4), (self.pooled_rows[0], 2))
                if place == 0
                else StandardConv(before, number, (3, 3), (1, 1))
            )
            num_bands = math.ceil(num_bands / 2)
        self.size = num_bands * channels[-1]

    @torch.no_grad()
    def fit(self, frames: Tensor) -> None:
        """Fix the normalisation of the bands, and begin with channels of mean 0 and deviation 1 on this material.

        Args:
            frames: (R, T, glance size), R stretches of the training split.
        """
        frames = frames.to(self.mean.dtype)
        rows = frames.reshape(len(frames), 1, -1, self.num_mels)
        self.mean.copy_(rows.mean((0, 1, 2)))
        self.scale.copy_(1 / rows.std((0, 1, 2)).clamp_min(1e-3))
        rows = self._normalised(rows)
        for layer, pooled in zip(self.layers, self._later_pooled, strict=True):
            assert isinstance(layer, StandardConv)
            layer.fit(rows)
            rows = _pooled(layer(rows).relu_(), pooled)

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
        rows = self._normalised(rows[:, :, :num_rows])
        for layer, pooled in zip(self.layers, self._later_pooled, strict=True):
            rows = _pooled(layer(rows).relu_(), pooled)
        return rows.permute(0, 2, 3, 1).reshape(len(rows), num_frames, self.size)

    def _normalised(self, rows: Tensor) -> Tensor:
        rows = (rows - self.mean) * self.scale
        if self.num_mels % 2:
            rows = nn.functional.pad(rows, (0, 1))  # so that the first layer's steps of two bands come out
        return rows.contiguous(memory_format=torch.channels_last)

    @property
    def _later_pooled(self) -> list[int]:
        """Rows of which the mean is taken after each layer; 0: the first layer, which steps over them instead."""
        return [0, *self.pooled_rows[1:]]


class StandardConv(nn.Module):
    """A convolution whose weights have a mean of 0 and a length of 1 per channel, times a gain; padded by one band.

    Args:
        before: channels that come in.
        number: channels that go out.
        kernel: rows and bands that a number sees.
        stride: rows and bands from one number to the next.
    """

    def __init__(self, before: int, number: int, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        weight = torch.randn(number, before, *kernel) / math.sqrt(before * math.prod(kernel))
        # without this torch takes a layer of one channel for the other format, and every later one copies
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.gain, self.bias = nn.Parameter(torch.ones(number)), nn.Parameter(torch.zeros(number))
        self.stride = stride

    def forward(self, rows: Tensor) -> Tensor:
        """(R, channels, rows, bands), rows fewer by what the kernel needs."""
        centred = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        gain = self.gain / centred.square().sum((1, 2, 3)).clamp_min(1e-12).sqrt()
        return nn.functional.conv2d(rows, centred * gain[:, None, None, None], self.bias, self.stride, (0, 1))

    @torch.no_grad()
    def fit(self, rows: Tensor) -> None:
        """Choose gain and bias so that each channel has a mean of 0 and a deviation of 1 on these rows."""
        self.gain.fill_(1)
        self.bias.zero_()
        std, mean = torch.std_mean(self(rows), dim=(0, 2, 3))
        self.gain.copy_(1 / std.clamp_min(1e-3))
        self.bias.copy_(-mean * self.gain)


def _pooled(rows: Tensor, num_rows: int) -> Tensor:
    """The mean of so many rows and of two bands; 0: as they are."""
    if not num_rows:
        return rows
    bands = min(2, rows.shape[3])
    return nn.functional.avg_pool2d(rows, (num_rows, bands), ceil_mode=True, count_include_pad=False)


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
