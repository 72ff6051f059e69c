"""Thresholds from the validation split; recall, false alarms and wall time on the test split, beside the dense twin.

The dense twin is the same model with an open gate, in its fastest form: one featurizer pass per block, shared glance.
"""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from featurizers import Grid, open_audio
from surnn import EventGate, Gate, Open

from .decoding import Placement, decode_peaks
from .errors import UserError
from .events import Event, Recording
from .heads import Held
from .lessons import Frames
from .line import Line, Track
from .metrics import (
    RecordingResult,
    WorkCounts,
    keyword_metrics,
    paired_bootstrap,
    recall_statistic,
    score_sheet,
    thresholds_for,
)
from .model import Decision
from .recipe import EvaluateOptions

DENSE_FIGURES = (
    "recall_at_1_false_alarm_per_hour",
    "recall_at_1_false_alarm_per_hour_low",
    "recall_at_1_false_alarm_per_hour_high",
    "recall_at_thresholds",
    "false_alarms_per_hour_at_thresholds",
)
CANDIDATE_PROBABILITY = 0.01  # peaks below are no candidates at any operating point worth having

LogitThresholds = dict[str, float]


class Tuning(NamedTuple):
    """What the validation split decided; thresholds in logits."""

    placements: dict[str, Placement]
    thresholds: LogitThresholds
    dense_thresholds: LogitThresholds


class Visit(NamedTuple):
    """One test recording, walked three times.

    Args:
        track: with the switch.
        dense_track: with everything open.
        seconds: wall time from path to events with the switch
        dense_seconds: with everything open
        floor_seconds: of reading and glance alone.
    """

    track: Track
    dense_track: Track
    seconds: float
    dense_seconds: float
    floor_seconds: float


@torch.inference_mode()
def track_of_frames(line: Line, glance: Tensor, features: Tensor, grid: Grid, gate: Gate) -> Track:
    """The line's answer from cached frames: glance (T, G), features (T, F)."""
    switch = gate.switch(glance[None], 0)
    is_open = switch.frames[0] > 0
    index = is_open.nonzero()[:, 0]
    level, decay = line.head(line.encoder.run(features[is_open], index).output)
    logits = None if switch.logits is None else switch.logits[0]
    return Track(Held(level, decay, index), is_open, logits, grid, index.numel(), len(glance) * grid.hop_seconds)


def tracks_of_frames(line: Line, frames: Frames, grid: Grid, gate: Gate) -> list[Track]:
    """`track_of_frames` for every recording of a split."""
    bounds = torch.cat([torch.zeros(1, dtype=torch.int64), frames.lengths.cumsum(0)]).tolist()
    tracks = []
    for (begin, end), start in zip(itertools.pairwise(bounds), frames.starts_seconds, strict=True):
        glance, features = frames.glance[begin:end].float(), frames.features[begin:end].float()
        tracks.append(track_of_frames(line, glance, features, grid._replace(origin_seconds=start), gate))
    return tracks


def candidates(track: Track, labels: Sequence[str], placements: Mapping[str, Placement] | None = None) -> list[Event]:
    """All peaks worth looking at, their scores as logits (operating points are shifts of logits)."""
    held = track.held._replace(level=track.held.level.double())  # a sure float32 probability has lost its logit
    found = decode_peaks(held, track.grid, labels, thresholds=CANDIDATE_PROBABILITY, placements=placements)
    return [event._replace(score=math.log(event.score / max(1e-15, 1 - event.score))) for event in found]


def results_of(
    tracks: Sequence[Track],
    recordings: Sequence[Recording],
    labels: Sequence[str],
    placements: Mapping[str, Placement] | None = None,
) -> list[RecordingResult]:
    """Candidates beside the truth, recording by recording."""
    return [
        RecordingResult(
            candidates(track, labels, placements),
            [event for event in recording.events if event.label in labels],
            track.seconds,
            recording.kind,
            recording.source.stem,
        )
        for track, recording in zip(tracks, recordings, strict=True)
    ]


def placements_of(results: Sequence[RecordingResult], labels: Sequence[str]) -> dict[str, Placement]:
    """Where events lie relative to their peaks: medians over the hits of a validation split."""
    sheet = score_sheet(results, labels, dict.fromkeys(labels, 0.0))
    accepted = sheet.is_hit & (sheet.margins > 0)
    placements = {}
    for column, label in enumerate(labels):
        rows = accepted & (sheet.label_of == column)
        place = Placement()
        if rows.sum() >= 5:
            onset = place.onset_delay_seconds + float(torch.tensor(sheet.onset_errors[rows]).median())
            offset = place.offset_delay_seconds + float(torch.tensor(sheet.offset_errors[rows]).median())
            place = Placement(max(onset, offset + 0.05), offset)
        placements[label] = place
    return placements


def budget_shift(tracks: Sequence[Track], share_open: float) -> float:
    """The threshold shift of the frame switch at which this share of all frames is open."""
    logits = [track.switch_logits for track in tracks if track.switch_logits is not None]
    return float(np.quantile(torch.cat(logits).double().numpy(), 1 - share_open)) if logits else 0.0


def decisions_of(thresholds: LogitThresholds, placements: Mapping[str, Placement]) -> dict[str, Decision]:
    """Decisions of a bundle from thresholds in logits."""
    return {
        label: Decision(1 / (1 + math.exp(-threshold)), *placements[label]) for label, threshold in thresholds.items()
    }


