"""Recordings, scored once: the table from which every operating point, interval and threshold is read."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.events import Event
from pipelines.metrics.matching import TOLERANCE_SECONDS, Floats, Ints, Matching, match_detections


class RecordingResult(NamedTuple):
    """What was found in one recording, and what is there.

    Args:
        detected: candidates down to a low score, so that every operating point can be evaluated.
        truth: the true events.
        seconds: length of the part of the recording that is labelled (`detected` holds nothing from elsewhere).
        kind: sort of recording ("talkative", "quiet"); metrics are given per kind, too.
        name: the recording; systems are paired by it.
        group: recordings of one group (a speaker, say) are resampled together; "": each recording by itself.
    """

    detected: Sequence[Event]
    truth: Sequence[Event]
    seconds: float
    kind: str
    name: str
    group: str = ""


class ScoreSheet(NamedTuple):
    """All that recall and false alarms depend on: one row per detection, by falling margin (score - threshold).

    Whether a row is a hit does not depend on the operating point: detections are matched in order of falling score, and
    a threshold only cuts that order short.

    Args:
        margins: (N,) falling.
        is_hit: (N,) bool.
        num_false: (N,) false alarms among the rows up to and including this one.
        label_of: (N,) index into `labels`.
        unit_of: (N,) index into `units`.
        onset_errors: (N,) detected minus true onset in seconds; NaN for false alarms.
        offset_errors: (N,) likewise.
        num_events: (U, L) true events per unit and label.
        hours: (U,) labelled hours per unit.
        labels: L names.
        units: U names: what a bootstrap resamples.
    """

    margins: Floats
    is_hit: NDArray[np.bool_]
    num_false: Ints
    label_of: Ints
    unit_of: Ints
    onset_errors: Floats
    offset_errors: Floats
    num_events: Floats
    hours: Floats
    labels: tuple[str, ...]
    units: tuple[str, ...]

    def num_rows(self, shift: float) -> int:
        """How many detections are accepted when `shift` is added to every threshold: score - threshold >= shift."""
        return rows_down_to(self.margins, shift)


def rows_down_to(margins: Floats, shift: float, *, inclusive: bool = True) -> int:
    """How many of the falling margins are >= shift (or > shift)."""
    return len(margins) - int(np.searchsorted(margins[::-1], shift, side="left" if inclusive else "right"))


def ratio(part: float, whole: float) -> float:
    """part / whole; NaN where there is no whole."""
    return part / whole if whole > 0 else float("nan")


def score_sheet(
    per_recording: Sequence[RecordingResult],
    labels: Sequence[str],
    thresholds: Mapping[str, float],
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> ScoreSheet:
    """Match every recording once; events of labels not named are left out.

    Raises:
        ValueError: if there is no recording, no label, a label without a threshold, or a NaN score.
    """
    matched = [match_detections(r.detected, r.truth, tolerance_seconds=tolerance_seconds) for r in per_recording]
    return sheet_of(per_recording, matched, labels, thresholds)


def sheet_of(
    per_recording: Sequence[RecordingResult],
    matched: Sequence[Matching],
    labels: Sequence[str],
    thresholds: Mapping[str, float],
) -> ScoreSheet:
    """`score_sheet` of recordings that are matched already."""
    if not per_recording or not labels:
        raise ValueError(f"{len(per_recording)} recordings and {len(labels)} labels; metrics need at least one of each")
    if missing := [label for label in labels if label not in thresholds]:
        raise ValueError(
            f"labels {missing} have no threshold; thresholds has {sorted(thresholds)}; add the missing ones"
        )
    label_index = {label: index for index, label in enumerate(labels)}
    units = tuple(dict.fromkeys(r.group or r.name for r in per_recording))
    unit_index = {unit: index for index, unit in enumerate(units)}
    num_events = np.zeros((len(units), len(labels)))
    hours = np.zeros(len(units))
    rows: list[tuple[float, bool, int, int, float, float]] = []
    for recording, matching in zip(per_recording, matched, strict=True):
        unit = unit_index[recording.group or recording.name]
        hours[unit] += recording.seconds / 3600
        for event in recording.truth:
            if event.label in label_index:
                num_events[unit, label_index[event.label]] += 1
        for event, index in zip(recording.detected, matching.truth_of_detected.tolist(), strict=True):
            if event.label in label_index:
                errors = (np.nan, np.nan)
                if index >= 0:
                    true = recording.truth[index]
                    errors = (event.onset_seconds - true.onset_seconds, event.offset_seconds - true.offset_seconds)
                margin = event.score - thresholds[event.label]
                rows.append((margin, index >= 0, label_index[event.label], unit, *errors))
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    table = table[np.argsort(-table[:, 0], kind="stable")]
    is_hit = table[:, 1] > 0
    return ScoreSheet(
        margins=table[:, 0],
        is_hit=is_hit,
        num_false=np.cumsum(~is_hit),
        label_of=table[:, 2].astype(np.int64),
        unit_of=table[:, 3].astype(np.int64),
        onset_errors=table[:, 4],
        offset_errors=table[:, 5],
        num_events=num_events,
        hours=hours,
        labels=tuple(labels),
        units=units,
    )


def scopes(kinds: Sequence[str]) -> dict[str, list[int]]:
    """Prefix of the keys -> indices: everything under "", then each named kind."""
    scopes = {"": list(range(len(kinds)))}
    for kind in sorted(set(kinds) - {""}):
        scopes[f"{kind}_"] = [index for index, other in enumerate(kinds) if other == kind]
    return scopes
