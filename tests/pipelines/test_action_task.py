"""Action recognition as a task: targets against hand-worked frames, both sorts of recordings on made-up scores."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from featurizers import Grid
from pipelines.events import Event, Recording
from pipelines.heads import Held
from pipelines.labelled import labelled_part, labelled_seconds, true_events
from pipelines.line import Track
from pipelines.metrics.temporal_iou import temporal_ious
from pipelines.recipe import EvaluateOptions
from pipelines.span_candidates import span_candidates
from pipelines.spans import SpanDecision
from pipelines.tasks import ActionRecognition, Judged, Targets
from pipelines.tasks.action_tuning import ActionDecision, Tuning, pooled_scores

GRID = Grid(0.1)
LABELS = ("wave", "fall")


def recording(*events: Event, name: str = "a", **known: object) -> Recording:
    return Recording(Path(f"{name}.mp4"), events, **known)  # type: ignore[arg-type]


def targets_of(known: Recording, grid: Grid = GRID, margin: float = 0.0) -> Targets:
    task = ActionRecognition(clip_margin_seconds=margin, open_before_seconds=0.1, open_after_seconds=0.2)
    return task.targets(known, LABELS, grid, 20)


def ones(values: torch.Tensor) -> list[int]:
    return values.nonzero()[:, 0].tolist()


def test_events_are_wanted_where_they_are_and_the_switch_opens_a_little_earlier_and_later() -> None:
    # A trimmed clip whose times are known is asked by them, too.
    for clip_labels in (None, ("wave",)):
        targets = targets_of(recording(Event(0.5, 0.8, "wave"), clip_labels=clip_labels))
        assert ones(targets.labels[:, 0]) == [5, 6, 7]
        assert ones(targets.switch) == [4, 5, 6, 7, 8, 9]
        assert targets.weights.all()


def test_a_clip_without_times_is_its_label_on_all_frames_but_the_margins() -> None:
    for origin in (0.0, 7.0):
        targets = targets_of(recording(clip_labels=("fall",)), GRID._replace(origin_seconds=origin), margin=0.3)
        assert ones(targets.labels[:, 1]) == list(range(3, 17))
        assert ones(targets.weights[:, 1]) == list(range(3, 17))
        assert ones(targets.switch) == list(range(2, 19))
        assert not targets.labels[:, 0].any()
        assert targets.weights[:, 0].all()
    assert targets_of(recording(clip_labels=("fall",))).labels[:, 1].all()


def test_a_margin_leaves_half_of_a_short_clip() -> None:
    assert ones(targets_of(recording(clip_labels=("fall",)), margin=9.0).labels[:, 1]) == list(range(5, 15))


def test_a_clip_of_another_class_wants_nothing_and_one_of_several_asks_nothing_of_them() -> None:
    other = targets_of(recording(clip_labels=("dance",)))
    assert not other.labels.any()
    assert other.weights.all()
    several = targets_of(recording(clip_labels=("fall", "dance")))
    assert not several.weights[:, 1].any()
    assert several.weights[:, 0].all()
    assert not several.switch.any()


def test_time_that_nobody_labelled_asks_nothing() -> None:
    assert ones(targets_of(recording(labelled_spans=((0.5, 0.7),))).weights[:, 1]) == [5, 6]
    assert ones(targets_of(recording(clip_labels=("fall",), labelled_spans=((0.5, 0.7),))).weights[:, 1]) == [5, 6]
    unmarked, plain = (targets_of(recording(clip_labels=("fall",), labelled_spans=spans)) for spans in ((), None))
    assert torch.equal(unmarked.weights, plain.weights)  # as ActionFolder gives clips: the label holds throughout
    assert unmarked.weights.sum() > 0


def track_of(*spans: tuple[int, int, int], num_frames: int = 200, high: float = 3.0, origin: float = 0.0) -> Track:
    """All frames open; a high logit on the spans (column, first frame, end frame), -3 elsewhere."""
    level = torch.full((num_frames, 2), -3.0)
    for column, first, end in spans:
        level[first:end, column] = high
    held = Held(level, torch.zeros_like(level), torch.arange(num_frames))
    grid = GRID._replace(origin_seconds=origin)
    return Track(held, torch.ones(num_frames, dtype=torch.bool), None, grid, num_frames, num_frames * 0.1)


CLOSED = track_of(num_frames=30)._replace(
    held=Held(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
)
TRUTH = (Event(2.0, 4.0, "wave"), Event(3.0, 5.0, "fall"), Event(10.0, 11.0, "wave"))
PERFECT = track_of((0, 20, 40), (1, 30, 50), (0, 100, 110))
ONE_MISSED = track_of((0, 20, 40), (1, 30, 50))
LONG = [recording(*TRUTH, name=f"long{n}", kind="long") for n in range(2)]
CLIPS = [recording(name=f"clip{n}", kind="clips", clip_labels=(LABELS[n % 2],)) for n in range(4)]
CLIPS[0] = CLIPS[0]._replace(events=(Event(1.0, 2.0, "wave"),))  # still a clip: its times are not judged
WAVE, FALL = track_of((0, 10, 20), num_frames=30), track_of((1, 10, 20), num_frames=30)


def judged(
    recordings: list[Recording], tracks: list[Track], dense: list[Track], false_alarms_per_hour: float = 1.0
) -> Judged:
    options = EvaluateOptions(false_alarms_per_hour=false_alarms_per_hour)
    tuning = ActionRecognition().tune(dense, dense, recordings, LABELS, options)
    return Judged(recordings, tracks, dense, LABELS, tuning)


def both_sorts() -> Judged:
    """One wave of two recordings is missed, one fall is taken for a wave, one clip is not looked at."""
    dense = [PERFECT, PERFECT, WAVE, FALL, WAVE, FALL]
    return judged(LONG + CLIPS, [ONE_MISSED, PERFECT, WAVE, WAVE, CLOSED, FALL], dense)


def test_what_was_tuned_finds_every_action_of_perfect_scores_where_it_is() -> None:
    given = judged(LONG, [PERFECT] * 2, [PERFECT] * 2)
    found = ActionRecognition().decode(PERFECT.held, GRID, 20.0, LABELS, given.tuning.decisions)
    assert [event.label for event in found] == [event.label for event in TRUTH]
    for event, true in zip(found, TRUTH, strict=True):
        assert event[:2] == pytest.approx(true[:2])
    assert ActionRecognition().moments(given, 10) == []
    metrics = ActionRecognition().metrics(given)
    assert metrics["map_mean"] == metrics["event_f1_iou_0.5_macro"] == metrics["recall_at_thresholds"] == 1.0
    assert metrics["false_alarms_per_hour_all_labels"] == metrics["map_change_vs_dense"] == 0.0


@pytest.mark.parametrize(
    ("allowed_per_hour", "num_found", "num_false"),
    [(1.0, 1, 0), (89.0, 1, 0), (91.0, 4, 1)],  # 20 s, two labels: one false alarm is 90 per hour and label
)
def test_thresholds_keep_to_the_false_alarms_that_are_allowed(
    allowed_per_hour: float, num_found: int, num_false: int
) -> None:
    # F1 is highest with three faint waves found and the false alarm between them and the loud one taken along.
    faint = [Event(begin, begin + 1.0, "wave") for begin in (2.0, 5.0, 8.0)]
    track = track_of((0, 120, 130), high=6.0)
    for event in faint:
        track.held.level[round(event.onset_seconds * 10) : round(event.offset_seconds * 10), 0] = 2.0
    track.held.level[150:160, 0] = 3.0
    known = [recording(*faint, Event(12.0, 13.0, "wave"), kind="long")]
    metrics = ActionRecognition().metrics(judged(known, [track], [track], allowed_per_hour))
    # Whatever is allowed: hits rank 1, 3, 4, 5, and no precision counts less than a later one: (1 + 3 * 4 / 5) / 4.
    assert metrics["map_mean"] == pytest.approx(0.85)
    assert metrics["recall_at_thresholds"] == num_found / 4
    assert metrics["false_alarms_per_hour_all_labels"] == pytest.approx(num_false * 180)


def test_each_sort_of_recording_has_its_figures_and_none_of_the_other() -> None:
    metrics = ActionRecognition().metrics(both_sorts())
    assert metrics["num_recordings"] == 6
    assert metrics["hours"] == pytest.approx((2 * 20 + 4 * 3) / 3600)
    assert metrics["hours_of_long_recordings"] == pytest.approx(40 / 3600)
    assert metrics["num_events"] == 6
    assert metrics["map_at_iou_0.5"] == pytest.approx((3 / 4 + 1) / 2)  # 3 of 4 waves, all falls
    assert metrics["dense_map_at_iou_0.5"] == 1.0
    assert metrics["map_change_vs_dense"] == pytest.approx(-1 / 8)
    assert metrics["recall_at_thresholds"] == pytest.approx(5 / 6)
    assert metrics["clip_accuracy"] == metrics["clip_mean_class_accuracy"] == 0.5
    assert metrics["dense_clip_accuracy"] == 1.0
    assert metrics["num_clips_unanswered"] == 1
    assert metrics["clip_accuracy_change_vs_dense"] == -0.5
    assert metrics["clips_clip_accuracy"] == 0.5
    assert metrics["long_map_mean"] == metrics["map_mean"]
    assert "clips_map_mean" not in metrics
    assert "long_clip_accuracy" not in metrics
    assert not [key for key in metrics if "{" in key]
    only_clips = judged(CLIPS, [WAVE, FALL] * 2, [WAVE, FALL] * 2)
    keys = ActionRecognition().metrics(only_clips)
    assert keys["clip_accuracy"] == 1.0
    assert (keys["num_events"], keys["hours"]) == (0.0, pytest.approx(12 / 3600))
    assert not [key for key in keys if "map" in key or "false_alarms" in key]


def test_the_headline_says_it_in_the_words_of_a_user() -> None:
    task = ActionRecognition()
    metrics = task.metrics(both_sorts())
    assert task.headline(metrics, "clips").startswith("names 50% of the clips right (15 to 85; chance 50%;")
    assert "finds 83% of the actions" in task.headline(metrics, "long")
    assert "0.0 false alarms per hour" in task.headline(metrics, "long")
    assert task.headline(metrics) == f"{task.headline(metrics, 'clips')}; {task.headline(metrics, 'long')}"
    nothing = judged([recording(name="still")], [track_of((0, 20, 40))], [track_of((0, 20, 40))], 180.0)
    assert task.headline(task.metrics(nothing)) == "raises 180.0 false alarms per hour"  # 1 in 20 s
    weak = judged([recording(clip_labels=("wave", "fall"))], [PERFECT], [PERFECT])
    assert "was not judged" in task.headline(task.metrics(weak))


def test_the_worst_mistakes_of_both_sorts() -> None:
    given = both_sorts()
    dense = list(given.dense_tracks)
    given = given._replace(tracks=[track_of((0, 20, 40), (1, 30, 50), (1, 150, 170)), *given.tracks[1:]])
    moments = ActionRecognition().moments(given._replace(dense_tracks=dense), 9)
    assert [(m.recording, m.event.label, m.event.onset_seconds, m.is_miss) for m in moments] == [
        (0, "fall", 15.0, False),
        (0, "wave", 10.0, True),
        (3, "fall", 0.0, True),  # named wave
        (4, "wave", 0.0, True),  # not looked at
    ]
    assert moments[0].score == pytest.approx(0.9526, abs=1e-4)
    assert moments[3].score == 0.0
    assert len(ActionRecognition().moments(given, 2)) == 2


def test_a_clips_score_is_the_mean_probability_of_its_best_frames() -> None:
    track = track_of((0, 0, 5), (0, 5, 10), num_frames=20)
    high, low = 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(3))
    assert pooled_scores(track, [0.0, 1.0]).tolist() == pytest.approx([high, low])
    assert pooled_scores(track, [1.0, 0.5]).tolist() == pytest.approx([(high + low) / 2, low])
    assert pooled_scores(track, [0.75, 0.0])[0] == pytest.approx((10 * high + 5 * low) / 15)
    assert pooled_scores(CLOSED, [0.5, 0.5]).tolist() == [0.0, 0.0]


def test_the_share_of_a_clip_that_speaks_is_the_one_with_the_most_clips_right() -> None:
    # The true class is high on 3 of 30 frames, the other one half as sure on all: the mean of all frames is wrong.
    def brief(column: int) -> Track:
        track = track_of((column, 10, 13), num_frames=30)
        track.held.level[:, 1 - column] = 0.0
        return track

    recordings, tracks = CLIPS[:2], [brief(0), brief(1)]
    tuning = ActionRecognition().tune(tracks, [WAVE, FALL], recordings, LABELS, EvaluateOptions())
    assert {d.clip_share for d in tuning.decisions.values()} == {0.125}  # the best 4 frames
    assert {d.clip_share for d in tuning.dense_decisions.values()} == {1.0}  # all do equally well: the most frames
    shares = ActionRecognition().clip_scores(tracks[0], LABELS, tuning.decisions)
    assert shares[0] > shares[1]


def test_labelled_time_alone_is_judged() -> None:
    known = recording(*TRUTH, labelled_spans=((0.0, 8.0), (15.0, 99.0)))
    track = track_of((0, 20, 40), (1, 30, 50), (1, 120, 130))  # the fall at 12 s may be one
    assert labelled_seconds(track, known) == 13.0
    assert [event.onset_seconds for event in true_events(known, LABELS)] == [2.0, 3.0]
    assert torch.isneginf(labelled_part(track, known).held.level[:, 0]).nonzero()[:, 0].tolist() == list(range(80, 150))
    metrics = ActionRecognition().metrics(judged([known], [track], [track]))
    assert metrics["false_alarms_per_hour_all_labels"] == 0.0
    assert metrics["recall_at_thresholds"] == 1.0
    assert metrics["hours"] == pytest.approx(13 / 3600)


def test_one_score_takes_the_place_of_every_threshold_to_open() -> None:
    decisions = {"wave": ActionDecision(0.99, 0.2), "fall": ActionDecision(0.99, 0.9)}
    task = ActionRecognition()
    assert task.decode(PERFECT.held, GRID, 20.0, LABELS, decisions) == []
    assert len(task.decode(PERFECT.held, GRID, 20.0, LABELS, decisions, min_score=0.9)) == 3


def test_a_decision_is_numbers_that_a_bundle_keeps() -> None:
    tuning = both_sorts().tuning
    assert isinstance(tuning, Tuning)
    for decision in tuning.decisions.values():
        assert ActionDecision(**{k: float(v) for k, v in decision._asdict().items()}) == decision
        assert decision.span == SpanDecision(*decision[:5])


def test_of_nested_candidates_the_one_with_the_best_limits_ranks_first() -> None:
    # A wave from 5 to 9 s is sure, and surer still from 6.5 to 7 s; a weaker one lasts from 15 to 17 s.
    track = track_of((0, 50, 90), num_frames=200, high=2.0, origin=7.0)
    track.held.level[65:70, 0] = 5.0
    track.held.level[150:170, 0] = 0.5
    found = span_candidates(
        track.held, track.grid, LABELS, decisions=dict.fromkeys(LABELS, SpanDecision()), seconds=20.0
    )
    waves = sorted((event for event in found if event.label == "wave"), key=lambda event: -event.score)
    assert (waves[0].onset_seconds, waves[0].offset_seconds) == pytest.approx((12.0, 16.0))  # on the media clock
    assert (waves[1].onset_seconds, waves[1].offset_seconds) == pytest.approx((22.0, 24.0))
    sure, surer, low = (1 / (1 + math.exp(-level)) for level in (2.0, 5.0, -3.0))
    assert waves[0].score == pytest.approx((35 * sure + 5 * surer) / 40 - low)
    assert found == sorted(found)


@pytest.mark.parametrize("seed", range(3))
def test_candidates_do_not_overlap_a_better_one_too_much(seed: int) -> None:
    level = 3 * torch.randn(300, 2, generator=torch.Generator().manual_seed(seed))
    held = Held(level, torch.rand(300, 2), torch.arange(300))
    decisions = dict.fromkeys(LABELS, SpanDecision(0.6, 0.4, 3, 0.2, 0.1))
    found = span_candidates(held, GRID, LABELS, decisions=decisions, seconds=29.95, most_iou=0.4)
    assert len(found) > 10
    for label in LABELS:
        times = np.array([event[:2] for event in found if event.label == label])
        first, second = np.triu_indices(len(times), 1)
        micros = np.rint(1e6 * times).astype(np.int64)
        assert temporal_ious(micros[first], micros[second]).max() < 0.4 + 0.05  # the last frame is cut short


def test_pictures_of_both_sorts(tmp_path: Path) -> None:
    drawn = ActionRecognition().plots(tmp_path, both_sorts())
    assert [path.name for path, _ in drawn] == [
        "confusion.png",
        "clip_labels.png",
        "precision_recall.png",
        "labels.png",
    ]
    for path, caption in drawn:
        assert caption.endswith(".")
        with Image.open(path) as picture:
            assert min(picture.size) > 100
    assert [
        path.name for path, _ in ActionRecognition().plots(tmp_path, judged(LONG, [PERFECT] * 2, [PERFECT] * 2))
    ] == [
        "precision_recall.png",
        "labels.png",
    ]


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="least_iou=0 must be above 0"):
        ActionRecognition(least_iou=0)
    with pytest.raises(ValueError, match="both must be 0 or more"):
        ActionRecognition(clip_margin_seconds=-1)
