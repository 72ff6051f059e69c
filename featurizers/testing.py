"""check_featurizer(mine): does a featurizer keep every promise that skipping frames relies on?"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from featurizers.grid import Featurizer, Grid, PictureFormat
from featurizers.runs import (
    AudioSource,
    GlanceSource,
    PacketSource,
    Run,
    Source,
    cut_stretch,
    evaluate_runs,
    picture_shape,
)
from featurizers.video_types import Packets, Pictures

TOLERANCE = 1e-4  # of the largest feature: float32 sums in another order; a broken promise shows as far more


class FeaturizerError(AssertionError):
    """A featurizer breaks a promise; the message names which."""


@torch.no_grad()
def check_featurizer(
    featurizer: Featurizer, grid: Grid, *, seconds: float = 6.0, seed: int = 0, glance: Tensor | None = None
) -> None:
    """Evaluate a featurizer on noise, cut in many ways, and compare.

    The noise is of what it reads: faint to loud audio, packets of key frames and of pictures between them, or patches
    that move over a background. Weights that are trained are no hindrance: no gradient is kept.

    Args:
        featurizer: what to check.
        grid: the grid it was built for.
        seconds: length of the noise.
        seed: of the noise and of the cuts.
        glance: for one that reads "glance": frames (T, glance size) to check on; the first is taken for silence.

    Raises:
        FeaturizerError: naming the promise that is broken.
        ValueError: if it reads "glance" and none is given, or if seconds hold fewer than three blocks of frames.
    """
    name = type(featurizer).__name__
    random = torch.Generator().manual_seed(seed)
    source = _source(featurizer, grid, seconds, random, glance)
    block = featurizer.needs.block_frames
    num_frames = grid.num_frames(seconds) // block * block
    if num_frames < 3 * block:
        raise ValueError(f"seconds={seconds} hold {num_frames} frames; at least {3 * block} are needed, raise seconds")
    whole = _checked_pass(featurizer, grid, source, num_frames, name)
    tolerance = TOLERANCE * max(1.0, float(whole.abs().max()))

    def evaluate(runs: list[Run]) -> Tensor:
        return evaluate_runs(featurizer, grid, runs, source).features

    def require_equal(found: Tensor, expected: Tensor, promise: str) -> None:
        difference = float((found - expected).abs().max())
        if not difference <= tolerance:
            raise FeaturizerError(f"{name}: {promise} (difference {difference:.3g}, allowed {tolerance:.3g})")

    require_equal(evaluate([Run(0, num_frames)]), whole, "the same input gave different features")
    _check_context(featurizer, grid, source, whole, tolerance, name)
    for runs in _cuts(num_frames, block, random):
        require_equal(evaluate(runs), whole, f"cut into {len(runs)} runs it gives other frames than in one pass")
    equal = _equal_runs(num_frames, block)
    alone = torch.cat([evaluate([run]) for run in equal])
    require_equal(alone, evaluate(equal), "runs evaluated alone differ from the same runs evaluated as a batch")
    later = grid._replace(origin_seconds=grid.origin_seconds + 3600.0)
    moved = evaluate_runs(featurizer, later, [Run(0, num_frames)], _an_hour_later(source)).features
    require_equal(moved, whole, "the same data an hour later gives other features; they may not depend on the clock")
    if not evaluate_runs(featurizer, grid, [Run(0, block)], _silence(source)).features.isfinite().all():
        raise FeaturizerError(f"{name}: features of silence are not finite; put a floor under the logarithm or divisor")


def _checked_pass(featurizer: Featurizer, grid: Grid, source: Source, num_frames: int, name: str) -> Tensor:
    """One pass over everything, with what can be seen of it alone: shape, type, finite, input left as it was."""
    first_frame = torch.zeros(1, dtype=torch.int64)
    stretch = cut_stretch(featurizer.needs, grid, source, first_frame, num_frames)
    before = stretch.data.clone()
    features = featurizer.evaluate(stretch, first_frame, num_frames)
    if not isinstance(features, Tensor):
        raise FeaturizerError(f"{name}: evaluate must return a torch.Tensor, not {type(features).__name__}")
    expected = (1, num_frames, featurizer.size)
    if tuple(features.shape) != expected:
        found = tuple(features.shape)
        raise FeaturizerError(f"{name}: evaluate gave the shape {found}; runs, frames, size are {expected}")
    if features.dtype != torch.float32:
        raise FeaturizerError(f"{name}: features are {features.dtype}; they must be torch.float32")
    if not features.isfinite().all():
        raise FeaturizerError(f"{name}: features of noise are not finite")
    if not torch.equal(before, stretch.data):
        raise FeaturizerError(f"{name}: evaluate changes its input; work on a copy")
    return features[0].detach().clone()


def _check_context(
    featurizer: Featurizer, grid: Grid, source: Source, whole: Tensor, tolerance: float, name: str
) -> None:
    """Frames in the middle third keep their values when all data on one side, beyond the context, is replaced.

    timeline, left side:   [replaced.....|<left>|middle third|.............]
    """
    num_frames, block = len(whole), featurizer.needs.block_frames
    third = num_frames // block // 3 * block
    middle = Run(third, num_frames - 2 * third)
    for side in ("left", "right"):
        changed = _replaced_beyond(featurizer, grid, source, middle, side)
        found = evaluate_runs(featurizer, grid, [Run(0, num_frames)], changed).features
        is_changed = ((found - whole).abs().amax(dim=1) > tolerance)[third : num_frames - third]
        if is_changed[-1 if side == "left" else 0]:  # the frame farthest from what was replaced
            raise FeaturizerError(f"{name}: every frame depends on the whole run; do not normalise or pool over it")
        if is_changed.any():
            raise FeaturizerError(
                f"{name}: data beyond the declared context changes a frame; raise {side}_seconds "
                f"from {getattr(featurizer.needs, side + '_seconds'):g} s"
            )


def _replaced_beyond(featurizer: Featurizer, grid: Grid, source: Source, run: Run, side: str) -> Source:
    """The source with other data before the run's left context, or after its right context."""
    needs = featurizer.needs
    begin, end = run.first_frame, run.first_frame + run.num_frames
    if isinstance(source, PacketSource):
        times = source.packets.times
        is_kept = times >= grid.onset_seconds(begin) - needs.left_seconds
        if side == "right":
            is_kept = times < grid.onset_seconds(end) + needs.right_seconds
        sizes = torch.where(is_kept, source.packets.sizes, source.packets.sizes.flip(0) * 7 + 1)
        is_key = torch.where(is_kept, source.packets.is_key, source.packets.is_key.roll(1))
        return PacketSource(source.packets._replace(sizes=sizes, is_key=is_key))
    if isinstance(source, GlanceSource):
        original, other, per_frame, rate_hz = source.frames, source.frames.flip(0) + 1.0, 1, 1 / grid.hop_seconds
    else:
        per_frame, rate_hz = grid.elements_per_frame(needs.rate_hz), needs.rate_hz
        original = source.samples if isinstance(source, AudioSource) else _array(source).data
        other = (1.0 if isinstance(source, AudioSource) else 255) - original.flip(0)
    first = max(0, begin * per_frame - round(needs.left_seconds * rate_hz))
    last = end * per_frame + round(needs.right_seconds * rate_hz)
    kept = slice(first, None) if side == "left" else slice(0, last)
    other[kept] = original[kept]
    if isinstance(source, GlanceSource):
        return source._replace(frames=other)
    return source._replace(samples=other) if isinstance(source, AudioSource) else _array(source)._replace(data=other)


