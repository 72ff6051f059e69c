"""Figures of a comparison: those that pipelines.run gives for the same tracks."""

from pathlib import Path

import pytest
import torch

from benchmarks.yardsticks import Sounds, Words
from featurizers import Grid
from pipelines.events import Event, Recording
from pipelines.heads import Held
from pipelines.keywords import Decision, placements_of_decisions, results_of
from pipelines.line import Track
from pipelines.metrics import recall_statistic, score_sheet
from pipelines.spans import SpanDecision
from pipelines.tasks import Judged, SoundEventDetection
from pipelines.tasks.sounds import Tuning

GRID = Grid(0.1)
LABELS = ("bell", "dog")


def track_of(seed: int) -> Track:
    """20 s with three events that most scores stand out in."""
    generator = torch.Generator().manual_seed(seed)
    level = torch.randn(200, 2, generator=generator) - 2
    for column, first, end in ((0, 20, 40), (1, 30, 50), (0, 100, 110)):
        level[first:end, column] += 4
    held = Held(level, torch.zeros_like(level), torch.arange(200))
    return Track(held, torch.ones(200, dtype=torch.bool), None, GRID, 200, 20.0)


TRUTH = (Event(2.0, 4.0, "bell"), Event(3.0, 5.0, "dog"), Event(10.0, 11.0, "bell"))
TRACKS = [track_of(seed) for seed in range(4)]
RECORDINGS = [
    Recording(Path(f"{n}.flac"), TRUTH, kind="busy", labelled_spans=((0.0, 9.0),) if n == 3 else None) for n in range(4)
]


def test_sounds_are_measured_as_the_task_measures_them() -> None:
    decisions = dict.fromkeys(LABELS, SpanDecision(0.4, 0.3, 3))
    figures = SoundEventDetection().metrics(Judged(RECORDINGS, TRACKS, TRACKS, LABELS, Tuning(decisions, decisions)))
    measured = Sounds(0.2).measure(TRACKS, RECORDINGS, LABELS, decisions)
    assert list(measured) == list(Sounds.figures)
    assert measured["psds1"].value == pytest.approx(figures["psds1_all_thresholds"])
    assert measured["event_f1"].value == pytest.approx(figures["event_f1_200ms_macro"])
    assert 0 < measured["event_f1"].value < 1
    assert measured["psds1"].units == ("0", "1", "2", "3")
    first = Sounds(0.2).measure(TRACKS, RECORDINGS, LABELS, decisions, is_resampled=False)
    assert (first["psds1"].value, first["psds1"].resampled) == (measured["psds1"].value, ())


def test_words_are_measured_by_recall_with_each_label_at_its_own_threshold() -> None:
    recordings = [recording._replace(kind="talkative", labelled_spans=None) for recording in RECORDINGS]
    decisions = {"bell": Decision(0.9, 0.6, 0.1), "dog": Decision(0.5, 0.6, 0.1)}
    measured = Words().measure(TRACKS, recordings, LABELS, decisions)["recall"]
    thresholds = {"bell": 2.1972246, "dog": 0.0}  # log(0.9 / 0.1)
    results = results_of(TRACKS, recordings, LABELS, placements_of_decisions(decisions))
    sheet = score_sheet(results, LABELS, thresholds)
    assert measured.value == pytest.approx(recall_statistic(1.0)(sheet, torch.ones(4).double().numpy()))
    assert len(measured.resampled) == 1000
    assert Words().measure(TRACKS, recordings, LABELS, {**decisions, "dog": Decision(1.0)})  # never found
