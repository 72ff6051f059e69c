"""mAP at temporal IoU, figures of actions and of clips: hand-worked cases and definitions spelled out."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.events import Event
from pipelines.metrics.actions import action_figures, map_change
from pipelines.metrics.clips import (
    ClipSheet,
    clip_changes,
    clip_figures,
    clip_sheet,
    confusion,
    mean_class_accuracy,
    wilson_interval,
)
from pipelines.metrics.sheet import RecordingResult
from pipelines.metrics.temporal_iou import (
    average_precisions,
    detection_sheet,
    iou_counts,
    map_statistic,
    mean_precisions,
)

LABELS = ("wave", "fall")


def result(detected: list[Event], truth: list[Event], name: str = "r", seconds: float = 3600.0) -> RecordingResult:
    return RecordingResult(detected, truth, seconds, "", name)


def average_precision(detected: list[Event], truth: list[Event], iou: float = 0.5) -> float:
    return float(average_precisions(detection_sheet([result(detected, truth)], ["wave"], [iou]), np.ones(1))[0, 0])


def waves(*spans: tuple[float, float], scores: tuple[float, ...] = ()) -> list[Event]:
    return [Event(*span, "wave", score) for span, score in zip(spans, scores or (1.0,) * len(spans), strict=True)]


TRUE = waves((0, 10), (20, 30), (40, 50))


def test_precision_at_a_recall_is_the_highest_there_or_beyond() -> None:
    # By falling score: hit, false, false, hit, hit. Precision 1, 1/2, 1/3, 2/4, 3/5 at recall 1/3, 1/3, 1/3, 2/3, 1.
    # Interpolated: 1 up to recall 1/3, then 3/5 up to 1 (not 2/4 up to 2/3): AP = (1 + 3/5 + 3/5) / 3.
    spans = (0.0, 10.0), (60.0, 70.0), (80.0, 90.0), (20.0, 30.0), (40.0, 50.0)
    detected = waves(*spans, scores=(0.9, 0.8, 0.7, 0.6, 0.5))
    assert average_precision(detected, TRUE) == pytest.approx((1 + 0.6 + 0.6) / 3)
    # Without the last one recall ends at 2/3, and what lies beyond it adds nothing: (1 + 2/4) / 3.
    assert average_precision(detected[:4], TRUE) == pytest.approx((1 + 0.5) / 3)
    assert average_precision([], TRUE) == 0.0


def test_a_second_detection_of_the_same_event_is_a_false_alarm_even_if_it_fits_better() -> None:
    detected = waves((0.0, 8.0), (0.0, 10.0), scores=(0.9, 0.8))
    assert average_precision(detected, TRUE[:1]) == 1.0  # recall 1 is reached before the second one comes
    sheet = detection_sheet([result(detected, TRUE[:1])], ["wave"], [0.5])
    assert sheet.is_hit[:, 0].tolist() == [True, False]


def test_a_detection_takes_the_event_that_fits_best_or_else_the_next_that_is_free() -> None:
    # True 0 to 10 and 4 to 14; first detection 3 to 13 (IoU 7/13 and 9/11), second 2 to 14 (IoU 8/14 and 10/12).
    truth, detected = waves((0.0, 10.0), (4.0, 14.0)), waves((3.0, 13.0), (2.0, 14.0), scores=(0.9, 0.8))
    sheet = detection_sheet([result(detected, truth)], ["wave"], [0.5, 0.7])
    assert sheet.is_hit.tolist() == [[True, True], [True, False]]  # the second finds the first event at 8/14 only
    # Had the first taken the event from 0 to 10, nothing were left for a second from 0 to 9 (IoU 9/10 and 5/14).
    other = waves((3.0, 13.0), (0.0, 9.0), scores=(0.9, 0.8))
    assert detection_sheet([result(other, truth)], ["wave"], [0.5]).is_hit.all()


@pytest.mark.parametrize(("iou", "offset"), [(0.3, 3.0), (0.5, 5.0), (0.7, 7.0)])
def test_an_iou_of_exactly_the_threshold_is_a_hit(iou: float, offset: float) -> None:
    for shift in (0.0, 0.1, 1234.7):
        truth = waves((shift, shift + 10.0))
        assert average_precision(waves((shift, shift + offset)), truth, iou) == 1.0
        assert average_precision(waves((shift, shift + offset - 1e-5)), truth, iou) == 0.0


def test_a_label_never_detected_counts_0_and_one_that_never_occurs_is_left_out() -> None:
    truth = [*TRUE, Event(70, 80, "fall")]
    sheet = detection_sheet([result([*TRUE, Event(0, 9, "spin")], truth)], ["wave", "fall", "spin"])
    assert average_precisions(sheet, np.ones(1))[:, 0].tolist() == pytest.approx([1.0, 0.0, math.nan], nan_ok=True)
    assert map_statistic()(sheet, np.ones(1)) == pytest.approx(0.5)
    assert math.isnan(map_statistic()(sheet, np.zeros(1)))


def test_events_of_another_recording_are_not_taken() -> None:
    results = [result(waves((0, 10), scores=(0.9,)), [], "a"), result(waves((0, 10), scores=(0.8,)), TRUE[:1], "b")]
    assert average_precisions(detection_sheet(results, ["wave"]), np.ones(2))[0].tolist() == [0.5] * 3


spans = st.tuples(st.integers(0, 20), st.integers(1, 8), st.sampled_from(LABELS)).map(
    lambda span: Event(float(span[0]), float(span[0] + span[1]), span[2])
)


@st.composite
def many_results(draw: st.DrawFn) -> list[RecordingResult]:
    results = []
    for number in range(draw(st.integers(1, 3))):
        detected = draw(st.lists(spans, max_size=8))
        truth = draw(st.lists(spans, max_size=5, unique_by=lambda e: (e.label, e.onset_seconds)))
        results.append(result(detected, truth, f"r{number}"))
    total = sum(len(r.detected) for r in results)
    scores = iter(draw(st.permutations([(i + 1) / (total + 1) for i in range(total)])))
    return [r._replace(detected=[e._replace(score=next(scores)) for e in r.detected]) for r in results]


def spelled_out(results: list[RecordingResult], label: str, iou: float) -> float:
    """Average precision as the evaluation of ActivityNet defines it, with sets and loops."""
    truth = {(k, e) for k, r in enumerate(results) for e in r.truth if e.label == label}
    said = sorted(
        ((k, e) for k, r in enumerate(results) for e in r.detected if e.label == label), key=lambda d: -d[1].score
    )
    taken: set[tuple[int, Event]] = set()
    points = []
    for number, (k, event) in enumerate(said, 1):
        fits = []
        for owner, true in truth - taken:
            common = min(event[1], true[1]) - max(event[0], true[0])
            union = (event[1] - event[0]) + (true[1] - true[0]) - common
            if owner == k and common > 0 and common / union >= iou:
                fits.append((-common / union, true[0], true))
        if fits:
            taken.add((k, min(fits)[2]))
        points.append((len(taken) / len(truth), len(taken) / number))
    steps = sorted({recall for recall, _ in points} | {0.0})
    return sum(
        (high - low) * max(precision for recall, precision in points if recall >= high)
        for low, high in itertools.pairwise(steps)
    )


@given(many_results(), st.sampled_from([0.3, 0.5, 0.7]))
@settings(max_examples=300, deadline=None)
def test_average_precision_equals_the_definition_spelled_out(results: list[RecordingResult], iou: float) -> None:
    found = average_precisions(detection_sheet(results, LABELS, [iou]), np.ones(len(results)))[:, 0]
    for column, label in enumerate(LABELS):
        if any(e.label == label for r in results for e in r.truth):
            assert found[column] == pytest.approx(spelled_out(results, label, iou))
        else:
            assert math.isnan(found[column])


@given(many_results())
@settings(max_examples=150, deadline=None)
def test_a_weight_of_two_equals_the_recording_twice(results: list[RecordingResult]) -> None:
    weights = np.arange(len(results), 0, -1) % 3 * 1.0
    copies = [
        r._replace(name=f"{r.name}.{copy}")
        for r, weight in zip(results, weights, strict=True)
        for copy in range(int(weight))
    ]
    weighted = map_statistic()(detection_sheet(results, LABELS), weights)
    if copies:
        sheet = detection_sheet(copies, LABELS)
        assert weighted == pytest.approx(map_statistic()(sheet, np.ones(len(copies))), nan_ok=True)
    else:
        assert math.isnan(weighted)


@given(many_results())
@settings(max_examples=50, deadline=None)
def test_the_area_under_the_mean_precision_is_the_map(results: list[RecordingResult]) -> None:
    sheet = detection_sheet(results, LABELS)
    recalls = np.linspace(0.0005, 0.9995, 1000)
    area = mean_precisions(sheet, recalls)[:, 1].mean()
    assert area == pytest.approx(map_statistic(0.5)(sheet, np.ones(len(results))), abs=2e-3, nan_ok=True)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one of each"):
        detection_sheet([], LABELS)
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        detection_sheet([result([], [])], LABELS, [0.0])
    with pytest.raises(ValueError, match="is NaN"):
        detection_sheet([result(waves((0, 1), scores=(math.nan,)), [])], LABELS)


def test_figures_equal_the_hand_worked_case() -> None:
    # Half an hour. True: waves 0 to 10, 20 to 30; fall 50 to 54. Said: wave 0 to 10 (hit), wave 22 to 50 (overlaps by 8
    # of 30: found, no hit at IoU 0.5), fall 54.5 to 56 (found with a tolerance of 1 s only), wave 100 to 110 (nothing).
    truth = [Event(0, 10, "wave"), Event(20, 30, "wave"), Event(50, 54, "fall")]
    said = [
        Event(0, 10, "wave", 0.9),
        Event(22, 50, "wave", 0.8),
        Event(54.5, 56, "fall", 0.7),
        Event(100, 110, "wave", 0.6),
    ]
    found = [result(said, truth, seconds=1800)]
    figures = action_figures(found, found, LABELS, tolerance_seconds=1.0)
    assert figures["num_detections"] == 4
    assert figures["event_f1_iou_0.5_micro"] == pytest.approx(2 / (4 + 3))
    assert figures["event_f1_iou_0.5/wave"] == pytest.approx(2 / (3 + 2))
    assert figures["event_f1_iou_0.5_macro"] == pytest.approx((2 / 5 + 0) / 2)
    assert figures["recall_at_thresholds"] == 1.0
    assert figures["false_alarms_per_hour_all_labels"] == 2.0
    assert figures["false_alarms_per_hour_at_thresholds"] == 1.0
    assert figures["false_alarms_per_hour_at_thresholds/wave"] == 2.0
    assert figures["false_alarms_per_hour_no_overlap"] == 4.0  # the late fall, too
    assert figures["precision_at_thresholds"] == pytest.approx(3 / 4)
    assert figures["map_at_iou_0.5"] == pytest.approx((0.5 + 0) / 2)
    assert figures["map_mean"] == pytest.approx(0.25)
    assert figures["average_precision_at_iou_0.7/wave"] == 0.5
    assert figures["onset_error_seconds_median"] == 2.0  # 0, 2, 4.5
    assert math.isnan(figures["map_mean_low"])  # one recording has no interval
    less_tolerant = action_figures(found, found, LABELS, tolerance_seconds=0.3)
    assert less_tolerant["recall_at_thresholds"] == pytest.approx(2 / 3)


def test_counts_at_another_iou_find_more() -> None:
    results = [result(waves((0, 10), (22, 50)), TRUE[:2])]
    assert iou_counts(results, ["wave"]).num_hits.sum() == 1
    assert iou_counts(results, ["wave"], least_iou=0.25).num_hits.sum() == 2


def test_the_change_against_everything_open_is_relative_and_its_interval_paired() -> None:
    dense = [result(TRUE, TRUE, f"r{number}") for number in range(6)]
    same = map_change(dense, dense, ["wave"])
    assert list(same.values()) == [0.0, 0.0, 0.0]
    half = map_change([r._replace(detected=[]) if n % 2 else r for n, r in enumerate(dense)], dense, ["wave"])
    assert half["map_change_vs_dense"] == pytest.approx(-0.5)
    assert half["map_change_vs_dense_low"] < -0.5 < half["map_change_vs_dense_high"]
    with pytest.raises(ValueError, match="same recordings"):
        map_change(dense[:2], dense[2:4], ["wave"])


def clips(*rows: tuple[str, list[float]], labels: tuple[str, ...] = ("a", "b", "c")) -> ClipSheet:
    return clip_sheet(
        [np.array(scores) for _, scores in rows],
        [true for true, _ in rows],
        labels,
        [str(n) for n in range(len(rows))],
        [2.0] * len(rows),
    )


def test_accuracy_of_clips_equals_the_hand_worked_case() -> None:
    sheet = clips(
        ("a", [0.9, 0.1, 0.0]),
        ("a", [0.2, 0.3, 0.1]),
        ("a", [0.5, 0.4, 0.1]),
        ("b", [0.6, 0.5, 0.1]),
    )
    figures = clip_figures(sheet)
    assert figures["clip_accuracy"] == 0.5
    assert figures["clip_mean_class_accuracy"] == pytest.approx((2 / 3 + 0) / 2)
    assert (figures["clip_accuracy/a"], figures["clip_accuracy/b"]) == pytest.approx((2 / 3, 0))
    assert math.isnan(figures["clip_accuracy/c"])
    assert figures["clip_chance"] == pytest.approx(1 / 3)
    assert figures["num_clips/a"] == 3
    assert "clip_top5_accuracy" not in figures  # of three labels five are always enough
    assert confusion(sheet).tolist() == [[2, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_top_5_asks_that_fewer_than_five_score_as_high() -> None:
    labels = tuple("abcdefg")
    sheet = clips(("f", [7, 6, 5, 4, 3, 2, 1]), ("e", [7, 6, 5, 4, 3, 2, 1]), labels=labels)
    assert clip_figures(sheet)["clip_top5_accuracy"] == 0.5


def test_a_clip_in_which_nothing_was_looked_at_is_wrong_and_so_is_a_tie() -> None:
    sheet = clips(("a", [0.0, 0.0, 0.0]), ("a", [0.5, 0.5, 0.1]), ("a", [0.5, 0.4, 0.4]))
    assert sheet.rank.tolist() == [2, 1, 0]
    assert sheet.said.tolist() == [-1, -1, 0]
    assert clip_figures(sheet)["num_clips_unanswered"] == 2
    assert confusion(sheet)[0].tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize(
    ("num_right", "number", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]
)
def test_the_interval_of_a_share_equals_published_examples(
    num_right: int, number: int, low: float, high: float
) -> None:
    # Source: Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17, 1998.
    assert wilson_interval(num_right, number) == pytest.approx((low, high), abs=5e-5)


def test_the_change_of_accuracy_is_relative_and_paired() -> None:
    rows = [("a", [0.9, 0.1, 0.0]), ("b", [0.1, 0.9, 0.0])] * 10
    dense = clips(*rows)
    worse = clips(*[("a", [0.1, 0.9, 0.0]) if n == 0 else row for n, row in enumerate(rows)])
    changes = clip_changes(worse, dense)
    assert changes["clip_accuracy_change_vs_dense"] == pytest.approx(-0.05)
    assert changes["clip_mean_class_accuracy_change_vs_dense"] == pytest.approx(-0.05)
    assert changes["clip_accuracy_change_vs_dense_low"] < -0.05 < changes["clip_accuracy_change_vs_dense_high"]
    assert mean_class_accuracy(dense, np.ones(20)) == 1.0


def test_a_clip_of_an_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"classes \['z'\] are not among the labels"):
        clips(("z", [0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match="no clip"):
        clips()
