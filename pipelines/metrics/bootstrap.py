"""How far a figure would move if other recordings had been drawn."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from pipelines.metrics.matching import Floats


class Sheet(Protocol):
    """Counts of U units, such as recordings, which are drawn as wholes."""

    @property
    def units(self) -> Any: ...
    @property
    def hours(self) -> Floats: ...
    @property
    def num_events(self) -> Any: ...


SheetT = TypeVar("SheetT", bound=Sheet)


class Interval(NamedTuple):
    """An estimate and its bootstrap interval; NaN where it is not defined."""

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    statistic: Callable[[SheetT, Floats], float],
    sheet: SheetT,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap over whole units: how far the statistic moves if other recordings had been drawn.

    Detections of one recording depend on each other, so units, never events, are drawn. Resamples in which the
    statistic is not defined (no event drawn) are left out; fewer than two units give no interval (NaN).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    values = np.array([statistic(sheet, weights) for weights in resampled_units(len(sheet.units), resamples, seed)])
    return Interval(statistic(sheet, np.ones(len(sheet.units))), *percentiles(values, level))


def paired_bootstrap(
    a: SheetT,
    b: SheetT,
    statistic: Callable[[SheetT, Floats], float],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Relative difference (a - b) / b of two systems on the same recordings: both see the same resamples.

    Raises:
        ValueError: if the two sheets are not of the same recordings.
    """
    if a.units != b.units or not np.array_equal(a.hours, b.hours) or not np.array_equal(a.num_events, b.num_events):
        raise ValueError(
            f"sheets of {len(a.units)} and {len(b.units)} units differ in names, hours or true events; "
            "a paired bootstrap compares two systems on the same recordings in the same order"
        )

    def difference(weights: Floats) -> float:
        reference = statistic(b, weights)
        return (statistic(a, weights) - reference) / reference if reference else float("nan")

    values = np.array([difference(weights) for weights in resampled_units(len(a.units), resamples, seed)])
    return Interval(difference(np.ones(len(a.units))), *percentiles(values, level))


def resampled_units(num_units: int, resamples: int, seed: int) -> Iterable[Floats]:
    """How often each unit is drawn, in each resample."""
    shares = np.full(num_units, 1 / num_units)
    return np.random.default_rng(seed).multinomial(num_units, shares, size=resamples if num_units > 1 else 0) * 1.0


def percentiles(values: Floats, level: float) -> tuple[float, float]:
    """The limits that this share of the defined values lies between; NaN if none is defined."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
