"""What the line cost and what skipping saved, as flat keys: over all recordings and again per kind."""

from collections.abc import Mapping
from typing import NamedTuple

from pipelines.metrics.sheet import ratio, scopes


class WorkCounts(NamedTuple):
    """What evaluating some recordings took, file to events, and what the same model takes fully open and fully closed.

    Args:
        num_frames: frames of the grid.
        num_frames_open: frames that the switch opened.
        num_frames_featurized: frames computed by the featurizer (>= open: bridged gaps and blocks count).
        seconds_of_media: length of the recordings.
        seconds_of_work: wall time with the switch.
        seconds_of_work_dense: wall time of the fastest form of the model with everything open.
        seconds_of_work_floor: wall time of what can never be skipped: reading, decoding of sound, glance.
        num_pictures: in the videos.
        num_pictures_decoded: with the switch.
    """

    num_frames: int
    num_frames_open: int
    num_frames_featurized: int
    seconds_of_media: float
    seconds_of_work: float
    seconds_of_work_dense: float
    seconds_of_work_floor: float
    num_pictures: int = 0
    num_pictures_decoded: int = 0


def work_metrics(per_kind: Mapping[str, WorkCounts]) -> dict[str, float]:
    """The keys of docs/metrics.md on cost: summed over the kinds, and again per kind with the kind as prefix.

    `saved_share` = (T_dense - T) / ((1 - frames_open) (T_dense - T_floor)): 1 when each closed
    frame saves all that it can.
    """
    metrics: dict[str, float] = {}
    for prefix, rows in scopes(list(per_kind)).items():
        chosen = [list(per_kind.values())[row] for row in rows]
        counts = WorkCounts._make(map(sum, zip(*chosen, strict=True)))
        metrics |= {prefix + key: value for key, value in _work_figures(counts).items()}
    return metrics


def _work_figures(counts: WorkCounts) -> dict[str, float]:
    frames_open = ratio(counts.num_frames_open, counts.num_frames)
    saved = counts.seconds_of_work_dense - counts.seconds_of_work
    could_save = (1 - frames_open) * (counts.seconds_of_work_dense - counts.seconds_of_work_floor)
    decoded = {"pictures_decoded": counts.num_pictures_decoded / counts.num_pictures} if counts.num_pictures else {}
    return decoded | {
        "num_frames": float(counts.num_frames),
        "frames_open": frames_open,
        "frames_featurized": ratio(counts.num_frames_featurized, counts.num_frames),
        "seconds_of_media": counts.seconds_of_media,
        "seconds_of_work": counts.seconds_of_work,
        "seconds_saved": saved,
        "times_real_time": ratio(counts.seconds_of_media, counts.seconds_of_work),
        "times_real_time_dense": ratio(counts.seconds_of_media, counts.seconds_of_work_dense),
        "times_real_time_floor": ratio(counts.seconds_of_media, counts.seconds_of_work_floor),
        "speedup": ratio(counts.seconds_of_work_dense, counts.seconds_of_work),
        "saved_share": ratio(saved, could_save),
    }
