"""A small network over the part of the picture that moves, cut out and scaled, wherever in the picture it is."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool1d, avg_pool2d, grid_sample

from featurizers.grid import Grid, Needs, PictureFormat, Stretch

BLOCK = 4  # pixels, along each side, that where it moves is told by
LEAST_CHANGE = 10.0  # of 255 grey values: less is noise
LEAST_SHARE = 0.2  # of the largest change: what moves less is not what is looked for
SPREADS = 3.2  # half a side of what is cut out, in standard deviations of where it moves


class MovingPart(nn.Module):
    """What moves within `around_seconds` of a frame, cut out as a square of `side` pixels; its weights are trained.

    Where things move is told from differences of successive grey pictures; the square lies around the middle of it and
    is 3.2 of its standard deviations wide on either side, at least an eighth and at most half of the picture's height.
    So people who stand elsewhere, nearer or farther look alike, and a place where nothing moves is not learned by
    heart. What goes into the network for a picture: the square less the mean of all pictures around, its difference to
    the picture before, and the size of that difference. Layers as in PictureConv; a linear layer joins the pictures of
    a frame.

    Args:
        grid: the model's frames.
        width, height: of the pictures; multiples of 4. They are larger than the square: a part is cut out.
        rate_hz: pictures per second, a multiple of the frames'; None: one per frame.
        channels: of each layer, first to last; multiples of 4.
        size: numbers per frame.
        side: of the square, in pixels.
        around_seconds: movement is looked for so long before and after a frame.
        varied: in training, show half of the runs mirrored, each a little aside, nearer or farther, and in another
            contrast; not for actions in which left and right differ.

    Raises:
        ValueError: if a frame holds no whole number of pictures, or the layers do not fit.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        width: int = 160,
        height: int = 120,
        rate_hz: float | None = None,
        channels: Sequence[int] = (16, 32, 48),
        size: int = 64,
        side: int = 32,
        around_seconds: float = 1.5,
        varied: bool = False,
    ) -> None:
        super().__init__()
        rate_hz = rate_hz or 1 / grid.hop_seconds
        self._per_frame = grid.elements_per_frame(rate_hz)
        if not channels or any(number < 4 or number % 4 for number in channels) or side < 2 ** len(channels):
            raise ValueError(
                f"channels={list(channels)}, side={side}: the rule is one layer or more, of a multiple of 4 channels "
                "each, each of which halves the side"
            )
        if width % BLOCK or height % BLOCK or around_seconds <= 0:
            raise ValueError(
                f"width={width}, height={height} must be multiples of {BLOCK}, around_seconds={around_seconds} above 0"
            )
        self._around = grid.num_frames(around_seconds)
        self._side, self._varied, self.size = side, varied, size
        self.needs = Needs(
            "pictures",
            rate_hz,
            left_seconds=self._around * grid.hop_seconds + 1 / rate_hz,
            right_seconds=self._around * grid.hop_seconds,
            picture=PictureFormat(width, height, "gray"),
        )
        layers: list[nn.Module] = []
        before = 3
        for number in channels:
            layers += [nn.Conv2d(before, number, 3, stride=2, padding=1), nn.GroupNorm(4, number), nn.ReLU()]
            before, side = number, (side + 1) // 2
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * side * side, size), nn.ReLU())
        self.over_frame = nn.Sequential(nn.Linear(self._per_frame * size, size), nn.LayerNorm(size))

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, 1 + pictures, 1, height, width) to (R, num_frames, size)."""
        pictures = stretch.data[:, :, 0].float()
        places, means = self.places(pictures)
        step = self._per_frame
        begin = self._around * step  # with the picture before the frame's first
        own = pictures[:, begin : begin + num_frames * step + 1].unfold(1, step + 1, step)  # (R, N, H, W, step + 1)
        stacked = torch.cat([own.movedim(-1, 2), means[:, :, None]], dim=2).flatten(0, 1)
        if self._varied and self.training:
            places = _moved(places)
        squares = self._cut(stacked, places.flatten(0, 1))
        if self._varied and self.training:
            squares = _mirrored(squares, len(pictures))
        now, before, mean = squares[:, 1:-1], squares[:, :-2], squares[:, -1:]
        change = 4.0 * (now - before)
        seen = torch.stack([2.0 * (now - mean), change, change.abs()], dim=2).flatten(0, 1)
        vectors = self.layers(seen).reshape(len(pictures), num_frames, -1)
        features: Tensor = self.over_frame(vectors)
        return features

    def places(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Middle column, middle row and half the side, in pixels (R, N, 3), and the mean picture around each frame.

        Args:
            pictures: (R, P, H, W), context included.
        """
        num_runs, _, height, width = pictures.shape
        changes = pictures.diff(dim=1)
        changes = changes - changes.mean(dim=(2, 3), keepdim=True)  # the light as a whole
        blocks = avg_pool2d((changes.abs() - LEAST_CHANGE).clamp_min(0), BLOCK)
        energy = self._over_time(blocks)
        means = self._over_time(pictures[:, 1:])
        energy = (energy - LEAST_SHARE * energy.amax(dim=(2, 3), keepdim=True)).clamp_min(0)
        total = energy.sum(dim=(2, 3))
        weights = energy / total.clamp_min(1e-3)[..., None, None]
        spread, middles = torch.zeros_like(total), []
        for axis, length in ((3, width), (2, height)):
            along = weights.sum(dim=5 - axis)
            at = (torch.arange(along.shape[2], device=along.device) + 0.5) * BLOCK - 0.5
            middle = (along * at).sum(dim=2)
            spread = torch.maximum(spread, (along * (at - middle[..., None]) ** 2).sum(dim=2).sqrt())
            middles.append(torch.where(total > 1e-3, middle, (length - 1) / 2))
        half = (SPREADS * spread).clamp(height / 8, height / 2)
        half = torch.where(total > 1e-3, half, height / 2)
        assert half.shape[0] == num_runs
        return torch.stack([*middles, half], dim=2), means

    def _over_time(self, values: Tensor) -> Tensor:
        """(R, P - 1, h, w) to the mean (R, N, h, w) around each frame."""
        width = (2 * self._around + 1) * self._per_frame
        flat = values.flatten(2).transpose(1, 2)
        means = avg_pool1d(flat, width, self._per_frame).transpose(1, 2)
        return means.reshape(*means.shape[:2], *values.shape[2:])

    def _cut(self, pictures: Tensor, places: Tensor) -> Tensor:
        """(M, K, H, W) to (M, K, side, side), grey values from -1 to 1, the edge repeated beyond the picture."""
        height, width = pictures.shape[2:]
        theta = torch.zeros(len(pictures), 2, 3, device=pictures.device)
        theta[:, 0, 0], theta[:, 1, 1] = places[:, 2] * 2 / width, places[:, 2] * 2 / height
        theta[:, 0, 2], theta[:, 1, 2] = (2 * places[:, 0] + 1) / width - 1, (2 * places[:, 1] + 1) / height - 1
        where = affine_grid(theta, [len(pictures), 1, self._side, self._side], align_corners=False)
        return grid_sample(pictures / 127.5 - 1.0, where, padding_mode="border", align_corners=False)


def _moved(places: Tensor) -> Tensor:
    """Squares (R, N, 3) aside by up to 0.3 of half a side, 0.7 to 1.4 times as large, each run alike throughout."""
    aside, larger = torch.empty_like(places[:, :1]).uniform_(-0.3, 0.3), torch.empty_like(places[:, :1, 2:])
    middles = places[..., :2] + aside[..., :2] * places[..., 2:]
    return torch.cat([middles, places[..., 2:] * larger.uniform_(-0.35, 0.35).exp()], dim=2)


def _mirrored(squares: Tensor, num_runs: int) -> Tensor:
    """Half of the runs mirrored, each in another contrast; squares: those of all frames, run after run."""
    runs = squares.reshape(num_runs, -1, *squares.shape[1:])
    shape = (num_runs, 1, 1, 1, 1)
    is_mirrored = torch.rand(shape, device=squares.device) < 0.5
    contrast = torch.empty(shape, device=squares.device).uniform_(0.7, 1.3)
    return (torch.where(is_mirrored, runs.flip(-1), runs) * contrast).flatten(0, 1)
