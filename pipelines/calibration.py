"""Scores that say how often such a detection was right, on recordings like those of the validation split."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]

from .metrics import RecordingResult, score_sheet
from .metrics.matching import Floats

PRIOR_DETECTIONS = 4.0  # how many detections' worth of doubt that a label differs from all labels together
LEAST_SCORE = 0.1  # detections below are not shown: nearly all are wrong, and known to be
NUM_BINS = 10
LIMITS = ((-3.0, 3.0), (-20.0, 20.0))  # of the logarithm of 1 / temperature, and of the bias


class Calibration(NamedTuple):
    """The score of a detection is sigmoid(level / temperature + bias)."""

    temperature: float = 1.0
    bias: float = 0.0


class Reliability(NamedTuple):
    """Detections in K bins of their score that hold any.

    Args:
        score: (K,) their mean score.
        share_right: (K,) how many of them were hits.
        number: (K,) how many they are.
    """

    score: Floats
    share_right: Floats
    number: Floats

    @property
    def error(self) -> float:
        """Mean difference of score and share right over the detections; NaN if there are none.

        Source: the expected calibration error of Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
        """
        if not self.number.sum():
            return float("nan")
        return float(np.abs(self.score - self.share_right) @ self.number / self.number.sum())


def calibration_of(results: Sequence[RecordingResult], labels: Sequence[str]) -> dict[str, Calibration]:
    """What turns each label's logits into the share of detections that are right.

    A logistic regression of hits on logits for all labels together, then for each label, drawn towards the former where
    it has few detections. Scores keep their order within a label.

    Args:
        results: of the validation split; detections down to a low score, scored by their logits.

    Source: Platt, Probabilistic Outputs for Support Vector Machines, 1999, for the form.
    """
    sheet = score_sheet(results, labels, dict.fromkeys(labels, 0.0))
    pooled = _fitted(sheet.margins, sheet.is_hit, np.zeros(2))
    of_label = {}
    for column, label in enumerate(labels):
        rows = sheet.label_of == column
        slope, bias = _fitted(sheet.margins[rows], sheet.is_hit[rows], pooled)
        of_label[label] = Calibration(float(np.exp(-slope)), float(bias))
    return of_label


def reliability(results: Sequence[RecordingResult], labels: Sequence[str]) -> Reliability:
    """How often detections were right, by their scores; those below 0.1 do not count.

    Args:
        results: detections scored by their logits, the calibrated ones.
    """
    sheet = score_sheet(results, labels, dict.fromkeys(labels, 0.0))
    scores = 1 / (1 + np.exp(-sheet.margins))
    is_shown = scores >= LEAST_SCORE
    scores, is_right = scores[is_shown], sheet.is_hit[is_shown]
    bins = np.minimum((scores * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    number = np.bincount(bins, minlength=NUM_BINS).astype(np.float64)
    held = number > 0
    sums = (np.bincount(bins, weights=each, minlength=NUM_BINS)[held] for each in (scores, is_right * 1.0))
    mean_score, share_right = (each / number[held] for each in sums)
    return Reliability(mean_score, share_right, number[held])


def _fitted(logits: Floats, is_right: NDArray[np.bool_], prior: Floats) -> Floats:
    """(2,) logarithm of the slope, and bias, of the logistic regression, drawn towards the prior."""
    signs = np.where(is_right, 1.0, -1.0)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slope, away = np.exp(parameters[0]), parameters - prior
        margins = signs * (slope * logits + parameters[1])
        wrong = -signs / (1 + np.exp(np.clip(margins, -500, 500)))  # derivative of log(1 + exp(-margin)) by the score
        value = np.logaddexp(0, -margins).sum() + PRIOR_DETECTIONS * (away[0] ** 2 + away[1] ** 2 / 4)
        gradient = np.array([(wrong * slope * logits).sum(), wrong.sum()])
        return float(value), gradient + PRIOR_DETECTIONS * np.array([2 * away[0], away[1] / 2])

    fitted: Floats = minimize(loss, prior, jac=True, method="L-BFGS-B", bounds=LIMITS).x
    return fitted