def visit(line: Line, recording: Recording, labels: Sequence[str]) -> Visit:
    """Walk one recording with the switch, open, and glance alone; times from path to events, each walk by itself."""

    def timed(walk: Callable[[], Track | int]) -> tuple[Track | int, float]:
        started = time.perf_counter()
        answer = walk()
        return answer, time.perf_counter() - started

    def tagged(gate: Gate | None) -> Callable[[], Track]:
        def walk() -> Track:
            with open_audio(recording.source, line.rate_hz) as stream:
                track = line.follow(stream, gate=gate)
            decode_peaks(track.held, track.grid, labels, thresholds=0.5)
            return track

        return walk

    def floor() -> int:
        with open_audio(recording.source, line.rate_hz) as stream:
            return line.glance_only(stream)

    floor()  # the first walk finds the file on disk, the timed ones in memory
    track, seconds = timed(tagged(None))
    dense_track, dense_seconds = timed(tagged(Open(line.glance.size)))
    _, floor_seconds = timed(floor)
    assert isinstance(track, Track)
    assert isinstance(dense_track, Track)
    return Visit(track, dense_track, seconds, dense_seconds, floor_seconds)


def work_of(visits: Sequence[Visit], recordings: Sequence[Recording]) -> dict[str, WorkCounts]:
    """What the walks cost, per kind.

    Times are medians over the recordings of a kind, per second of media, times all its media: a moment in which the
    machine was busy with something else does not count.
    """
    per_kind: dict[str, WorkCounts] = {}
    for kind in dict.fromkeys(recording.kind for recording in recordings):
        chosen = [v for v, recording in zip(visits, recordings, strict=True) if recording.kind == kind]
        media = [v.track.seconds for v in chosen]

        def usual(times: Sequence[float], media: Sequence[float] = media) -> float:
            return statistics.median(t / m for t, m in zip(times, media, strict=True)) * sum(media)

        per_kind[kind] = WorkCounts(
            num_frames=sum(v.track.is_open.numel() for v in chosen),
            num_frames_open=sum(int(v.track.is_open.sum()) for v in chosen),
            num_frames_featurized=sum(v.track.frames_featurized for v in chosen),
            seconds_of_media=sum(media),
            seconds_of_work=usual([v.seconds for v in chosen]),
            seconds_of_work_dense=usual([v.dense_seconds for v in chosen]),
            seconds_of_work_floor=usual([v.floor_seconds for v in chosen]),
        )
    return per_kind


def comparison_metrics(
    results: Sequence[RecordingResult],
    dense_results: Sequence[RecordingResult],
    labels: Sequence[str],
    thresholds: LogitThresholds,
    dense_thresholds: LogitThresholds,
) -> dict[str, float]:
    """The dense twin's recall, and the relative change that the switch makes to it (paired bootstrap), per kind.

    Keys: dense_recall_at_1_false_alarm_per_hour, dense_recall_at_thresholds,
    dense_false_alarms_per_hour_at_thresholds, recall_change_vs_dense with _low and _high; again with the kind in front.
    """
    metrics: dict[str, float] = {}
    for kind in ["", *dict.fromkeys(result.kind for result in results)]:
        rows = [row for row, result in enumerate(results) if kind in ("", result.kind)]
        chosen, dense = [results[row] for row in rows], [dense_results[row] for row in rows]
        prefix = f"{kind}_" if kind else ""
        figures = keyword_metrics([r._replace(kind="") for r in dense], labels, dense_thresholds)
        for name in DENSE_FIGURES:
            metrics[f"{prefix}dense_{name}"] = figures[name]
        sheet, dense_sheet = score_sheet(chosen, labels, thresholds), score_sheet(dense, labels, dense_thresholds)
        change = paired_bootstrap(sheet, dense_sheet, recall_statistic(1.0))
        metrics[f"{prefix}recall_change_vs_dense"] = change.estimate
        metrics[f"{prefix}recall_change_vs_dense_low"] = change.low
        metrics[f"{prefix}recall_change_vs_dense_high"] = change.high
    return metrics


def tune(
    line: Line, frames: Frames, recordings: Sequence[Recording], labels: Sequence[str], options: EvaluateOptions
) -> Tuning:
    """Set the switch's threshold, the labels' thresholds and the events' places on the validation split.

    Only recordings of the kind `options.thresholds_on` count (None: all of them).
    """
    wanted = options.thresholds_on
    kinds = sorted({recording.kind for recording in recordings})
    if wanted is not None and wanted not in kinds:
        raise UserError(
            f"evaluate.thresholds_on={wanted!r} is no kind of validation recording; there are: {', '.join(kinds)}"
        )
    grid = line.grid

    def counted(tracks: Sequence[Track]) -> tuple[list[Track], list[Recording]]:
        pairs = [(t, r) for t, r in zip(tracks, recordings, strict=True) if wanted in (None, r.kind)]
        return [track for track, _ in pairs], [recording for _, recording in pairs]

    if isinstance(line.gate, EventGate):
        line.gate.threshold_shift = 0.0
        line.gate.threshold_shift = budget_shift(
            counted(tracks_of_frames(line, frames, grid, line.gate))[0], line.gate.frame_budget
        )
    thresholds: list[LogitThresholds] = []
    placements: dict[str, Placement] = {}
    for gate in (line.gate, Open(line.glance.size)):
        tracks, chosen = counted(tracks_of_frames(line, frames, grid, gate))
        if not placements:
            placements = placements_of(results_of(tracks, chosen, labels), labels)
        results = results_of(tracks, chosen, labels, placements)
        thresholds.append(thresholds_for(results, labels, options.false_alarms_per_hour))
    return Tuning(placements, *thresholds)
