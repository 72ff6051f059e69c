"""Isolated words of people never heard: which of its words does a model take each recording for?"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.intervals import Share
from benchmarks.report import table
from featurizers import open_audio
from pipelines.console import Progress
from pipelines.model import Model

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FOLDERS = ("fsdd", "speech-commands-sample")
DEVELOPMENT_SPEAKERS = {"fsdd": ("george", "jackson"), "speech-commands-sample": ()}  # what a model may be tuned on
PAD_SECONDS = 1.0
NOTHING = "(nothing)"


class Take(NamedTuple):
    """A recording of one word."""

    path: Path
    word: str
    speaker: str


class Answer(NamedTuple):
    """What a model took a recording for; NOTHING if its switch never opened."""

    take: Take
    heard: str
    frames_open: float


def spelled(label: str) -> str:
    """A label as a word: "7" is "seven"."""
    return DIGITS[int(label)] if label.isdecimal() and len(label) == 1 else label


def takes_of(folder: Path, labels: Sequence[str]) -> list[Take]:
    """All recordings, listed in the folder's index.csv, of the words that a model knows."""
    with (folder / "index.csv").open(newline="") as file:
        takes = [Take(folder / row["file"], spelled(row["label"]), row["speaker"]) for row in csv.DictReader(file)]
    return [take for take in takes if take.word in labels]


def padded(samples: Tensor, rate_hz: int, seconds: float = PAD_SECONDS) -> Tensor:
    """(samples,) with so much silence on both sides."""
    return pad(samples, (round(seconds * rate_hz),) * 2)


def heard_word(level: Tensor, labels: Sequence[str]) -> str:
    """The label of the highest score, from levels (N, C) in logits at the open frames.

    Scores only fall between open frames, so the highest of a recording is the highest level; and levels, unlike
    probabilities, do not tie at 1.
    """
    return labels[int(level.amax(dim=0).argmax())] if len(level) else NOTHING


def classify(model: Model, takes: Sequence[Take], gate: str, report: Progress) -> list[Answer]:
    """Walk the model as it is shipped over every recording, silence around it.

    Args:
        gate: "learned" or "open", as in `Model.tag`.
    """
    rate_hz, answers = model.line.rate_hz, []
    for take in report.track(takes, f"words, switch {gate}", unit="recordings"):
        with open_audio(take.path, rate_hz) as stream:
            samples = torch.cat([torch.zeros(0), *stream.blocks(rate_hz)])
        track = model.track(padded(samples, rate_hz), rate_hz=rate_hz, gate=model.gate_named(gate))
        answers.append(Answer(take, heard_word(track.held.level, model.labels), float(track.is_open.float().mean())))
    return answers


def accuracy(answers: Iterable[Answer]) -> Share:
    """How many words were heard as what they are."""
    is_right = [answer.heard == answer.take.word for answer in answers]
    return Share(sum(is_right), len(is_right))


def accuracies_by(answers: Sequence[Answer], column: str) -> dict[str, Share]:
    """Per "word" or "speaker", in order of appearance."""
    keys = dict.fromkeys(getattr(answer.take, column) for answer in answers)
    return {key: accuracy(a for a in answers if getattr(a.take, column) == key) for key in keys}


def confusions(answers: Sequence[Answer], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """How often each word (outer key) was heard as each label, NOTHING included."""
    counts = {word: dict.fromkeys([*labels, NOTHING], 0) for word in labels}
    for answer in answers:
        counts[answer.take.word][answer.heard] += 1
    return {word: row for word, row in counts.items() if any(row.values())}


def confusion_table(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Rows: what was said; columns: what was heard."""
    heard = list(next(iter(counts.values())))
    rows = [[word, *(str(row[name]) if row[name] else "." for name in heard)] for word, row in counts.items()]
    return table(["said \\ heard", *heard], rows)


def word_figures(answers: Sequence[Answer], labels: Sequence[str], development: Sequence[str]) -> dict[str, Any]:
    """Everything about one folder, for results.json; speakers for development are kept out of `judged`."""
    judged = [answer for answer in answers if answer.take.speaker not in development]
    tuned = [answer for answer in answers if answer.take.speaker in development]
    figures: dict[str, Any] = {"judged": accuracy(judged).as_dict()}
    if tuned:
        figures["development"] = accuracy(tuned).as_dict()
    return figures | {
        "frames_open": sum(answer.frames_open for answer in answers) / len(answers),
        "by_speaker": {name: share.as_dict() for name, share in accuracies_by(answers, "speaker").items()},
        "by_word": {name: share.as_dict() for name, share in accuracies_by(judged, "word").items()},
        "confusions": confusions(judged, labels),
    }


def word_lines(name: str, answers: Sequence[Answer], labels: Sequence[str], development: Sequence[str]) -> list[str]:
    """The same to read."""
    judged = [answer for answer in answers if answer.take.speaker not in development]
    frames_open = sum(answer.frames_open for answer in answers) / len(answers)
    unheard = sum(answer.heard == NOTHING for answer in answers)
    lines = [f"{name}: {accuracy(judged)}; {frames_open:.1%} of frames open, none in {unheard} of {len(answers)}"]
    if len(judged) < len(answers):
        tuned = accuracy(answer for answer in answers if answer.take.speaker in development)
        lines.append(f"  for development only ({', '.join(development)}): {tuned}")
    for column, group in (("speaker", answers), ("word", judged)):
        lines += [f"  {column} {key}: {share}" for key, share in accuracies_by(group, column).items()]
    return [*lines, confusion_table(confusions(judged, labels))]


def judge_words(model: Model, data: Path, report: Progress) -> tuple[dict[str, Any], list[str]]:
    """Figures and lines of every folder that holds words the model knows, with the switch and with everything open."""
    figures: dict[str, Any] = {}
    lines: list[str] = []
    for folder in FOLDERS:
        takes = takes_of(data / folder, model.labels)
        if not takes:
            lines.append(f"{folder}: none of the model's words")
            continue
        development = DEVELOPMENT_SPEAKERS[folder]
        answers = {gate: classify(model, takes, gate, report) for gate in ("learned", "open")}
        figures[folder] = {gate: word_figures(some, model.labels, development) for gate, some in answers.items()}
        lines += word_lines(folder, answers["learned"], model.labels, development)
        judged = accuracy(answer for answer in answers["open"] if answer.take.speaker not in development)
        lines.append(f"{folder}, everything open: {judged}")
    return figures, lines
