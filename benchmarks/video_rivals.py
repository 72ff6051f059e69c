"""Simpler ways to skip in video, what they find and what they cost, from file to events: for action_skipping.

All have weights of a model with a learned switch, and open as many frames of validation recordings as it does.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d

from benchmarks.paired import Draws, draws_of
from benchmarks.rivals import EvenStride
from featurizers import PacketGlance, PictureChange
from pipelines.errors import UserError
from pipelines.events import Event, Recording
from pipelines.labelled import labelled_seconds, true_events
from pipelines.line import Line, Track
from pipelines.metrics.matching import match_detections
from pipelines.metrics.sheet import RecordingResult
from pipelines.metrics.temporal_iou import detection_sheet, map_statistic
from pipelines.recipe import EvaluateOptions
from pipelines.span_candidates import span_candidates
from pipelines.tasks import ActionRecognition
from surnn import Gate, RandomGate, Switch

STRIDE, RANDOM, DIFFERENCE, KEYS = "uniform stride", "random skipping", "frame difference", "key frames only"
RESAMPLES = 200


class ThresholdGate:
    """Open around frames in which one number of the glance is above a threshold.

    Args:
        glance_size: numbers per glance frame.
        column: which of them.
        threshold: above it a frame is open.
        dilate_frames: what is open is widened by so many on either side.
    """

    def __init__(self, glance_size: int, *, column: int, threshold: float, dilate_frames: int = 0) -> None:
        self.glance_size, self.column, self.threshold = glance_size, column, threshold
        self.lookback_frames = self.lookahead_frames = dilate_frames

    def levels(self, glance: Tensor) -> Tensor:
        """What is compared with the threshold, (B, T), widened already."""
        width = self.lookback_frames
        return max_pool1d(glance[None, :, :, self.column], 2 * width + 1, 1, width)[0]

    def switch(self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None) -> Switch:  # noqa: ARG002
        """See surnn.Gate."""
        is_open = self.levels(glance) > self.threshold
        return Switch((is_open if among is None else is_open & among).to(glance.dtype))


class Walked(NamedTuple):
    """What a system did on the test recordings of a kind; plain numbers, as they are kept.

    Args:
        average_precision: mean over labels and temporal IoU, with resamples of the recordings.
        recall, false_alarms_per_hour: at the thresholds, all labels together.
        decoded, featurized, encoded: shares of pictures, frames, frames.
        seconds, media_seconds: from file to events; of the recordings.
    """

    average_precision: Draws
    recall: float
    false_alarms_per_hour: float
    decoded: float
    featurized: float
    encoded: float
    seconds: float
    media_seconds: float


class Walk(NamedTuple):
    """One recording, walked: what the line said, what was found, and the seconds from file to events."""

    track: Track
    found: list[Event]
    seconds: float


def rival(name: str, learned: Line, validation: Sequence[Recording]) -> Line:
    """A simpler way to skip, with the weights of the learned switch and its share of open frames.

    Raises:
        UserError: if key frames are asked for, and the learned switch does not look at packets.
    """
    opened = [follow(learned, recording.source).is_open for recording in validation]
    share, glance = float(torch.cat(opened).float().mean()), learned.glance
    if name == DIFFERENCE:
        thumbnails = PictureChange(learned.grid)
        difference = ThresholdGate(thumbnails.size, column=0, threshold=0.0, dilate_frames=1)
        line = with_gate(learned, thumbnails, difference)
        levels = [difference.levels(_glance_of(line, recording.source)[None])[0] for recording in validation]
        difference.threshold = float(torch.cat(levels).double().quantile(1 - share))
        return line
    if name == KEYS:
        if not isinstance(glance, PacketGlance):
            raise UserError(f"{KEYS}: featurizers.PacketGlance tells them, and the recipe's glance is another")
        return with_gate(
            learned, glance, ThresholdGate(glance.size, column=glance.columns.index("has_key"), threshold=0.5)
        )
    if name == STRIDE:
        return with_gate(learned, glance, EvenStride(glance.size, share=share))
    return with_gate(learned, glance, RandomGate(glance.size, rate=share, seed=0))


def with_gate(line: Line, glance: Any, gate: Gate) -> Line:
    """The same weights behind another glance and gate."""
    return Line(
        grid=line.grid, glance=glance, gate=gate, featurizer=line.featurizer, encoder=line.encoder, head=line.head
    ).eval()


@torch.inference_mode()
def _glance_of(line: Line, source: Path) -> Tensor:
    """Glance rows (T, G) of a recording."""
    with line.open(source) as stream:
        blocks = list(line.feed(stream).blocks(0, 0))
    return torch.cat([b.glance[b.first_frame - b.glance_offset :][: b.num_frames] for b in blocks])


def follow(line: Line, source: Path, gate: Gate | None = None) -> Track:
    """From file to scores."""
    with line.open(source) as stream:
        return line.follow(stream, gate=gate)


def walked(
    line: Line,
    validation: Sequence[Recording],
    test: Sequence[Recording],
    labels: Sequence[str],
    task: ActionRecognition,
    options: EvaluateOptions,
    *,
    num_runs: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Walked]:
    """Thresholds from validation recordings; then the test recordings, per kind, and all together as ""."""
    tracks = [follow(line, recording.source) for recording in validation]
    decisions = task.tune(tracks, tracks, validation, labels, options).decisions

    def walk(recording: Recording) -> Walk:
        started = clock()
        track = follow(line, recording.source)
        found = task.decode(track.held, track.grid, track.seconds, labels, decisions)
        return Walk(track, found, clock() - started)

    rounds = [[walk(recording) for recording in test] for _ in range(num_runs)]
    seconds = [statistics.median(walk.seconds for walk in walks) for walks in zip(*rounds, strict=True)]
    walks = [walk._replace(seconds=usual) for walk, usual in zip(rounds[0], seconds, strict=True)]
    spans = {label: decision.ranking_span for label, decision in decisions.items()}
    ranked = []
    for (track, _, _), recording in zip(walks, test, strict=True):
        candidates = span_candidates(track.held, track.grid, labels, decisions=spans, seconds=track.seconds)
        truth, length = true_events(recording, labels), labelled_seconds(track, recording)
        ranked.append(RecordingResult(candidates, truth, length, recording.kind, recording.source.name))
    answers = {}
    for kind in ("", *sorted({recording.kind for recording in test})):
        rows = [row for row, recording in enumerate(test) if kind in ("", recording.kind)]
        some = [ranked[row] for row in rows], [walks[row] for row in rows]
        answers[kind] = _summed(*some, labels, task.tolerance_seconds)
    return answers


def _summed(
    ranked: Sequence[RecordingResult], walks: Sequence[Walk], labels: Sequence[str], tolerance_seconds: float
) -> Walked:
    matched = [
        match_detections(walk.found, result.truth, tolerance_seconds=tolerance_seconds).truth_of_detected
        for walk, result in zip(walks, ranked, strict=True)
    ]
    num_true, tracks = sum(len(result.truth) for result in ranked), [walk.track for walk in walks]
    num_frames, media = sum(track.is_open.numel() for track in tracks), sum(track.seconds for track in tracks)
    return Walked(
        draws_of(detection_sheet(ranked, labels), map_statistic(), resamples=RESAMPLES),
        sum(int((row >= 0).sum()) for row in matched) / num_true if num_true else float("nan"),
        sum(int((row < 0).sum()) for row in matched) / media * 3600,
        sum(track.pictures.decoded for track in tracks) / sum(track.pictures.read for track in tracks),
        sum(track.frames_featurized for track in tracks) / num_frames,
        sum(int(track.is_open.sum()) for track in tracks) / num_frames,
        sum(walk.seconds for walk in walks),
        media,
    )


def floor_seconds(
    line: Line, recordings: Sequence[Recording], *, num_runs: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Packets and glance of recordings, per kind, and all together as ""."""
    taken = {"": 0.0}
    for recording in recordings:
        runs = []
        for _ in range(num_runs):
            started = clock()
            with line.open(recording.source) as stream:
                line.glance_only(stream)
            runs.append(clock() - started)
        for kind in ("", recording.kind):
            taken[kind] = taken.get(kind, 0.0) + statistics.median(runs)
    return taken
