"""Words in long recordings of real voices: what is found, what is missed, what is found where it is not."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.intervals import Share, poisson_rate
from benchmarks.words import spelled
from featurizers import open_audio
from pipelines.events import Event, Recording
from pipelines.keywords import Decision, placements_of_decisions, results_of
from pipelines.line import Track
from pipelines.metrics import RecordingResult, ScoreSheet, curve_of, recall_at, score_sheet
from pipelines.model import Model

STREAMS = ("stream_a1_english_household.flac", "stream_a3_digits_running-speech_8k.flac")  # a2 is Arabic
ENOUGH_RECALL = 0.6


class Annotated(NamedTuple):
    """A recording and how much is known of what is said in it.

    Args:
        recording: its events are all annotated words, or turns of speakers, not the model's words alone.
        snr_db: per event; NaN where nobody measured it.
        words_known: whether every word is annotated. If not, what counts as a false alarm may be a true word.
    """

    recording: Recording
    snr_db: tuple[float, ...]
    words_known: bool


def real_recordings(data: Path, labels: Sequence[str]) -> list[Annotated]:
    """Streams with words among them that the model knows, then running speech and meetings as negatives."""
    found = []
    for name in STREAMS:
        stream = _annotated(data / "keyword-streams", name, "events.csv", "streams")
        if any(event.label in labels for event in stream.recording.events):
            found.append(stream)
    for folder, events, kind in (
        ("running-speech", "words.csv", "running_speech"),
        ("meeting-speech", "events.csv", "meetings"),
    ):
        with (data / folder / "index.csv").open(newline="") as file:
            names = [row["file"] for row in csv.DictReader(file)]
        found += [_annotated(data / folder, name, events, kind) for name in names]
    return found


def _annotated(folder: Path, name: str, events_file: str, kind: str) -> Annotated:
    with (folder / events_file).open(newline="") as file:
        rows = sorted((row for row in csv.DictReader(file) if row["file"] == name), key=lambda row: float(row["onset"]))
    events = tuple(
        Event(float(row["onset"]), float(row["offset"]), spelled(row["label"].partition(":")[0])) for row in rows
    )
    snr_db = tuple(float(row.get("snr_db") or math.nan) for row in rows)
    words_known = kind == "streams" or (kind == "running_speech" and bool(rows))
    return Annotated(Recording(folder / name, events, kind=kind), snr_db, words_known)


def logit_thresholds(decisions: Mapping[str, Decision]) -> dict[str, float]:
    """A bundle's thresholds as logits, the scale on which scores of near certainty still differ."""
    limits = {label: min(max(decision.threshold, 1e-12), 1 - 1e-12) for label, decision in decisions.items()}
    return {label: math.log(limit / (1 - limit)) for label, limit in limits.items()}


def tracks_of(model: Model, annotated: Sequence[Annotated], gate: str) -> list[Track]:
    """The model's walk over every recording, the gate "learned" or "open"."""
    tracks = []
    for item in annotated:
        with open_audio(item.recording.source, model.line.rate_hz) as stream:
            tracks.append(model.line.follow(stream, gate=model.gate_named(gate)))
    return tracks


def results_on(model: Model, annotated: Sequence[Annotated], tracks: Sequence[Track]) -> list[RecordingResult]:
    """Candidates (scores in logits) beside the model's words."""
    return results_of(
        tracks, [item.recording for item in annotated], model.labels, placements_of_decisions(model.decisions)
    )


