"""One interval for several seeds of a system: recordings are resampled, the figures of the seeds averaged.

    resample of recordings --> figure of seed 0, seed 1, seed 2 (each at an operating point of its own) --> mean

Two systems see the same resamples. What another seed would have given is not in the interval; the seeds are therefore
listed beside it.
"""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from pipelines.metrics import Interval, ScoreSheet, Statistic, bootstrap_interval, paired_bootstrap
from pipelines.metrics.matching import Floats

Seeds = Sequence[ScoreSheet]  # one sheet per seed, of the same recordings in the same order


def pooled_interval(seeds: Seeds, statistic: Statistic) -> Interval:
    """The mean over seeds of a figure of one system."""
    return bootstrap_interval(_mean_over(statistic, seeds), seeds[0])


def pooled_change(seeds: Seeds, reference: Seeds, statistic: Statistic) -> Interval:
    """Relative change (seeds - reference) / reference of the means over seeds.

    Raises:
        ValueError: if the sheets are not of the same recordings.
    """
    return paired_bootstrap(seeds[0], reference[0], _mean_over(statistic, seeds, reference))


def seed_values(seeds: Seeds, statistic: Statistic) -> list[float]:
    """The figure of each seed, on all recordings."""
    return [statistic(sheet, np.ones(len(sheet.units))) for sheet in seeds]


def _mean_over(statistic: Statistic, *systems: Seeds) -> Statistic:
    """The bootstrap asks for a figure of a system's first sheet, and is given the mean over all of them."""
    for seeds in systems:
        for sheet in seeds[1:]:
            if sheet.units != seeds[0].units or not np.array_equal(sheet.hours, seeds[0].hours):
                raise ValueError("sheets of one system differ in their recordings; evaluate all seeds on the same ones")

    def mean(first: ScoreSheet, weights: Floats) -> float:
        seeds = next(seeds for seeds in systems if seeds[0] is first)
        return fmean(statistic(sheet, weights) for sheet in seeds)

    return mean
