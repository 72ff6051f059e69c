"""Trimmed clips of words: what is asked of them, and how many are named right, on made-up scores."""

from pathlib import Path

import numpy as np
import pytest
import torch

from featurizers import Grid
from pipelines.events import Event, Recording
from pipelines.heads import Held
from pipelines.line import Track
from pipelines.recipe import EvaluateOptions
from pipelines.tasks import Judged, KeywordSpotting
from pipelines.tasks.keywords import clip_scores

GRID = Grid(0.1)
LABELS = ("go", "stop")


def clip(name: str, label: str) -> Recording:
    return Recording(Path(f"{name}.flac"), (Event(0.5, 1.0, label),), (label,), None, "test", "", "clip")


def stream(name: str, *events: Event) -> Recording:
    return Recording(Path(f"{name}.flac"), events, None, None, "test", "", "talkative")


def track(levels: dict[int, tuple[float, float]], num_frames: int = 20) -> Track:
    """Levels, in logits, at the open frames; they fall by 20 a second."""
    index = torch.tensor(sorted(levels), dtype=torch.int64)
    level = torch.tensor([levels[int(frame)] for frame in index]).reshape(-1, 2)
    is_open = torch.zeros(num_frames, dtype=torch.bool)
    is_open[index] = True
    held = Held(level, torch.full_like(level, 20.0), index)
    return Track(held, is_open, None, GRID, len(index), num_frames * GRID.hop_seconds)


def judged(recordings: list[Recording], tracks: list[Track], dense: list[Track]) -> Judged:
    tuning = KeywordSpotting().tune(dense, dense, recordings, LABELS, EvaluateOptions())
    return Judged(recordings, tracks, dense, LABELS, tuning)


RIGHT, WRONG, NEVER_OPEN = track({4: (3.0, -1.0), 11: (-2.0, 4.0)}), track({11: (1.0, 0.5)}), track({})


def test_the_word_of_a_clip_is_the_label_with_the_highest_score_of_all_frames() -> None:
    scores = clip_scores(RIGHT, 2)
    assert scores == pytest.approx(1 / (1 + np.exp([-3.0, -4.0])))
    assert clip_scores(NEVER_OPEN, 2).tolist() == [0.0, 0.0]
    # As float32 probabilities these two would be the same.
    sure = clip_scores(track({11: (20.0, 21.0)}), 2)
    assert sure[1] > sure[0]


def test_clips_count_as_right_wrong_or_unanswered_beside_everything_open() -> None:
    clips = [clip(name, "stop") for name in "abc"]
    metrics = KeywordSpotting().metrics(judged(clips, [RIGHT, WRONG, NEVER_OPEN], [RIGHT, RIGHT, WRONG]))
    for prefix in ("", "clip_"):
        assert metrics[f"{prefix}num_clips"] == 3
        assert metrics[f"{prefix}clip_accuracy"] == pytest.approx(1 / 3)
        assert metrics[f"{prefix}num_clips_unanswered"] == 1
        assert metrics[f"{prefix}dense_clip_accuracy"] == pytest.approx(2 / 3)
        assert metrics[f"{prefix}clip_accuracy_change_vs_dense"] == pytest.approx(-1 / 2)
        assert metrics[f"{prefix}clip_accuracy_low"] < 1 / 3 < metrics[f"{prefix}clip_accuracy_high"]


def test_streams_are_judged_by_recall_alone_and_the_headline_says_what_was_judged() -> None:
    task = KeywordSpotting()
    found = track({11: (-5.0, 4.0)})
    recordings = [clip("a", "stop"), clip("b", "go"), stream("c", Event(0.5, 1.0, "stop")), stream("d")]
    tracks = [RIGHT, RIGHT, found, track({3: (-6.0, -6.0)})]
    metrics = task.metrics(judged(recordings, tracks, tracks))
    assert metrics["num_clips"] == 2
    assert metrics["clip_accuracy"] == 0.5
    assert metrics["talkative_recall_at_1_false_alarm_per_hour"] == 1
    assert not [key for key in metrics if key.startswith("talkative") and "clip" in key]
    both, of_clips, of_streams = (task.headline(metrics, kind) for kind in ("", "clip", "talkative"))
    assert of_clips.startswith("names 50% of the clips right (9% to 91%; everything open: 50%)")
    assert "finds" not in of_clips
    assert of_streams.startswith("finds 100% of the words")
    assert both.startswith("names 50% of the clips right")
    assert "finds" in both


def test_corpora_without_clips_keep_their_figures() -> None:
    recordings = [stream("c", Event(0.5, 1.0, "stop")), stream("d")]
    tracks = [RIGHT, WRONG]
    assert not [key for key in KeywordSpotting().metrics(judged(recordings, tracks, tracks)) if "clip" in key]


def test_a_clip_label_without_a_time_asks_nothing_of_its_word_and_forbids_the_others() -> None:
    known = Recording(Path("a.flac"), (), ("stop",))
    targets = KeywordSpotting().targets(known, LABELS, GRID, 20)
    assert not targets.labels.any()
    assert targets.weights[:, 0].all()
    assert not targets.weights[:, 1].any()
    timed = KeywordSpotting().targets(clip("a", "stop"), LABELS, GRID, 20)
    assert timed.labels[:, 1].any()
    assert timed.weights[:, 1].any()


def test_clips_have_a_picture_of_what_is_taken_for_what(tmp_path: Path) -> None:
    clips = [clip(name, "stop") for name in "ab"]
    pictures = KeywordSpotting().plots(tmp_path, judged(clips, [RIGHT, WRONG], [RIGHT, RIGHT]))
    assert [path.name for path, _ in pictures] == ["operating_curve.png", "reliability.png", "confusion.png"]
    assert all(path.stat().st_size > 1_000 for path, _ in pictures)