def stream_figures(
    results: Sequence[RecordingResult], tracks: Sequence[Track], labels: Sequence[str], thresholds: Mapping[str, float]
) -> dict[str, float]:
    """Flat figures, named as in docs/metrics.md where they are the same thing.

    Nearly all words lie in one or two recordings, so resampling recordings would say nothing: intervals of recall are
    Wilson's, those of false alarms Garwood's.
    """
    sheet = score_sheet(results, labels, thresholds)
    num_rows, hours, num_events = sheet.num_rows(0.0), float(sheet.hours.sum()), int(sheet.num_events.sum())
    hits, false = int(sheet.is_hit[:num_rows].sum()), int((~sheet.is_hit[:num_rows]).sum())
    errors = sheet.onset_errors[:num_rows][sheet.is_hit[:num_rows]]
    rate = poisson_rate(false, hours * len(labels))
    num_frames = sum(track.is_open.numel() for track in tracks)
    figures = {
        "hours": hours,
        "num_events": float(num_events),
        "num_hits_at_thresholds": float(hits),
        "num_false_alarms_at_thresholds": float(false),
        "false_alarms_per_hour_at_thresholds": rate.estimate,
        "false_alarms_per_hour_at_thresholds_low": rate.low,
        "false_alarms_per_hour_at_thresholds_high": rate.high,
        "false_alarms_per_hour_all_keywords": false / hours,
        "false_alarms_per_hour_at_0.6_recall": false_alarms_at(sheet, ENOUGH_RECALL),
        "onset_error_seconds_median": float(np.median(np.abs(errors))) if len(errors) else math.nan,
        "frames_open": sum(int(track.is_open.sum()) for track in tracks) / num_frames,
    }
    shares = {"recall_at_thresholds": Share(hits, num_events)}
    for rate_allowed, key in ((1.0, "recall_at_1_false_alarm_per_hour"), (2.0, "recall_at_2_false_alarms_per_hour")):
        recall = recall_at(curve_of(sheet), rate_allowed)
        shares[key] = Share(0 if math.isnan(recall) else round(recall * num_events), num_events)
    for key, share in shares.items():
        figures |= dict(zip((key, f"{key}_low", f"{key}_high"), share.interval, strict=True))
    for kind, count in false_alarms_by_kind(sheet, results).items():
        figures[f"{kind}_num_false_alarms_at_thresholds"] = float(count)
    return figures


def false_alarms_at(sheet: ScoreSheet, recall: float) -> float:
    """Fewest false alarms per hour and keyword at which so much is found; NaN if it never is."""
    curve = curve_of(sheet)
    is_enough = curve.recall >= recall - 1e-9
    return float(curve.false_alarms_per_hour[is_enough].min()) if is_enough.any() else math.nan


def false_alarms_by_kind(sheet: ScoreSheet, results: Sequence[RecordingResult]) -> dict[str, int]:
    """Those at the thresholds as they are, per kind of recording."""
    kinds = {result.name: result.kind for result in results}
    counts = dict.fromkeys(kinds.values(), 0)
    num_rows = sheet.num_rows(0.0)
    for unit in sheet.unit_of[:num_rows][~sheet.is_hit[:num_rows]].tolist():
        counts[kinds[sheet.units[unit]]] += 1
    return counts


def stream_lines(figures: Mapping[str, float], annotated: Sequence[Annotated], num_labels: int) -> list[str]:
    """The figures in words."""

    def share(key: str) -> str:
        return f"{figures[key]:.0%} ({figures[key + '_low']:.0%} to {figures[key + '_high']:.0%})"

    unknown = sum(not item.words_known for item in annotated)
    by_kind = ", ".join(
        f"{count:.0f} in {key.removesuffix('_num_false_alarms_at_thresholds').replace('_', ' ')}"
        for key, count in figures.items()
        if key.endswith("_num_false_alarms_at_thresholds")
    )
    rates = ("low", "high")
    low, high = (figures[f"false_alarms_per_hour_at_thresholds_{end}"] for end in rates)
    return [
        f"{figures['num_events']:.0f} of the model's words among {len(annotated)} recordings, "
        f"{figures['hours'] * 60:.1f} min; {figures['frames_open']:.1%} of frames open",
        f"  at the model's thresholds: found {share('recall_at_thresholds')}; "
        f"{figures['num_false_alarms_at_thresholds']:.0f} false alarms ({by_kind}): "
        f"{figures['false_alarms_per_hour_at_thresholds']:.2f} per hour and keyword ({low:.2f} to {high:.2f})",
        f"  at 1 false alarm per hour and keyword: {share('recall_at_1_false_alarm_per_hour')}; "
        f"at 2: {share('recall_at_2_false_alarms_per_hour')}",
        f"  {ENOUGH_RECALL:.0%} found at {figures['false_alarms_per_hour_at_0.6_recall']:.2f} per hour and keyword; "
        f"one false alarm is {1 / (figures['hours'] * num_labels):.2f} per hour and keyword",
        f"  onset error, median: {figures['onset_error_seconds_median']:.2f} s",
        f"  the words of {unknown} recordings are not annotated: some of their false alarms may be words really said",
    ]