class PictureArray(NamedTuple):
    """Pictures in memory as a source: the one nearest to each time.

    Args:
        data: (N, channels, height, width) uint8, of the format that will be asked for.
        times: (N,) float64, ascending.
    """

    data: Tensor
    times: Tensor

    def pictures(self, times: Tensor, picture: PictureFormat) -> Pictures:  # noqa: ARG002
        """The picture nearest to each time; of two equally near ones the earlier."""
        after = torch.searchsorted(self.times, times).clamp(1, max(1, len(self.times) - 1))
        is_later = (self.times[after.clamp_max(len(self.times) - 1)] - times) < (times - self.times[after - 1])
        place = torch.where(is_later, after, after - 1).clamp_max(len(self.times) - 1)
        return Pictures(self.data[place], self.times[place])


def _array(source: Source) -> PictureArray:
    assert isinstance(source, PictureArray)
    return source


def _source(
    featurizer: Featurizer, grid: Grid, seconds: float, random: torch.Generator, glance: Tensor | None
) -> Source:
    needs = featurizer.needs
    if needs.reads == "glance":
        if glance is None:
            raise ValueError("this featurizer reads the glance; give glance=(T, glance size) frames to check it on")
        return GlanceSource(glance, glance[0])
    if needs.reads == "packets":
        return PacketSource(_random_packets(grid, seconds, random))
    num_elements = grid.num_frames(seconds) * grid.elements_per_frame(needs.rate_hz)
    if needs.reads == "pictures":
        times = grid.origin_seconds + torch.arange(num_elements, dtype=torch.float64) / needs.rate_hz
        return PictureArray(_moving_pictures(num_elements, picture_shape(needs), random), times)
    level = torch.logspace(-2, 0, num_elements)  # from faint to loud, so that normalising over a run shows
    return AudioSource(0.3 * level * torch.randn(num_elements, generator=random).clamp(-3, 3))


