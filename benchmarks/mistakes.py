"""The worst misses and false alarms on real recordings, as a page: mel, switch, scores, loudness, what was confused."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.streams import Annotated
from pipelines.events import Event
from pipelines.heads import scores_at
from pipelines.line import Track
from pipelines.metrics import RecordingResult, match_detections
from pipelines.model import Model
from pipelines.recipe import recipe_text
from pipelines.report import Example, Picture, write_report
from pipelines.stretches import read_stretch
from pipelines.summary import picture_stretch, show_moment
from pipelines.tasks import Moment

NUM_MISTAKES = 20
AROUND_SECONDS = 0.3  # as in matching: what lies no farther away counts as being there
LATEST_SECONDS = 0.6  # after a word's end, scores still speak of it


class Nearby(NamedTuple):
    """Scores around a moment: of its own label, and the best of all the others, as probabilities."""

    own: float
    rival: str
    rival_score: float
    num_open: int
    num_frames: int


def mistakes(
    results: Sequence[RecordingResult], tracks: Sequence[Track], model: Model, thresholds: Mapping[str, float]
) -> list[Moment]:
    """False alarms by falling score, then misses by rising score; at most NUM_MISTAKES, half of each if there are."""
    false_alarms, misses = [], []
    for index, result in enumerate(results):
        found = [event for event in result.detected if event.score >= thresholds[event.label]]
        matching = match_detections(found, result.truth)
        for event, true in zip(found, matching.truth_of_detected.tolist(), strict=True):
            if true < 0:
                false_alarms.append(Moment(index, event, 1 / (1 + math.exp(-event.score)), False))
        for event, detection in zip(result.truth, matching.detected_of_truth.tolist(), strict=True):
            if detection < 0:
                misses.append(Moment(index, event, nearby(tracks[index], model.labels, event).own, True))
    false_alarms.sort(key=lambda moment: -moment.score)
    misses.sort(key=lambda moment: moment.score)
    half = NUM_MISTAKES // 2
    num_misses = min(len(misses), max(half, NUM_MISTAKES - len(false_alarms)))
    return false_alarms[: NUM_MISTAKES - num_misses] + misses[:num_misses]


def nearby(track: Track, labels: Sequence[str], event: Event) -> Nearby:
    """What the model scored from the event's onset until shortly after its end, and how much of it was open."""
    hop, origin = track.grid.hop_seconds, track.grid.origin_seconds
    first = max(0, int((event.onset_seconds - origin) / hop))
    last = min(track.is_open.numel(), int((event.offset_seconds + LATEST_SECONDS - origin) / hop) + 1)
    scores = scores_at(track.held, track.grid, torch.arange(first, max(first + 1, last))).sigmoid().amax(dim=0)
    own = labels.index(event.label)
    others = [index for index in range(len(labels)) if index != own]
    best = max(others, key=lambda index: float(scores[index]), default=own)
    num_open = int(track.is_open[first:last].sum())
    return Nearby(float(scores[own]), labels[best], float(scores[best]), num_open, last - first)


def level_above_db(samples: torch.Tensor, rate_hz: int, begin_seconds: float, event: Event) -> float:
    """How much louder the event is than what is around it: power within over power outside, in dB.

    Args:
        samples: (N,) of a stretch around the event.
        begin_seconds: where the stretch begins.
    """
    first, last = (round((t - begin_seconds) * rate_hz) for t in (event.onset_seconds, event.offset_seconds))
    first, last = max(0, first), min(len(samples), last)
    inside, outside = samples[first:last], torch.cat([samples[:first], samples[last:]])
    if not len(inside) or not len(outside):
        return math.nan
    within, around = (float(part.double().square().mean().clamp_min(1e-12)) for part in (inside, outside))
    return 10 * math.log10(within / around)


def said_there(item: Annotated, event: Event) -> tuple[str, float]:
    """What is annotated where a false alarm was found, and its signal-to-noise ratio (NaN: not known)."""
    for said, snr_db in zip(item.recording.events, item.snr_db, strict=True):
        starts_before = said.onset_seconds - AROUND_SECONDS < event.offset_seconds
        if starts_before and event.onset_seconds < said.offset_seconds + AROUND_SECONDS:
            if item.words_known:
                return f"in truth: {said.label}", snr_db
            return f"somebody speaks ({said.label}), the words are not annotated", snr_db
    return ("in truth: none of the annotated words" if item.words_known else "words are not annotated here"), math.nan


def explained(model: Model, item: Annotated, track: Track, moment: Moment) -> str:
    """Loudness, switch, and what was taken for what."""
    event = moment.event
    near = nearby(track, model.labels, event)
    begin = max(0.0, event.onset_seconds - 2.0)
    stretch = read_stretch(item.recording.source, model.line.rate_hz, begin, event.offset_seconds + 2.0)
    louder = level_above_db(stretch, model.line.rate_hz, begin, event)
    if moment.is_miss:
        place = [e[:3] for e in item.recording.events].index(event[:3])
        snr_db, what = item.snr_db[place], f"best of the other words: {near.rival} {near.rival_score:.2f}"
    else:
        what, snr_db = said_there(item, event)
    threshold = model.decisions[event.label].threshold
    ratio = "not known" if math.isnan(snr_db) else f"{snr_db:.1f} dB"
    return (
        f"signal-to-noise {ratio}, {louder:+.1f} dB against the 2 s around; switch open on {near.num_open} of "
        f"{near.num_frames} frames; scored {near.own:.2f}, threshold {threshold:.2f}; {what}"
    )


def write_mistakes(
    folder: Path,
    model: Model,
    annotated: Sequence[Annotated],
    tracks: Sequence[Track],
    results: Sequence[RecordingResult],
    thresholds: Mapping[str, float],
    figures: Mapping[str, float],
) -> Path:
    """report.html in the folder, with pictures and sound of the worst mistakes, and a view of the first recording."""
    pictures = folder / "mistakes"
    pictures.mkdir(parents=True, exist_ok=True)
    examples: list[Example] = []
    for number, moment in enumerate(mistakes(results, tracks, model, thresholds), start=1):
        item, track = annotated[moment.recording], tracks[moment.recording]
        shown = show_moment(pictures / f"{number:02d}", model, item.recording, track, moment)
        examples.append(shown._replace(text=f"{shown.text}; {explained(model, item, track, moment)}"))
    view = pictures / "view.png"
    picture_stretch(view, model, annotated[0].recording, tracks[0], 0.0, 30.0)
    recall, low, high = (figures[f"recall_at_thresholds{end}"] for end in ("", "_low", "_high"))
    return write_report(
        folder,
        title="Real voices: the worst mistakes",
        summary=[
            ("words among the recordings", f"{figures['num_events']:.0f}"),
            ("found at the model's thresholds", f"{recall:.0%} ({low:.0%} to {high:.0%})"),
            ("false alarms", f"{figures['num_false_alarms_at_thresholds']:.0f}"),
            ("frames open", f"{figures['frames_open']:.1%}"),
        ],
        metrics=figures,
        kinds=[],
        pictures=[Picture(view, f"The first 30 s of {annotated[0].recording.source.name}.")],
        examples=examples,
        recipe=recipe_text(model.recipe),
    )
