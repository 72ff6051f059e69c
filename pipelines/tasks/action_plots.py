"""Pictures of how well actions are found: clips by label, long recordings by precision and recall."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..metrics.actions import f1_by_label
from ..metrics.clips import ClipSheet, clip_figures, confusion
from ..metrics.matching import Floats
from ..metrics.sheet import RecordingResult
from ..metrics.temporal_iou import IOUS, detection_sheet, iou_counts, mean_precisions
from ..plots import plot_by_label, plot_confusion, plot_precision_recall

Pictures = list[tuple[Path, str]]  # files and captions


def plot_clips(folder: Path, labels: Sequence[str], sheets: Mapping[str, ClipSheet]) -> Pictures:
    """Trimmed clips: what was taken for what by the first side, and each label's share of right answers on all."""
    accuracies = {
        name: [clip_figures(sheet, resamples=0)[f"clip_accuracy/{label}"] for label in labels]
        for name, sheet in sheets.items()
    }
    mixed_up, right = folder / "confusion.png", folder / "clip_labels.png"
    first = next(iter(sheets))
    plot_confusion(mixed_up, labels, confusion(sheets[first]))
    plot_by_label(right, labels, accuracies, "share of clips named right")
    return [
        (mixed_up, f"Trimmed clips: what they are, and what the model says {first}."),
        (right, "Share of the trimmed clips of each label that are named right."),
    ]


def plot_long(
    folder: Path,
    labels: Sequence[str],
    found: Mapping[str, Sequence[RecordingResult]],
    ranked: Mapping[str, Sequence[RecordingResult]],
    *,
    least_iou: float,
) -> Pictures:
    """Long recordings: precision against recall of the candidates, and F1 at the thresholds, of every side."""
    recalls = np.linspace(0, 1, 201)
    curves: dict[str, Floats] = {}
    for name, results in ranked.items():
        precisions = mean_precisions(detection_sheet(results, labels), recalls)
        curves |= {f"IoU {iou:g}, {name}": precisions[:, place] for place, iou in enumerate(IOUS)}
    f1 = {name: f1_by_label(iou_counts(each, labels, least_iou=least_iou)) for name, each in found.items()}
    precision, by_label = folder / "precision_recall.png", folder / "labels.png"
    plot_precision_recall(precision, recalls, curves)
    plot_by_label(by_label, labels, f1, f"event F1, temporal IoU {least_iou:g}")
    return [
        (precision, "Precision against recall, mean over labels: the area under a curve is its mAP."),
        (by_label, "How well actions of each label are found, at the model's thresholds."),
    ]
