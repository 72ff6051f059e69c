"""Small pictures as a glance, as frozen features, and as food for a small network that is trained."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from featurizers.grid import Grid, Needs, PictureFormat, Stretch

LEAST_USUAL = 0.05  # 1.3 of 255 grey values: before the start the first picture repeats, and shows no noise at all
PICTURES_PER_PASS = 32  # what a processor's cache holds of a small network


class PictureChange:
    """How much, and in how large a part, each frame's thumbnail differs from the last: a glance that decodes.

    Thumbnails are grey, one per frame, and cut into blocks. The brightness of a picture as a whole is taken out of the
    difference (a cloud, an automatic exposure), and each block's difference is divided by what that block usually
    shows: noise, leaves, a flickering lamp. Usual is the median over the declared context, at least 1.3 grey values.

    The numbers of a frame: the mean difference of all blocks, the largest one, each as it is (in tenths of the range
    from black to white) and divided by the usual one (as a base-2 logarithm); the share of blocks that changed at least
    `changed_times` as much as usual; and the change of the picture's own brightness.

    Args:
        grid: the model's frames.
        width, height: of the thumbnails.
        block: side of a block in pixels; must divide both.
        left_seconds: context before a frame for what is usual.
        right_seconds: context after a frame for what is usual.
        changed_times: by so much a block must exceed the usual to count as changed.

    Raises:
        ValueError: if blocks do not fit the thumbnail.
    """

    size = 6

    def __init__(
        self,
        grid: Grid,
        *,
        width: int = 64,
        height: int = 48,
        block: int = 8,
        left_seconds: float = 4.0,
        right_seconds: float = 1.0,
        changed_times: float = 3.0,
    ) -> None:
        if block < 1 or width % block or height % block:
            raise ValueError(f"block={block} must divide width={width} and height={height}; choose another size")
        self._left, self._right = grid.num_frames(left_seconds), grid.num_frames(right_seconds)
        self._block, self._changed_times = block, changed_times
        self.needs = Needs(
            "pictures",
            1 / grid.hop_seconds,
            left_seconds=(self._left + 1) * grid.hop_seconds,
            right_seconds=self._right * grid.hop_seconds,
            picture=PictureFormat(width, height, "gray"),
        )

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, pictures, 1, height, width) to (R, num_frames, 6)."""
        pictures = stretch.data[:, :, 0].float() / 25.5
        brightness = pictures.mean(dim=(2, 3))
        steps = brightness.diff(dim=1)
        differences = (pictures.diff(dim=1) - steps[..., None, None]).abs()
        blocks = nn.functional.avg_pool2d(differences, self._block).flatten(2)  # (R, frames, blocks)
        usual = blocks.unfold(1, self._left + 1 + self._right, 1).median(dim=3).values.clamp_min(LEAST_USUAL)
        now = blocks[:, self._left : self._left + num_frames]
        times = now / usual
        columns = [
            now.mean(dim=2),
            now.amax(dim=2),
            times.mean(dim=2).clamp_min(1 / 16).log2() / 2,
            times.amax(dim=2).clamp_min(1 / 16).log2() / 2,
            (times > self._changed_times).float().mean(dim=2) * 4,
            steps[:, self._left : self._left + num_frames],
        ]
        return torch.stack(columns, dim=2)


class Thumbnails:
    """Scaled pictures as numbers, and their differences to the picture before: frozen features of a frame.

    Of each picture of a frame: all its pixels, from -1 (black) to 1 (white), channel by channel and row by row; then
    four times their difference to the picture before. Nothing is centred over a run.

    Args:
        grid: the model's frames.
        width, height: of the thumbnails.
        colour: "gray" or "rgb".
        rate_hz: pictures per second, a multiple of the frames'; None: one per frame.

    Raises:
        ValueError: if a frame holds no whole number of pictures.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        width: int = 16,
        height: int = 12,
        colour: Literal["rgb", "gray"] = "gray",
        rate_hz: float | None = None,
    ) -> None:
        rate_hz = rate_hz or 1 / grid.hop_seconds
        self._per_frame = grid.elements_per_frame(rate_hz)
        self.needs = Needs("pictures", rate_hz, 1 / rate_hz, picture=PictureFormat(width, height, colour))
        self.size = 2 * self._per_frame * width * height * (3 if colour == "rgb" else 1)

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, 1 + pictures, channels, height, width) to (R, num_frames, size)."""
        pixels = stretch.data.flatten(2).float() / 127.5 - 1.0
        features = torch.cat([pixels[:, 1:], 4.0 * pixels.diff(dim=1)], dim=2)
        return features.reshape(len(pixels), num_frames, self.size)


