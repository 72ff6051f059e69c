"""How any features change: the same frames with their first and second differences beside them."""

import math
from collections.abc import Callable
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from featurizers.grid import Featurizer, Grid, Stretch


@runtime_checkable  # issubclass decides by the method alone
class Evaluates(Protocol):
    """A `Featurizer` as far as its class shows it: what a recipe can check before there is an object."""

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor: ...


class Deltas(nn.Module):
    """Another featurizer's rows, each followed by its first difference and, if wanted, its second.

    A difference is the slope (or curvature) of the polynomial of that order that fits `width` rows best, as in
    librosa.feature.delta; for the first it is also torchaudio's compute_deltas. The rows on either side are computed as
    extra context, so that any cut into runs gives the same frames; for a featurizer that works in windows that is a
    whole window on either side. In a recipe:

        class_path: featurizers.Deltas
        init_args: {of: {class_path: featurizers.Mfcc, init_args: {num_coefficients: 13}}, row_size: 13}

    Args:
        grid: the model's frames.
        of: makes the featurizer from the grid: a class or functools.partial, in a recipe class_path and init_args; one
            that takes glance_size must be told it there.
        row_size: numbers per row, where a frame is a stack of rows, such as LogMel's num_mels; None: a frame is a row.
        order: 1: first differences; 2: second ones as well.
        width: rows that a difference is fitted to, an odd number.

    Raises:
        ValueError: if width is even or too small, or row_size does not divide the featurizer's size.
    Source: Furui, Speaker-independent isolated word recognition using dynamic features of speech spectrum, IEEE Trans.
        ASSP 34(1), 1986; the fit: Savitzky and Golay, Analytical Chemistry 36(8), 1964.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        of: Callable[[Grid], Evaluates],
        row_size: int | None = None,
        order: int = 2,
        width: int = 9,
    ) -> None:
        super().__init__()
        if order not in (1, 2):
            raise ValueError(f"order={order} must be 1 or 2")
        if width < 3 or width % 2 == 0:
            raise ValueError(f"width={width} must be an odd number of rows, 3 or more")
        inner = cast(Featurizer, of(grid))
        self.row_size = inner.size if row_size is None else row_size
        if self.row_size < 1 or inner.size % self.row_size:
            raise ValueError(
                f"row_size={row_size} must divide the {inner.size} numbers per frame of {type(inner).__name__}; "
                "give its own numbers per row, or leave row_size out"
            )
        self.inner = inner
        self.rows_per_frame = inner.size // self.row_size
        self.size = inner.size * (1 + order)
        block = inner.needs.block_frames
        self._half = width // 2
        self._extra_frames = math.ceil(math.ceil(self._half / self.rows_per_frame) / block) * block
        extra_seconds = self._extra_frames * grid.hop_seconds
        self.needs = inner.needs._replace(
            left_seconds=_whole_frames(inner, inner.needs.left_seconds, grid) + extra_seconds,
            right_seconds=_whole_frames(inner, inner.needs.right_seconds, grid) + extra_seconds,
        )
        itself = torch.zeros(width)
        itself[self._half] = 1.0
        self._taps = torch.stack([itself, *(derivative_taps(width, degree) for degree in range(1, order + 1))])

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        """What the inner featurizer reads, to (R, num_frames, rows per frame * (1 + order) * row_size)."""
        extra = self._extra_frames
        frames = self.inner.evaluate(stretch, first_frame - extra, num_frames + 2 * extra)
        rows = frames.reshape(len(frames), -1, self.row_size)
        begin = extra * self.rows_per_frame
        rows = rows[:, begin - self._half : begin + num_frames * self.rows_per_frame + self._half]
        windows = rows.unfold(1, 2 * self._half + 1, 1)  # (R, rows, row_size, width)
        fitted = torch.einsum("rtsw,ow->rtos", windows, self._taps.to(rows))
        return fitted.reshape(len(frames), num_frames, self.size)


def derivative_taps(width: int, degree: int) -> Tensor:
    """Weights (width,) of rows around one: the highest derivative, at that row, of the best polynomial of a degree."""
    places = torch.arange(width, dtype=torch.float64) - width // 2
    powers = torch.stack([places**power for power in range(degree + 1)], dim=1)
    taps: Tensor = torch.linalg.pinv(powers)[degree] * math.factorial(degree)
    return taps.float()


def _whole_frames(inner: Featurizer, seconds: float, grid: Grid) -> float:
    """Context as the framework gives it: whole frames of a glance, samples otherwise."""
    return grid.num_frames(seconds) * grid.hop_seconds if inner.needs.reads == "glance" else seconds
