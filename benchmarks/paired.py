"""One interval for several seeds of a system: recordings are resampled, the figures of the seeds averaged.

    resample of recordings --> figure of seed 0, seed 1, seed 2 (each at an operating point of its own) --> mean

Two systems see the same resamples. What another seed would have given is not in the interval; the seeds are therefore
listed beside it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.metrics import Interval
from pipelines.metrics.bootstrap import SheetT, percentiles, resampled_units
from pipelines.metrics.matching import Floats


class Draws(NamedTuple):
    """A figure of one system and seed: plain numbers, so that a comparison can be stopped and gone on with.

    Args:
        value: on all recordings.
        resampled: on each of R resamples of them; the same resamples for every system.
        units: names of what is resampled.
    """

    value: float
    resampled: tuple[float, ...]
    units: tuple[str, ...]


def draws_of(
    sheet: SheetT, statistic: Callable[[SheetT, Floats], float], *, resamples: int = 1000, seed: int = 0
) -> Draws:
    """The figure on all recordings and on resamples of them."""
    units = tuple(sheet.units)
    resampled = (float(statistic(sheet, weights)) for weights in resampled_units(len(units), resamples, seed))
    return Draws(float(statistic(sheet, np.ones(len(units)))), tuple(resampled), units)


def pooled_interval(seeds: Sequence[Draws], *, level: float = 0.95) -> Interval:
    """The mean over seeds of a figure of one system.

    Raises:
        ValueError: if the seeds are not of the same recordings.
    """
    value, resampled = _mean(seeds)
    return Interval(value, *percentiles(resampled, level))


def pooled_change(seeds: Sequence[Draws], reference: Sequence[Draws], *, level: float = 0.95) -> Interval:
    """Relative change (seeds - reference) / reference of the means over seeds.

    Raises:
        ValueError: if the draws are not of the same recordings.
    """
    _refuse_others([*seeds, *reference])
    (value, resampled), (base, resampled_base) = _mean(seeds), _mean(reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = np.where(resampled_base != 0, (resampled - resampled_base) / resampled_base, np.nan)
    return Interval((value - base) / base if base else float("nan"), *percentiles(changes, level))


def _mean(seeds: Sequence[Draws]) -> tuple[float, Floats]:
    _refuse_others(seeds)
    resampled: Floats = np.mean([draws.resampled for draws in seeds], axis=0)
    return float(np.mean([draws.value for draws in seeds])), resampled


def _refuse_others(draws: Sequence[Draws]) -> None:
    for other in draws[1:]:
        if other.units != draws[0].units or len(other.resampled) != len(draws[0].resampled):
            raise ValueError("figures of other recordings; evaluate all systems and seeds on the same recordings")