class PictureConv(nn.Module):
    """A small convolutional network over pictures and their differences, one vector per frame; its weights are trained.

    What goes in for a picture: its pixels, its difference to the picture before, and the size of that difference. Each
    layer is a convolution of 3 by 3 pixels that halves the picture, a GroupNorm of that picture by itself, and a ReLU.
    What is left is averaged over `cells` by `cells` parts of the picture, and a linear layer gives `size` numbers for
    it. Those of the pictures of a frame and of `context_frames` frames on either side are then mixed by a linear layer
    over time, with a LayerNorm over the frame's numbers. Nothing is normalised over time or over the batch, and nothing
    is dropped at random: any cut into runs gives the same frames, but for what `varied` does in training.

    One core (AVX-512) takes 0.2 ms per picture of 64 by 48 with the default channels, forward.

    Args:
        grid: the model's frames.
        width, height: of the pictures.
        colour: "gray" or "rgb".
        rate_hz: pictures per second, a multiple of the frames'; None: one per frame.
        channels: of each layer, first to last; multiples of 4.
        size: numbers per frame.
        context_frames: so many frames on either side are seen.
        cells: parts of the picture, along each side, that are told apart.
        varied: in training, show half of the runs mirrored, and each in another light (contrast 0.7 to 1.3 times,
            brightness up to 0.2 of the range off); not for actions in which left and right differ.

    Raises:
        ValueError: if a frame holds no whole number of pictures, or the layers do not fit.
    Source: Simonyan and Zisserman, "Two-stream convolutional networks for action recognition in videos", NeurIPS 2014,
        for pictures and motion side by side; Wu and He, "Group normalization", ECCV 2018.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        width: int = 64,
        height: int = 48,
        colour: Literal["rgb", "gray"] = "gray",
        rate_hz: float | None = None,
        channels: Sequence[int] = (16, 32, 48, 64),
        size: int = 128,
        context_frames: int = 1,
        cells: int = 3,
        varied: bool = False,
    ) -> None:
        super().__init__()
        rate_hz = rate_hz or 1 / grid.hop_seconds
        self._per_frame = grid.elements_per_frame(rate_hz)
        if not channels or any(number < 4 or number % 4 for number in channels) or min(size, cells) < 1:
            raise ValueError(
                f"channels={list(channels)}, size={size}, cells={cells}: the rule is one layer or more, of a multiple "
                "of 4 channels each, and sizes above 0"
            )
        if context_frames < 0:
            raise ValueError(f"context_frames={context_frames} must be >= 0; 0 means the frame alone")
        if min(width, height) < 2 ** len(channels):
            raise ValueError(
                f"{len(channels)} layers halve {width} x {height} to nothing; give fewer channels, or larger pictures"
            )
        self.size, self._context_frames, self._varied = size, context_frames, varied
        context_seconds = context_frames * grid.hop_seconds
        self.needs = Needs(
            "pictures",
            rate_hz,
            left_seconds=context_seconds + 1 / rate_hz,
            right_seconds=context_seconds,
            picture=PictureFormat(width, height, colour),
        )
        layers: list[nn.Module] = []
        before = 3 * (3 if colour == "rgb" else 1)
        for number in channels:
            convolution = nn.Conv2d(before, number, 3, stride=2, padding=1)
            convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)
            layers += [convolution, nn.GroupNorm(4, number), nn.ReLU(inplace=True)]
            before = number
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(cells), nn.Flatten())
        self.per_picture = nn.Sequential(nn.Linear(before * cells * cells, size), nn.ReLU())
        num_seen = (2 * context_frames + 1) * self._per_frame
        self.over_time = nn.Sequential(nn.Linear(num_seen * size, size), nn.LayerNorm(size))

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, 1 + left + num_frames + right pictures, channels, height, width) to (R, num_frames, size)."""
        pixels = stretch.data.float() / 127.5 - 1.0
        if self._varied and self.training:
            pixels = _varied(pixels)
        num_runs, num_seen = pixels.shape[0], pixels.shape[1] - 1
        now, before = pixels[:, 1:].flatten(0, 1), pixels[:, :-1].flatten(0, 1)
        passes = zip(torch.split(now, PICTURES_PER_PASS), torch.split(before, PICTURES_PER_PASS), strict=True)
        vectors = torch.cat([self._picture_vectors(*pair) for pair in passes]).reshape(num_runs, num_seen, self.size)
        span = (2 * self._context_frames + 1) * self._per_frame
        windows = vectors.unfold(1, span, self._per_frame)  # (R, frames, size, pictures)
        features: Tensor = self.over_time(windows.flatten(2))
        return features

    def _picture_vectors(self, now: Tensor, before: Tensor) -> Tensor:
        change = 4.0 * (now - before)
        stacked = torch.cat([now, change, change.abs()], dim=1).contiguous(memory_format=torch.channels_last)
        vectors: Tensor = self.per_picture(self.layers(stacked))
        return vectors


def _varied(pixels: Tensor) -> Tensor:
    """Runs (R, pictures, channels, height, width) as another camera might have seen them, each run alike throughout."""
    shape = (len(pixels), 1, 1, 1, 1)
    is_mirrored = torch.rand(shape, device=pixels.device) < 0.5
    contrast = torch.empty(shape, device=pixels.device).uniform_(0.7, 1.3)
    brightness = torch.empty(shape, device=pixels.device).uniform_(-0.4, 0.4)
    return torch.where(is_mirrored, pixels.flip(-1), pixels) * contrast + brightness
