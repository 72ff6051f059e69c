"""Metrics against brute force, hand-worked cases and properties."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.events import Event
from pipelines.metrics import (
    RecordingResult,
    WorkCounts,
    bootstrap_interval,
    curve_of,
    keyword_metrics,
    match_detections,
    operating_curve,
    paired_bootstrap,
    recall_at,
    recall_at_thresholds,
    recall_statistic,
    score_sheet,
    thresholds_for,
    work_metrics,
)

LABELS = ("yes", "no")
ZERO = {"yes": 0.0, "no": 0.0}


def events() -> st.SearchStrategy[list[Event]]:
    """Events on a quarter-second raster, so that touching, nested and tied ones are common and sums are exact."""
    return st.lists(
        st.builds(
            lambda onset, length, label, score: Event(onset / 4, (onset + length) / 4, label, score / 4),
            st.integers(0, 40),
            st.integers(1, 8),
            st.sampled_from(LABELS),
            st.integers(-8, 8),
        ),
        max_size=12,
    )


recordings = st.lists(
    st.builds(
        lambda detected, truth, seconds, index: (detected, truth, seconds, index),
        events(),
        events(),
        st.sampled_from([900.0, 1800.0, 3600.0]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=4,
).map(lambda rows: [RecordingResult(d, t, s, "", f"r{i}") for i, (d, t, s, _) in enumerate(rows)])


def brute_force(detected: list[Event], truth: list[Event], tolerance: float) -> tuple[int, int]:
    """Hits and false alarms by the rule as one would say it aloud."""
    free = list(range(len(truth)))
    hits = 0
    for event in sorted(detected, key=lambda e: (-e.score, e.onset_seconds, e.offset_seconds)):
        best, best_overlap = None, 0.0
        for index in sorted(free, key=lambda i: (truth[i].onset_seconds, i)):
            true = truth[index]
            begin = max(event.onset_seconds, true.onset_seconds - tolerance)
            end = min(event.offset_seconds, true.offset_seconds + tolerance)
            if true.label == event.label and end - begin > best_overlap:
                best, best_overlap = index, end - begin
        if best is not None:
            free.remove(best)
            hits += 1
    return hits, len(detected) - hits


@given(events(), events())
@settings(max_examples=300, deadline=None)
def test_matching_equals_brute_force_and_is_one_to_one(detected: list[Event], truth: list[Event]) -> None:
    matching = match_detections(detected, truth, tolerance_seconds=0.25)
    hits, _ = brute_force(detected, truth, 0.25)
    assert (matching.truth_of_detected >= 0).sum() == hits
    assert (matching.detected_of_truth >= 0).sum() == hits
    for index, true in enumerate(matching.truth_of_detected.tolist()):
        if true >= 0:
            assert matching.detected_of_truth[true] == index
            assert detected[index].label == truth[true].label


@given(recordings, st.integers(-4, 4), st.integers(-4, 4))
@settings(max_examples=150, deadline=None)
def test_every_point_of_the_curve_equals_matching_at_that_threshold(
    results: list[RecordingResult], yes: int, no: int
) -> None:
    thresholds = {"yes": yes / 4, "no": no / 4}
    curve = operating_curve(results, LABELS, thresholds)
    hours = sum(r.seconds for r in results) / 3600
    num_true = sum(len(r.truth) for r in results)
    for shift, recall, rate in zip(*curve, strict=True):
        counts = [
            brute_force([e for e in r.detected if e.score >= thresholds[e.label] + shift], list(r.truth), 0.3)
            for r in results
        ]
        assert rate == pytest.approx(sum(false for _, false in counts) / hours / 2)
        if num_true:
            assert recall == pytest.approx(sum(hits for hits, _ in counts) / num_true)
        else:
            assert math.isnan(recall)


@given(recordings, st.sampled_from([0.5, 1.0, 2.0, 4.0]))
@settings(max_examples=150, deadline=None)
def test_a_weight_of_two_equals_the_recording_twice(results: list[RecordingResult], rate: float) -> None:
    weights = np.arange(len(results), dtype=np.float64) % 3
    copies = [r for r, weight in zip(results, weights, strict=True) for _ in range(int(weight))]
    statistic = recall_statistic(rate)
    weighted = statistic(score_sheet(results, LABELS, ZERO), weights)
    if copies:
        expected = recall_at(operating_curve(copies, LABELS, ZERO), rate)
        assert weighted == pytest.approx(expected, nan_ok=True)
    else:
        assert math.isnan(weighted)


def test_recall_at_a_long_tail_of_false_alarms_reads_far_enough() -> None:
    # All early false alarms are in a recording of weight 0, so the first look at the head of the sheet is not enough.
    loud = RecordingResult([Event(i, i + 0.5, "yes", 1000.0 - i) for i in range(500)], [], 3600, "", "loud")
    truth = [Event(i, i + 0.5, "yes") for i in range(10)]
    calm = RecordingResult([e._replace(score=10.0 - i) for i, e in enumerate(truth)], truth, 3600, "", "calm")
    sheet = score_sheet([loud, calm], ["yes"], ZERO)
    assert recall_statistic(1.0)(sheet, np.array([0.0, 1.0])) == 1.0
    assert recall_statistic(1.0)(sheet, np.array([1.0, 1.0])) == 0.0


def test_a_second_detection_of_the_same_word_is_a_false_alarm() -> None:
    truth = [Event(10.0, 10.5, "yes")]
    detected = [Event(10.0, 10.2, "yes", 0.7), Event(10.3, 10.5, "yes", 0.9)]
    assert match_detections(detected, truth).truth_of_detected.tolist() == [-1, 0]


def test_the_tolerance_extends_the_true_event_on_both_sides() -> None:
    truth = [Event(10.0, 10.5, "yes")]

    def is_hit(onset: float, offset: float) -> bool:
        return bool(match_detections([Event(onset, offset, "yes")], truth).truth_of_detected[0] == 0)

    assert is_hit(10.79, 11.5)
    assert not is_hit(10.81, 11.5)
    assert is_hit(9.0, 9.71)
    assert not is_hit(9.0, 9.69)


def test_figures_at_thresholds_equal_the_hand_worked_case() -> None:
    # 30 minutes, two words. True: yes at 1, 10, 20; no at 30. Accepted: yes at 1.1 (hit), yes at 1.4 (second
    # detection), yes at 10 (hit), no at 20 (wrong word), no at 30 (hit). Refused: yes at 20 (0.1 < 0.5).
    # By hand: 3 hits, 2 false alarms, 1 miss: precision 3/5, recall 3/4, F1 = 2 * 3 / (2 * 3 + 2 + 1) = 2/3.
    truth = [Event(1.0, 1.5, "yes"), Event(10.0, 10.5, "yes"), Event(20.0, 20.5, "yes"), Event(30.0, 30.5, "no")]
    detected = [
        Event(1.1, 1.3, "yes", 0.9),
        Event(1.4, 1.6, "yes", 0.8),
        Event(9.8, 10.6, "yes", 0.7),
        Event(20.0, 20.5, "no", 0.6),
        Event(30.3, 30.5, "no", 0.9),
        Event(20.0, 20.5, "yes", 0.1),
    ]
    metrics = keyword_metrics(
        [RecordingResult(detected, truth, 1800, "quiet", "a")], LABELS, {"yes": 0.5, "no": 0.5}, resamples=10
    )
    expected = {
        "hours": 0.5,
        "num_recordings": 1,
        "num_events": 4,
        "num_hits_at_thresholds": 3,
        "num_false_alarms_at_thresholds": 2,
        "recall_at_thresholds": 0.75,
        "precision_at_thresholds": 0.6,
        "f1_at_thresholds": 2 / 3,
        "false_alarms_per_hour_at_thresholds": 2.0,
        "false_alarms_per_hour_all_keywords": 4.0,
        "recall_at_thresholds/yes": 2 / 3,
        "recall_at_thresholds/no": 1.0,
        "false_alarms_per_hour_at_thresholds/yes": 2.0,
        "num_events/no": 1,
        "onset_error_seconds_median": 0.2,  # 0.1, 0.2, 0.3
        "onset_delay_seconds_median": 0.1,  # +0.1, -0.2, +0.3
        "offset_error_seconds_median": 0.1,  # 0.2, 0.1, 0.0
        # With at most 1 false alarm (1 per hour and keyword): the order is hit 0.9, hit 0.9, false 0.8, hit 0.7, false.
        "recall_at_1_false_alarm_per_hour": 0.75,
        "recall_at_0.5_false_alarms_per_hour": 0.5,
        "recall_at_2_false_alarms_per_hour": 1.0,
    }
    for key, value in expected.items():
        assert metrics[key] == pytest.approx(value), key
        assert metrics[f"quiet_{key}"] == pytest.approx(value), key
    assert math.isnan(metrics["recall_at_thresholds_low"])  # one recording: no interval


def made_up(seed: int, num_recordings: int, false_per_hour: float = 60.0) -> list[RecordingResult]:
    """Ten-minute recordings in which both words are found with logit-like scores, "no" scoring 3 higher throughout."""
    rng = np.random.default_rng(seed)
    results = []
    for index in range(num_recordings):
        truth = [Event(t, t + 0.5, LABELS[i % 2]) for i, t in enumerate(np.arange(5.0, 595.0, 10.0).tolist())]
        found = [e._replace(score=float(rng.normal(2.0, 1.5))) for e in truth]
        times = rng.uniform(0, 595, rng.poisson(2 * false_per_hour / 6)).tolist()
        found += [Event(t, t + 0.1, LABELS[i % 2], float(rng.normal(-1.0, 1.0))) for i, t in enumerate(times)]
        found = [e._replace(score=e.score + 3.0 * (e.label == "no")) for e in found]
        results.append(RecordingResult(found, truth, 600, ("talkative", "quiet")[index % 2], f"r{index}"))
    return results


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.5, 1.0, 5.0, 1000.0]))
@settings(max_examples=60, deadline=None)
def test_thresholds_never_exceed_the_budget_they_were_chosen_for(seed: int, budget: float) -> None:
    results = made_up(seed, 3)
    thresholds = thresholds_for(results, LABELS, budget)
    sheet = score_sheet(results, LABELS, thresholds)
    num_accepted = sheet.num_rows(0.0)
    num_false = int(sheet.num_false[num_accepted - 1]) if num_accepted else 0
    assert num_false <= budget * 0.5 * 2
    if budget == 1000.0:  # everything fits: everything is accepted
        assert num_accepted == len(sheet.margins)
    # Spent, too: the recall is the best that a common shift from these thresholds reaches within the budget.
    assert recall_at_thresholds(sheet, np.ones(3)) == recall_at(curve_of(sheet), budget)


def test_a_budget_of_nothing_keeps_out_a_false_alarm_that_scores_best() -> None:
    # 0.1 + 0.2 style scores: the threshold must lie above the score by more than rounding.
    for score in (0.1, 0.3, 1 / 3, 12.7):
        false = [Event(50.0, 51.0, "yes", score), Event(60.0, 61.0, "no", score / 7)]
        result = RecordingResult([*false, Event(1.0, 2.0, "no", score / 8)], [Event(1.0, 2.0, "no")], 3600, "", "a")
        sheet = score_sheet([result], LABELS, thresholds_for([result], LABELS, 0.0))
        assert sheet.num_rows(0.0) == 0


def test_thresholds_per_label_beat_one_threshold_on_unheard_recordings() -> None:
    validation, test = made_up(1, 6), made_up(2, 60)
    thresholds = thresholds_for(validation, LABELS, 1.0)
    own = recall_at(operating_curve(test, LABELS, thresholds), 1.0)
    one = recall_at(operating_curve(test, LABELS, ZERO), 1.0)
    aware = recall_at(operating_curve(test, LABELS, {"yes": 0.0, "no": 3.0}), 1.0)
    assert own > one + 0.05
    assert own > 0.97 * aware


def test_thresholds_of_a_model_that_finds_nothing_are_numbers() -> None:
    silent = RecordingResult([], [Event(1.0, 2.0, "yes")], 600, "", "a")
    assert thresholds_for([silent], LABELS) == ZERO
    one_label = silent._replace(detected=[Event(5.0, 6.0, "yes", 0.5)])
    assert all(math.isfinite(value) for value in thresholds_for([one_label], LABELS).values())


def test_bootstrap_interval_equals_the_textbook_one_for_a_plain_mean() -> None:
    # Recordings with 20 events each, found or not: recall is a mean over recordings, whose standard error is known.
    rng = np.random.default_rng(5)
    results, shares = [], []
    for index in range(200):
        truth = [Event(i, i + 0.5, "yes") for i in range(20)]
        found = [e for e in truth if rng.random() < 0.3 + 0.4 * (index % 2)]
        shares.append(len(found) / 20)
        results.append(RecordingResult(found, truth, 600, "", f"r{index}"))
    interval = bootstrap_interval(recall_at_thresholds, score_sheet(results, ["yes"], ZERO), resamples=2000)
    error = float(np.std(shares, ddof=1)) / math.sqrt(200)
    assert interval.estimate == pytest.approx(np.mean(shares))
    # 2,000 resamples place a 2.5 % quantile to about 0.06 standard errors; 0.2 is three times that.
    assert interval.low == pytest.approx(np.mean(shares) - 1.96 * error, abs=0.2 * error)
    assert interval.high == pytest.approx(np.mean(shares) + 1.96 * error, abs=0.2 * error)


def test_recordings_of_one_group_are_drawn_together() -> None:
    results = [r._replace(group="same voice") for r in made_up(3, 4)]
    sheet = score_sheet(results, LABELS, ZERO)
    assert sheet.units == ("same voice",)
    assert math.isnan(bootstrap_interval(recall_at_thresholds, sheet, resamples=20).low)


def test_paired_interval_is_tight_for_two_systems_that_fail_together() -> None:
    dense = made_up(4, 40)
    # The other system loses every 50th event, whatever the recording: exactly 2 % of the hits or so.
    worse = [r._replace(detected=[e for i, e in enumerate(r.detected) if i % 50]) for r in dense]
    a, b = (score_sheet(results, LABELS, {"yes": 0.0, "no": 3.0}) for results in (worse, dense))
    interval = paired_bootstrap(a, b, recall_at_thresholds, resamples=500)
    alone = bootstrap_interval(recall_at_thresholds, b, resamples=500)
    by_hand = (recall_at_thresholds(a, np.ones(40)) - alone.estimate) / alone.estimate
    assert interval.estimate == pytest.approx(by_hand)
    assert interval.low < by_hand < interval.high < 0
    assert interval.high - interval.low < (alone.high - alone.low) / alone.estimate
    assert paired_bootstrap(b, b, recall_statistic(1.0), resamples=50) == (0.0, 0.0, 0.0)


def test_a_paired_bootstrap_refuses_other_recordings() -> None:
    a, b = (score_sheet(made_up(6, n), LABELS, ZERO) for n in (3, 4))
    with pytest.raises(ValueError, match="same recordings"):
        paired_bootstrap(a, b, recall_at_thresholds)


def test_kinds_are_evaluated_by_themselves() -> None:
    results = made_up(7, 6)
    thresholds = {"yes": 1.0, "no": 4.0}
    metrics = keyword_metrics(results, LABELS, thresholds, resamples=100)
    quiet = keyword_metrics([r for r in results if r.kind == "quiet"], LABELS, thresholds, resamples=100)
    for key, value in quiet.items():
        if not key.startswith("quiet_"):
            assert metrics[f"quiet_{key}"] == pytest.approx(value, nan_ok=True), key
    assert metrics["num_events"] == metrics["quiet_num_events"] + metrics["talkative_num_events"]
    assert metrics["recall_at_1_false_alarm_per_hour_low"] <= metrics["recall_at_1_false_alarm_per_hour"]


def test_errors_name_the_label_and_the_score() -> None:
    result = RecordingResult([Event(1.0, 2.0, "yes", math.nan)], [], 60, "", "a")
    with pytest.raises(ValueError, match=r"\['no'\] have no threshold"):
        score_sheet([result._replace(detected=[])], LABELS, {"yes": 0.5})
    with pytest.raises(ValueError, match="is NaN"):
        match_detections(result.detected, [])
    with pytest.raises(ValueError, match="0 recordings"):
        keyword_metrics([], LABELS, ZERO)


def test_work_figures_equal_the_hand_worked_case() -> None:
    # 100 s, dense 10 s, floor 2 s, a quarter open: at best 0.75 * 8 = 6 s are saved; 4.8 s were: a share of 0.8.
    quiet = WorkCounts(1000, 250, 300, 100.0, 5.2, 10.0, 2.0)
    metrics = work_metrics({"quiet": quiet, "talkative": quiet._replace(num_frames_open=750, seconds_of_work=8.4)})
    assert metrics["quiet_frames_open"] == 0.25
    assert metrics["quiet_frames_featurized"] == 0.3
    assert metrics["quiet_saved_share"] == pytest.approx(0.8)
    assert metrics["quiet_speedup"] == pytest.approx(10 / 5.2)
    assert metrics["quiet_times_real_time_floor"] == 50.0
    assert metrics["frames_open"] == 0.5
    assert metrics["seconds_saved"] == pytest.approx(6.4)
    assert metrics["saved_share"] == pytest.approx(6.4 / (0.5 * 16))
    everything_open = quiet._replace(num_frames_open=1000)
    assert math.isnan(work_metrics({"quiet": everything_open})["saved_share"])


def test_every_key_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    found = keyword_metrics(made_up(8, 2), LABELS, ZERO, resamples=2)
    cost = work_metrics({"quiet": WorkCounts(1, 1, 1, 1.0, 1.0, 1.0, 1.0)})
    for key in (*found, *cost):
        plain = key.removeprefix("quiet_").removeprefix("talkative_").split("/")[0]
        plain = plain.removesuffix("_low").removesuffix("_high")
        assert f"`{plain}`" in page or f"`{plain}/LABEL`" in page, key
