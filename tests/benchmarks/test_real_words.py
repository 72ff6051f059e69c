"""Isolated words: which recordings are taken, what surrounds them, how answers are counted."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.words import (
    NOTHING,
    Answer,
    Take,
    accuracies_by,
    classify,
    confusion_table,
    confusions,
    heard_word,
    padded,
    spelled,
    takes_of,
    word_figures,
)
from featurizers import write_audio
from pipelines.console import Progress
from pipelines.model import Model

LABELS = ("yes", "no", "seven")


def answers() -> list[Answer]:
    """Two speakers; ann: yes, no right, seven unheard; bob: yes taken for no, no right."""
    heard = [
        ("ann", "yes", "yes"),
        ("ann", "no", "no"),
        ("ann", "seven", NOTHING),
        ("bob", "yes", "no"),
        ("bob", "no", "no"),
    ]
    return [Answer(Take(Path("x"), word, who), what, 0.5) for who, word, what in heard]


def test_recordings_of_words_that_the_model_knows_are_taken_digits_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text(
        "file,label,speaker\n7/a.flac,7,ann\n8/b.flac,8,ann\nyes/c.flac,yes,bob\n_noise_/d.flac,_noise_,rec\n"
    )
    assert takes_of(tmp_path, LABELS) == [
        Take(tmp_path / "7/a.flac", "seven", "ann"),
        Take(tmp_path / "yes/c.flac", "yes", "bob"),
    ]
    assert spelled("10") == "10"


def test_a_second_of_silence_lies_on_both_sides() -> None:
    found = padded(torch.ones(3), 8)
    assert found.tolist() == [0.0] * 8 + [1.0] * 3 + [0.0] * 8


def test_the_word_with_the_highest_level_is_heard_even_where_probabilities_are_all_one() -> None:
    level = torch.tensor([[50.0, 40.0, 0.0], [45.0, 60.0, 0.0]])
    assert level.sigmoid()[:, :2].eq(1).all()
    assert heard_word(level, LABELS) == "no"
    assert heard_word(torch.zeros(0, 3), LABELS) == NOTHING


def test_the_shipped_model_answers_and_its_scores_say_the_same(model: Model, noise: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "word.flac"
    samples = noise[: 16_000 * 2]
    write_audio(path, samples, 16_000)
    for gate in ("learned", "open"):
        (answer,) = classify(model, [Take(path, "yes", "ann")], gate, Progress(quiet=True))
        scores = model.scores(padded(samples, 16_000), rate_hz=16_000, gate=gate)
        assert answer.heard == model.labels[scores.scores.max(axis=0).argmax()]
        assert answer.frames_open == pytest.approx(scores.is_open.mean())
    assert answer.frames_open == 1.0


def test_answers_are_counted_per_speaker_per_word_and_per_confusion() -> None:
    by_speaker = accuracies_by(answers(), "speaker")
    assert {name: (share.hits, share.total) for name, share in by_speaker.items()} == {"ann": (2, 3), "bob": (1, 2)}
    counts = confusions(answers(), LABELS)
    assert counts["yes"] == {"yes": 1, "no": 1, "seven": 0, NOTHING: 0}
    assert counts["seven"] == {"yes": 0, "no": 0, "seven": 0, NOTHING: 1}
    assert confusion_table(counts).splitlines()[1].split() == ["yes", "1", "1", ".", "."]


def test_speakers_for_development_are_not_judged() -> None:
    figures = word_figures(answers(), LABELS, ["ann"])
    assert (figures["judged"]["hits"], figures["judged"]["total"]) == (1, 2)
    assert (figures["development"]["hits"], figures["development"]["total"]) == (2, 3)
    assert set(figures["by_word"]) == {"yes", "no"}
    assert "development" not in word_figures(answers(), LABELS, [])
