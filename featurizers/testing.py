"""check_featurizer(mine): does a featurizer keep every promise that skipping frames relies on?"""

import itertools

import torch
from torch import Tensor

from featurizers.grid import Featurizer, Grid
from featurizers.runs import AudioSource, GlanceSource, Run, cut_stretch, evaluate_runs

TOLERANCE = 1e-4  # of the largest feature: float32 sums in another order; a broken promise shows as far more


class FeaturizerError(AssertionError):
    """A featurizer breaks a promise; the message names which."""


def check_featurizer(
    featurizer: Featurizer, grid: Grid, *, seconds: float = 6.0, seed: int = 0, glance: Tensor | None = None
) -> None:
    """Evaluate a featurizer on noise, cut in many ways, and compare.

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
    moved = evaluate_runs(featurizer, later, [Run(0, num_frames)], source).features
    require_equal(moved, whole, "the same data an hour later gives other features; they may not depend on the clock")
    if not evaluate_runs(featurizer, grid, [Run(0, block)], _silence(source)).features.isfinite().all():
        raise FeaturizerError(f"{name}: features of silence are not finite; put a floor under the logarithm or divisor")


def _checked_pass(
    featurizer: Featurizer, grid: Grid, source: AudioSource | GlanceSource, num_frames: int, name: str
) -> Tensor:
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
    featurizer: Featurizer, grid: Grid, source: AudioSource | GlanceSource, whole: Tensor, tolerance: float, name: str
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


def _replaced_beyond(
    featurizer: Featurizer, grid: Grid, source: AudioSource | GlanceSource, run: Run, side: str
) -> AudioSource | GlanceSource:
    needs = featurizer.needs
    if isinstance(source, GlanceSource):
        data, per_frame, rate_hz = source.frames.flip(0) + 1.0, 1, 1 / grid.hop_seconds
    else:
        per_frame, rate_hz = grid.elements_per_frame(needs.rate_hz), needs.rate_hz
        data = 1.0 - source.samples.flip(0)
    original = source.frames if isinstance(source, GlanceSource) else source.samples
    first = max(0, run.first_frame * per_frame - round(needs.left_seconds * rate_hz))
    last = (run.first_frame + run.num_frames) * per_frame + round(needs.right_seconds * rate_hz)
    kept = slice(first, None) if side == "left" else slice(0, last)
    data[kept] = original[kept]
    return source._replace(frames=data) if isinstance(source, GlanceSource) else source._replace(samples=data)


def _source(
    featurizer: Featurizer, grid: Grid, seconds: float, random: torch.Generator, glance: Tensor | None
) -> AudioSource | GlanceSource:
    if featurizer.needs.reads == "glance":
        if glance is None:
            raise ValueError("this featurizer reads the glance; give glance=(T, glance size) frames to check it on")
        return GlanceSource(glance, glance[0])
    num_samples = grid.num_frames(seconds) * grid.elements_per_frame(featurizer.needs.rate_hz)
    level = torch.logspace(-2, 0, num_samples)  # from faint to loud, so that normalising over a run shows
    return AudioSource(0.3 * level * torch.randn(num_samples, generator=random).clamp(-3, 3))


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


def _silence(source: AudioSource | GlanceSource) -> AudioSource | GlanceSource:
    if isinstance(source, GlanceSource):
        return source._replace(frames=source.silence.expand_as(source.frames))
    return source._replace(samples=torch.zeros_like(source.samples))
