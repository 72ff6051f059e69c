"""Thresholds from the validation split; recall, false alarms and wall time on the test split, beside the dense twin.

The dense twin is the same model with an open gate, in its fastest form: one featurizer pass per block, shared glance.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from featurizers import Grid
from surnn import EventGate, Gate, Open

from .events import Recording
from .heads import Held
from .lessons import Frames
from .line import Line, Track
from .metrics import WorkCounts, match_detections
from .model import Model
from .recipe import EvaluateOptions
from .tasks import Judged, Task


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
    """The line's answer from cached frames: glance (T, G), features (T, ...) as lessons.Frames has them."""
    if line.trains_featurizer:
        features = line.features_of(glance if line.featurizer.needs.reads == "glance" else features)
    switch = gate.switch(glance[None], 0)
    is_open = switch.frames[0] > 0
    index = is_open.nonzero()[:, 0]
    level, decay = line.head(line.encoder.advance(features[is_open], index, line.encoder.begin(), None).hidden)
    logits = None if switch.logits is None else switch.logits[0]
    return Track(Held(level, decay, index), is_open, logits, grid, index.numel(), len(glance) * grid.hop_seconds)


def tracks_of_frames(line: Line, frames: Frames, grid: Grid, gate: Gate) -> list[Track]:
    """`track_of_frames` for every recording of a split."""
    bounds = torch.cat([torch.zeros(1, dtype=torch.int64), frames.lengths.cumsum(0)]).tolist()
    tracks = []
    for (begin, end), start in zip(itertools.pairwise(bounds), frames.starts_seconds, strict=True):
        glance, features = frames.glance[begin:end].float(), frames.features[begin:end]
        features = features.float() if features.is_floating_point() else features
        tracks.append(track_of_frames(line, glance, features, grid._replace(origin_seconds=start), gate))
    return tracks


def budget_shift(tracks: Sequence[Track], share_open: float) -> float:
    """The threshold shift of the frame switch at which this share of all frames is open."""
    logits = [track.switch_logits for track in tracks if track.switch_logits is not None]
    return float(np.quantile(torch.cat(logits).double().numpy(), 1 - share_open)) if logits else 0.0


def visit(line: Line, recording: Recording, decode: Callable[[Track], object]) -> Visit:
    """Walk one recording with the switch, open, and glance alone; times from path to events, each walk by itself."""

    def timed(walk: Callable[[], Track | int]) -> tuple[Track | int, float]:
        started = time.perf_counter()
        answer = walk()
        return answer, time.perf_counter() - started

    def tagged(gate: Gate | None) -> Callable[[], Track]:
        def walk() -> Track:
            with line.open(recording.source) as stream:
                track = line.follow(stream, gate=gate)
            decode(track)
            return track

        return walk

    def floor() -> int:
        with line.open(recording.source) as stream:
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
            num_pictures=sum(v.track.pictures.read for v in chosen),
            num_pictures_decoded=sum(v.track.pictures.decoded for v in chosen),
        )
    return per_kind


def tune(
    line: Line,
    frames: Frames,
    recordings: Sequence[Recording],
    labels: Sequence[str],
    options: EvaluateOptions,
    task: Task,
) -> Any:
    """Set the switch's threshold on the validation split, and let the task decide there what counts as found.

    Only recordings of the kinds `options.thresholds_on` count (None: all of them).
    """
    wanted = options.kinds({recording.kind for recording in recordings})
    is_counted = [recording.kind in wanted for recording in recordings]

    def counted(gate: Gate) -> list[Track]:
        tracks = tracks_of_frames(line, frames, line.grid, gate)
        return list(itertools.compress(tracks, is_counted))

    if isinstance(line.gate, EventGate):
        line.gate.threshold_shift = 0.0
        line.gate.threshold_shift = budget_shift(counted(line.gate), line.gate.frame_budget)
    chosen = list(itertools.compress(recordings, is_counted))
    return task.tune(counted(line.gate), counted(Open(line.glance.size)), chosen, labels, options)


def missed_metrics(model: Model, judged: Judged) -> dict[str, float]:
    """missed_share_vs_dense: share that the switch misses of all that is found with or without it."""
    num_found = num_missed = 0
    for track, dense_track in zip(judged.tracks, judged.dense_tracks, strict=True):
        found, dense_found = model.decode(track), model.decode(dense_track)
        num_found += len(found)
        num_missed += sum(match < 0 for match in match_detections(found, dense_found).detected_of_truth)
    return {"missed_share_vs_dense": num_missed / (num_found + num_missed) if num_found + num_missed else float("nan")}
