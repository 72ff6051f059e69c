"""The class of trimmed clips: right or wrong, over all clips and class by class, beside the dense twin.

A clip is right at k if its true class is among the k with the highest scores. What ties with the true class counts as
above it, so a clip in which nothing was looked at (all scores are 0) is wrong.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.metrics.bootstrap import bootstrap_interval, paired_bootstrap
from pipelines.metrics.matching import Floats, Ints

NORMAL_95 = 1.959963984540054  # standard deviations that hold 95 % of a normal distribution


class ClipSheet(NamedTuple):
    """U clips, each of one true class out of L.

    Args:
        rank: (U,) how many other classes score at least as high as the true one.
        said: (U,) index of the class with the highest score; -1: two or more tie, or nothing was looked at.
        num_events: (U, L) 1 for the true class, else 0.
        hours: (U,) length of each clip.
        labels: L names.
        units: U names.
    """

    rank: Ints
    said: Ints
    num_events: Floats
    hours: Floats
    labels: tuple[str, ...]
    units: tuple[str, ...]


def clip_sheet(
    scores: Sequence[Floats], true: Sequence[str], labels: Sequence[str], names: Sequence[str], seconds: Sequence[float]
) -> ClipSheet:
    """What one score per class and clip says.

    Args:
        scores: (L,) of each clip.
        true: the class of each clip, one of `labels`.
        names: of the clips; systems are paired by them.
        seconds: length of each clip.

    Raises:
        ValueError: if there is no clip, or a class that is not among the labels.
    """
    if not true:
        raise ValueError("there is no clip to judge; give at least one")
    if unknown := sorted(set(true) - set(labels)):
        raise ValueError(f"classes {unknown} are not among the labels {list(labels)}; leave their clips out")
    table = np.stack(list(scores)).astype(np.float64)
    columns = np.array([labels.index(label) for label in true])
    own = table[np.arange(len(table)), columns]
    highest = table.max(axis=1)
    is_sole = (table == highest[:, None]).sum(axis=1) == 1
    return ClipSheet(
        (table >= own[:, None]).sum(axis=1) - 1,
        np.where(is_sole & (highest > 0), table.argmax(axis=1), -1),
        np.eye(len(labels))[columns],
        np.array(seconds, dtype=np.float64) / 3600,
        tuple(labels),
        tuple(names),
    )


def top_accuracy(k: int) -> Callable[[ClipSheet, Floats], float]:
    """Share of the clips whose class is among the k best-scored, as a statistic for a bootstrap."""

    def statistic(sheet: ClipSheet, weights: Floats) -> float:
        return float(weights @ (sheet.rank < k)) / float(weights.sum())

    return statistic


def mean_class_accuracy(sheet: ClipSheet, weights: Floats) -> float:
    """Mean over classes that occur of the share of their clips that are right. A statistic for a bootstrap."""
    clips = weights @ sheet.num_events
    right = (weights * (sheet.rank < 1)) @ sheet.num_events
    return float((right[clips > 0] / clips[clips > 0]).mean())


def wilson_interval(num_right: float, number: float) -> tuple[float, float]:
    """95 % interval of a share; it does not shrink to a point when all or none are right.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22, 1927.
    """
    share, spread = num_right / number, NORMAL_95**2 / number
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def confusion(sheet: ClipSheet) -> Ints:
    """(L, L + 1) clips of each true class (row) by what was said (column); the last column: nothing."""
    table = np.zeros((len(sheet.labels), len(sheet.labels) + 1), dtype=np.int64)
    np.add.at(table, (sheet.num_events.argmax(axis=1), sheet.said), 1)  # -1 is the last column
    return table


def clip_figures(sheet: ClipSheet, *, resamples: int = 1000, seed: int = 0) -> dict[str, float]:
    """The keys of docs/metrics.md on clips."""
    number = float(len(sheet.units))
    figures = {"num_clips": number, "num_clips_unanswered": float((sheet.said < 0).sum())}
    figures["clip_chance"] = 1 / len(sheet.labels)
    for key, k in {"clip_accuracy": 1, "clip_top5_accuracy": 5}.items():
        if k < len(sheet.labels) or k == 1:
            num_right = float((sheet.rank < k).sum())
            figures[key] = num_right / number
            figures[f"{key}_low"], figures[f"{key}_high"] = wilson_interval(num_right, number)
    key = "clip_mean_class_accuracy"
    figures[key], figures[f"{key}_low"], figures[f"{key}_high"] = bootstrap_interval(
        mean_class_accuracy, sheet, resamples=resamples, seed=seed
    )
    for column, label in enumerate(sheet.labels):
        is_label = sheet.num_events[:, column] > 0
        figures[f"num_clips/{label}"] = float(is_label.sum())
        figures[f"clip_accuracy/{label}"] = float((sheet.rank[is_label] < 1).mean()) if is_label.any() else math.nan
    return figures


def clip_changes(sheet: ClipSheet, dense: ClipSheet, *, resamples: int = 1000, seed: int = 0) -> dict[str, float]:
    """Accuracy with the switch relative to everything open, minus 1, on the same clips: paired bootstrap.

    Raises:
        ValueError: if the two sheets are not of the same clips.
    """
    figures: dict[str, float] = {}
    statistics = {"clip_accuracy": top_accuracy(1), "clip_mean_class_accuracy": mean_class_accuracy}
    for name, statistic in statistics.items():
        change = paired_bootstrap(sheet, dense, statistic, resamples=resamples, seed=seed)
        key = f"{name}_change_vs_dense"
        figures |= {key: change.estimate, f"{key}_low": change.low, f"{key}_high": change.high}
    return figures