def _random_packets(grid: Grid, seconds: float, random: torch.Generator) -> Packets:
    """25 pictures a second with holes; a key frame every 1.5 s; every third other one is large, as with B-frames."""
    number = torch.arange(int(seconds * 25))
    is_key = number % 37 == 0
    kind = torch.where(is_key, 9.0, torch.where(number % 3 == 0, 6.5, 4.5))
    growing = torch.linspace(0, 3, len(number))  # so that normalising over a run shows
    sizes = (kind + growing + 0.5 * torch.randn(len(number), generator=random)).exp().long()
    is_there = torch.rand(len(number), generator=random) > 0.05
    return Packets(grid.origin_seconds + number[is_there].double() / 25, sizes[is_there], is_key[is_there])


def _moving_pictures(num_pictures: int, shape: tuple[int, int, int], random: torch.Generator) -> Tensor:
    """A patch that wanders over a noisy background and grows brighter."""
    _, height, width = shape
    scene = torch.randint(40, 90, shape, generator=random)
    pictures = scene + torch.randint(-6, 7, (num_pictures, *shape), generator=random)
    tall, wide = max(1, height // 4), max(1, width // 4)
    steps = torch.randint(-2, 3, (num_pictures, 2), generator=random).cumsum(0)
    for index, (down, right) in enumerate(steps.tolist()):
        top, left = down % (height - tall + 1), right % (width - wide + 1)
        pictures[index, :, top : top + tall, left : left + wide] += 30 + 120 * index // num_pictures
    return pictures.clamp(0, 255).to(torch.uint8)


def _an_hour_later(source: Source) -> Source:
    if isinstance(source, PacketSource):
        return PacketSource(source.packets._replace(times=source.packets.times + 3600.0))
    return source._replace(times=source.times + 3600.0) if isinstance(source, PictureArray) else source


def _cuts(num_frames: int, block: int, random: torch.Generator) -> list[list[Run]]:
    """Runs of one block; of equal length; three cuts at random."""
    num_blocks = num_frames // block
    cuts = [[Run(first * block, block) for first in range(num_blocks)], _equal_runs(num_frames, block)]
    for _ in range(3):
        is_cut = torch.rand(num_blocks - 1, generator=random) < 0.25
        edges = [0, *(is_cut.nonzero().flatten() + 1).tolist(), num_blocks]
        cuts.append([Run(a * block, (b - a) * block) for a, b in itertools.pairwise(edges)])
    return cuts


def _equal_runs(num_frames: int, block: int) -> list[Run]:
    length = max(block, num_frames // 4 // block * block)
    return [Run(first, min(length, num_frames - first)) for first in range(0, num_frames, length)]


def _silence(source: Source) -> Source:
    """Nothing: no sound, no packets, a black picture that stands still."""
    if isinstance(source, GlanceSource):
        return source._replace(frames=source.silence.expand_as(source.frames))
    if isinstance(source, PacketSource):
        return PacketSource(Packets(*(column[:0] for column in source.packets)))
    if isinstance(source, AudioSource):
        return source._replace(samples=torch.zeros_like(source.samples))
    return _array(source)._replace(data=torch.zeros_like(_array(source).data))
