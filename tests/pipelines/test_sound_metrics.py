"""Metrics of sound events: the reference libraries' figures, hand-worked cases, and the definition spelled out.

The figures of the reference libraries on `example()` were computed once in Python 3.11 with numpy 2.3.5, pandas 2.3.3
(pip install sed_scores_eval==0.0.4 psds_eval==0.5.3 sed_eval==0.2.1 "numpy<2.4" "pandas<3" "setuptools<81"):

    times = np.round(np.arange(T + 1) * HOP_SECONDS, 6)
    scores = {"r0": create_score_dataframe(scores, times, LABELS), ...}
    psds(scores, truth, durations, dtc_threshold=0.7, gtc_threshold=0.7, alpha_st=1)                           # PSDS1
    psds(..., dtc_threshold=0.1, gtc_threshold=0.1, cttc_threshold=0.3, alpha_ct=0.5, alpha_st=1)              # PSDS2
    psds(..., dtc_threshold=0.5, gtc_threshold=0.5, cttc_threshold=0.3, alpha_ct=1, max_efpr=1000)             # OTHER
    PSDSEval(0.7, 0.7, 0.3, ...), one operating point for the events_above each threshold, .psds(0, 1, 100)    # PSDS1
    PSDSEval(0.1, 0.1, 0.3, ...), the same points, .psds(0.5, 1, 100)                                          # PSDS2
    EventBasedMetrics(LABELS, t_collar=0.2, percentage_of_length=0.2, empty_system_output_handling="zero_score")
    SegmentBasedMetrics(LABELS, time_resolution=1.0)                      # both on events_above(scores, 0.5)
"""

import math
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.events import Event
from pipelines.metrics.bootstrap import paired_bootstrap
from pipelines.metrics.matching import Floats
from pipelines.metrics.psds import (
    PsdsSheet,
    ScoredRecording,
    psds_of,
    psds_over_all_thresholds,
    psds_over_event_scores,
    psds_over_operating_points,
    psds_statistic,
)
from pipelines.metrics.psds_counts import PSDS1, PSDS2, PsdsVariant
from pipelines.metrics.sheet import RecordingResult
from pipelines.metrics.sound import (
    CountSheet,
    event_counts,
    f1_macro,
    f1_micro,
    frame_error,
    segment_counts,
    sound_metrics,
    stray_counts,
    wrong_time,
)

LABELS = ("bark", "bell", "siren")
HOP_SECONDS = 0.064
Example = tuple[Floats, list[tuple[float, float, str]], float]


def example() -> list[Example]:
    """Eight recordings of 32 to 45 s: (scores, [(onset, offset, label)], seconds), from Python's own random numbers."""
    draw = random.Random(1)
    recordings = []
    for _ in range(8):
        num_frames = draw.randint(500, 700)
        seconds = round(num_frames * HOP_SECONDS, 6)
        truth, scores = [], np.zeros((num_frames, len(LABELS)))
        for column, label in enumerate(LABELS):
            noise = [draw.gauss(0.0, 1.0) for _ in range(num_frames)]
            scores[:, column] = 1.6 * np.convolve(noise, np.ones(5) / 5, "same") - 2.2
            moment = 2 * draw.random()
            while moment < seconds - 3:
                onset, offset = round(moment, 3), round(moment + 0.2 + 2.3 * draw.random(), 3)
                if draw.random() < 0.35:
                    truth.append((onset, offset, label))
                    frames = slice(math.floor(onset / HOP_SECONDS), math.ceil(offset / HOP_SECONDS))
                    scores[frames, column] += 3.0
                    scores[frames, (column + 1) % len(LABELS)] += 0.8
                moment = offset + 0.3 + 2.7 * draw.random()
        recordings.append((np.round(1 / (1 + np.exp(-scores)), 3), truth, seconds))
    return recordings


def events_above(scores: Floats, threshold: float) -> list[tuple[float, float, str]]:
    """Frames at or above a threshold as (onset, offset, label)."""
    found = []
    for column, label in enumerate(LABELS):
        is_on = np.concatenate([[0], scores[:, column] >= threshold, [0]])
        edges = np.flatnonzero(np.diff(is_on)).reshape(-1, 2)
        found += [(round(a * HOP_SECONDS, 6), round(b * HOP_SECONDS, 6), label) for a, b in edges.tolist()]
    return found


def scored(examples: list[Example]) -> list[ScoredRecording]:
    return [
        ScoredRecording(scores, HOP_SECONDS, [Event(*event) for event in truth], seconds, "", f"r{index}")
        for index, (scores, truth, seconds) in enumerate(examples)
    ]


def decoded(examples: list[Example], threshold: float) -> list[RecordingResult]:
    return [
        RecordingResult(
            [Event(*event) for event in events_above(scores, threshold)],
            [Event(*event) for event in truth],
            seconds,
            "",
            f"r{index}",
        )
        for index, (scores, truth, seconds) in enumerate(examples)
    ]


def result(detected: list[Event], truth: list[Event], seconds: float = 3600.0, name: str = "r") -> RecordingResult:
    return RecordingResult(detected, truth, seconds, "", name)


def micro(sheet: CountSheet) -> float:
    return f1_micro(sheet, np.ones(len(sheet.units)))


def macro(sheet: CountSheet) -> float:
    return f1_macro(sheet, np.ones(len(sheet.units)))


OTHER = PsdsVariant("other", 0.5, 0.5, cross_trigger_weight=1.0, spread_weight=0.0, max_false_alarms_per_hour=1000.0)
BY_SED_SCORES_EVAL = {
    PSDS1: (0.20171327172358114, (0.23372836719337847, 0.2767682468021069, 0.7219835432898857)),
    PSDS2: (0.9308120362420033, (0.9259297442901712, 0.9634929491822323, 0.9959040267967668)),
    OTHER: (0.8972959501197894, (0.798147551032291, 0.9267749489398787, 0.9669653503871987)),
}


@pytest.mark.parametrize("variant", BY_SED_SCORES_EVAL)
def test_psds_over_all_thresholds_is_that_of_sed_scores_eval(variant: PsdsVariant) -> None:
    value, per_label = BY_SED_SCORES_EVAL[variant]
    found = psds_of(psds_over_all_thresholds(scored(example()), LABELS, variant))
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.per_label == pytest.approx(dict(zip(LABELS, per_label, strict=True)), rel=1e-12)


@pytest.mark.parametrize(("variant", "value"), [(PSDS1, 0.05417926367708608), (PSDS2, 0.8826370885679489)])
def test_psds_over_operating_points_is_that_of_psds_eval(variant: PsdsVariant, value: float) -> None:
    thresholds = [round(0.05 * k, 2) for k in range(19, 0, -1)]
    points = [decoded(example(), threshold) for threshold in thresholds]
    found = psds_of(psds_over_operating_points(points, LABELS, variant))
    assert found.value == pytest.approx(value, rel=1e-12)
    again = psds_of(psds_over_operating_points(points[::-1], LABELS, variant))
    assert again.value == pytest.approx(value, rel=1e-12)  # the order of the points does not matter


def test_event_and_segment_f1_are_those_of_sed_eval() -> None:
    events, segments = event_counts(decoded(example(), 0.5), LABELS), segment_counts(decoded(example(), 0.5), LABELS)
    assert events.num_hits.sum(axis=0).tolist() == [16, 19, 15]
    assert events.num_detected.sum(axis=0).tolist() == [80, 57, 68]
    assert (micro(events), macro(events)) == pytest.approx((0.3311258278145695, 0.3385579937304075), rel=1e-12)
    assert segments.num_hits.sum(axis=0).tolist() == [76, 64, 72]
    assert (micro(segments), macro(segments)) == pytest.approx((0.9614512471655329, 0.9625201371233117), rel=1e-12)


Span = tuple[int, int]


def counts_by_definition(
    detections: list[list[tuple[int, int]]],
    truths: list[dict[str, list[tuple[int, int]]]],
    label: str,
    variant: PsdsVariant,
) -> tuple[int, int, dict[str, int]]:
    """Hits, false alarms and cross triggers of one operating point, word by word, in microseconds."""

    def overlap(a: Span, b: Span) -> int:
        return max(0, min(a[1], b[1]) - max(a[0], b[0]))

    hits, num_false, crosses = 0, 0, dict.fromkeys([other for other in LABELS if other != label], 0)
    for found, truth in zip(detections, truths, strict=True):
        good = []
        for span in found:
            length = span[1] - span[0]
            if sum(overlap(span, event) for event in truth[label]) >= round(variant.detection_tolerance * length):
                good.append(span)
                continue
            num_false += 1
            for other in crosses:
                within = sum(overlap(span, event) for event in truth[other])
                crosses[other] += within >= round(variant.cross_trigger_tolerance * length)
        for event in truth[label]:
            hits += sum(overlap(span, event) for span in good) >= round(
                variant.truth_intersection * (event[1] - event[0])
            )
    return hits, num_false, crosses


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_counts_at_every_threshold_are_those_of_the_definition(data: st.DataObject) -> None:
    """Scores with many ties, closed frames (-inf) and true events that touch, against the definition."""
    recordings, truths = [], []
    for index in range(data.draw(st.integers(1, 2))):
        num_frames = data.draw(st.integers(1, 12))
        levels = st.sampled_from([-np.inf, 0.0, 1.0, 2.0, 3.0])
        rows = data.draw(st.lists(st.tuples(levels, levels, levels), min_size=num_frames, max_size=num_frames))
        truth: dict[str, list[Span]] = {}
        for label in LABELS:
            edges = data.draw(st.lists(st.integers(0, 4 * num_frames), unique=True, max_size=6))
            ends = sorted(250_000 * edge for edge in edges)
            truth[label] = list(zip(ends[::2], ends[1::2], strict=False))
        events = [Event(a / 1e6, b / 1e6, label) for label, spans in truth.items() for a, b in spans]
        recordings.append(ScoredRecording(np.array(rows), 1.0, events, num_frames, "", f"r{index}"))
        truths.append(truth)
    variant = data.draw(st.sampled_from([PSDS1._replace(cross_trigger_weight=0.5), PSDS2]))
    sheet = psds_over_all_thresholds(recordings, LABELS, variant)
    for column, label in enumerate(LABELS):
        changes = sheet.changes[column]
        for threshold in (0.0, 1.0, 2.0, 3.0):
            detections = []
            for recording in recordings:
                is_on = np.concatenate([[0], recording.scores[:, column] >= threshold, [0]])
                spans = 1_000_000 * np.flatnonzero(np.diff(is_on)).reshape(-1, 2)
                detections.append([(a, b) for a, b in spans.tolist()])
            expected = counts_by_definition(detections, truths, label, variant)
            found = [int(c.change[c.level >= threshold].sum()) for c in (changes.hits, changes.false)]
            crosses = {LABELS[o]: int(c.change[c.level >= threshold].sum()) for o, c in changes.crosses.items()}
            assert (*found, crosses) == expected


def test_psds_of_one_hour_by_hand() -> None:
    """Two events in an hour; one is found, then 25 false alarms, then the other.

    The hit rate is 1/2 from 0 to 25 false alarms per hour and 1 from there to 100: (25 / 2 + 75) / 100 = 0.875.
    """
    truth = [Event(10, 11, "a"), Event(20, 21, "a")]
    false = [Event(100 + 10 * n, 101 + 10 * n, "a", 0.5) for n in range(25)]
    detected = [Event(10, 11, "a", 0.9), *false, Event(20, 21, "a", 0.2)]
    sheet = psds_over_event_scores([result(detected, truth)], ["a"], PSDS1)
    assert psds_of(sheet).value == pytest.approx(0.875)


def test_event_scores_and_frame_scores_of_the_same_events_agree() -> None:
    truth = [Event(1, 3, "a"), Event(5, 6, "a"), Event(2, 4, "b")]
    detected = [Event(1, 3, "a", 0.9), Event(5, 6, "a", 0.4), Event(7, 9, "a", 0.6), Event(2, 5, "b", 0.3)]
    scores = np.full((10, 2), -np.inf)
    for event in detected:
        scores[int(event.onset_seconds) : int(event.offset_seconds), "ab".index(event.label)] = event.score
    for variant in (PSDS1, PSDS2):
        of_events = psds_of(psds_over_event_scores([result(detected, truth, 10.0)], "ab", variant))
        of_frames = psds_of(
            psds_over_all_thresholds([ScoredRecording(scores, 1.0, truth, 10.0, "", "r")], "ab", variant)
        )
        assert of_events == of_frames


def test_the_spread_over_labels_is_taken_off() -> None:
    """One label always right, one never found: the mean 1/2 less the standard deviation 1/2."""
    both = [result([Event(1, 2, "a")], [Event(1, 2, "a"), Event(5, 6, "b")])]
    assert psds_of(psds_over_event_scores(both, ["a", "b"], PSDS1)).value == 0.0
    assert psds_of(psds_over_event_scores(both, ["a", "b"], PSDS1._replace(spread_weight=0.0))).value == 0.5


def test_labels_without_true_events_are_left_out_and_nan() -> None:
    found = psds_of(psds_over_event_scores([result([Event(1, 2, "a")], [Event(1, 2, "a")])], ["a", "b"], PSDS2))
    assert found.value == 1.0
    assert found.per_label["a"] == 1.0
    assert math.isnan(found.per_label["b"])


def test_weights_of_recordings_are_as_good_as_copies() -> None:
    recordings = scored(example()[:3])
    twice = [recordings[0], recordings[0]._replace(name="again"), recordings[2]]
    for variant in (PSDS1, PSDS2):
        weighted = psds_of(psds_over_all_thresholds(recordings, LABELS, variant), np.array([2.0, 0.0, 1.0]))
        copied = psds_of(psds_over_all_thresholds(twice, LABELS, variant))
        assert weighted.value == pytest.approx(copied.value, rel=1e-12)
        assert weighted.per_label == pytest.approx(copied.per_label, rel=1e-12)


def test_a_system_compared_with_itself_does_not_differ() -> None:
    sheet: PsdsSheet = psds_over_all_thresholds(scored(example()), LABELS, PSDS2)
    interval = paired_bootstrap(sheet, sheet, psds_statistic, resamples=20)  # type: ignore[arg-type]
    assert interval == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("detected", "hits"),
    [
        (Event(10.2, 12.0, "a"), 1),  # onset late by the collar
        (Event(10.201, 12.0, "a"), 0),  # and by more
        (Event(10.0, 12.4, "a"), 1),  # offset late by 20 % of 2 s
        (Event(10.0, 12.401, "a"), 0),
        (Event(10.0, 11.5, "a"), 0),
        (Event(10.0, 12.0, "b"), 0),  # another label
    ],
)
def test_event_f1_allows_200_ms_at_onset_and_20_percent_at_offset(detected: Event, hits: int) -> None:
    assert event_counts([result([detected], [Event(10.0, 12.0, "a")])], ["a", "b"]).num_hits.sum() == hits


def test_short_events_have_the_collar_at_offset_too() -> None:
    counts = event_counts([result([Event(1.0, 1.3, "a")], [Event(1.0, 1.1, "a")])], ["a"])
    assert counts.num_hits.sum() == 1


def test_matching_finds_the_largest_number_of_pairs() -> None:
    """The first detection fits both events, the second only the first: in order of time one pair would be lost."""
    truth = [Event(1.0, 2.0, "a"), Event(1.3, 2.3, "a")]
    detected = [Event(1.15, 2.15, "a"), Event(0.9, 1.9, "a")]
    assert event_counts([result(detected, truth)], ["a"]).num_hits.sum() == 2


def test_segments_touched_by_an_event_are_active() -> None:
    """True in seconds 0, 1, 2; detected in 1, 2, 3: two of three each, F1 2/3."""
    counts = segment_counts([result([Event(1.0, 3.5, "a")], [Event(0.9, 2.1, "a")])], ["a"])
    assert (counts.num_events.sum(), counts.num_detected.sum(), counts.num_hits.sum()) == (3, 3, 2)
    assert micro(counts) == pytest.approx(2 / 3)


def test_stray_detections_overlap_nothing() -> None:
    detected = [Event(0.0, 1.0, "a"), Event(1.9, 2.5, "a"), Event(3.0, 4.0, "a"), Event(5.0, 6.0, "b")]
    truth = [Event(1.0, 2.0, "a"), Event(1.5, 1.8, "a"), Event(4.0, 7.0, "a")]
    counts = stray_counts([result(detected, truth)], ["a", "b"])
    assert (counts.num_detected - counts.num_hits).tolist() == [[2, 1]]  # touching is no overlap


def test_frame_error_is_the_share_of_time_with_a_wrong_set_of_labels() -> None:
    # found  a  1-3, 6-7     b 4-5          wrong: 1-2 (a too early), 3-3.5 (a too short), 4.5-5 (b too long),
    # there  a  2-3.5        b 4-4.5, 6-7            6-7 (a instead of b counts once): 3 of 10 s
    first = result(
        [Event(1, 3, "a"), Event(6, 7, "a"), Event(4, 5, "b")],
        [Event(2, 3.5, "a"), Event(4, 4.5, "b"), Event(6, 7, "b")],
        10.0,
    )
    right = result([Event(1, 2, "a")], [Event(1, 1.5, "a"), Event(1.5, 2, "a"), Event(5, 6, "c")], 10.0, "right")
    sheet = wrong_time([first, right], ["a", "b"])
    assert sheet.wrong_hours * 3600 == pytest.approx([3.0, 0.0])
    assert frame_error(sheet, np.ones(2)) == pytest.approx(0.15)
    assert frame_error(sheet, np.array([1.0, 0.0])) == pytest.approx(0.3)


def test_frame_error_is_that_of_very_small_frames() -> None:
    draw = random.Random(5)

    def events() -> list[Event]:
        return [
            Event(onset, onset + draw.randint(1, 400) / 1000, draw.choice("ab"))
            for onset in (draw.randint(0, 9000) / 1000 for _ in range(30))
        ]

    one = result(events(), events(), 10.0)
    wrong = 0
    for frame in range(10_000):
        middle = (frame + 0.5) / 1000
        found, there = ({e.label for e in each if e[0] <= middle < e[1]} for each in (one.detected, one.truth))
        wrong += found != there
    assert frame_error(wrong_time([one], ["a", "b"]), np.ones(1)) == pytest.approx(wrong / 10_000, abs=1e-9)


def test_sound_metrics_name_their_variant_and_repeat_per_kind() -> None:
    results = [r._replace(kind="loud" if n < 4 else "") for n, r in enumerate(decoded(example(), 0.5))]
    metrics = sound_metrics(results, LABELS, scored=scored(example()), resamples=20, psds_resamples=5)
    assert metrics["event_f1_200ms_micro"] == pytest.approx(0.3311258278145695)
    assert metrics["event_f1_200ms/bell"] == pytest.approx(0.43678160919540227)
    assert metrics["segment_f1_1s_macro"] == pytest.approx(0.9625201371233117)
    assert metrics["psds1_all_thresholds"] == pytest.approx(0.20171327172358114)
    assert metrics["psds2_all_thresholds/siren"] == pytest.approx(0.9959040267967668)
    num_false = 80 + 57 + 68 - 16 - 19 - 15
    assert metrics["false_alarms_per_hour_200ms"] == pytest.approx(num_false / metrics["hours"])
    assert metrics["loud_num_recordings"] == 4
    low, high = metrics["loud_psds1_all_thresholds_low"], metrics["loud_psds1_all_thresholds_high"]
    assert 0.0 <= low <= high <= 1.0


def test_scores_that_do_not_fit_are_refused() -> None:
    recording = scored(example()[:1])[0]
    with pytest.raises(ValueError, match="one column for each of the 2 labels"):
        psds_over_all_thresholds([recording], LABELS[:2], PSDS1)
    with pytest.raises(ValueError, match="scores of r0 hold NaN"):
        psds_over_all_thresholds([recording._replace(scores=recording.scores * np.nan)], LABELS, PSDS1)
    with pytest.raises(ValueError, match="0 recordings and 3 labels"):
        psds_over_all_thresholds([], LABELS, PSDS1)
    with pytest.raises(ValueError, match="differ in their names"):
        sound_metrics(decoded(example()[:2], 0.5), LABELS, scored=[recording])
    points = [decoded(example()[:2], 0.5), decoded(example()[1:3], 0.5)]
    with pytest.raises(ValueError, match="operating point 1 differs from point 0"):
        psds_over_operating_points(points, LABELS, PSDS1)


@pytest.mark.slow
def test_ten_hours_of_ten_labels_take_seconds() -> None:
    """Scores as a recurrent line leaves them: long decays, sparse peaks; 30 s leaves room for a busy machine."""
    generator = np.random.default_rng(0)
    labels = [f"label {n}" for n in range(10)]
    recordings = []
    for hour in range(10):
        scores = np.cumsum(generator.standard_normal((45_000, 10)), axis=0) % 8.0
        onsets = generator.uniform(0, 3590, 200)
        truth = [Event(onset, onset + 1.5, labels[n % 10]) for n, onset in enumerate(onsets)]
        recordings.append(ScoredRecording(scores, 0.08, truth, 3600.0, "", f"hour {hour}"))
    begun = time.perf_counter()
    psds_of(psds_over_all_thresholds(recordings, labels, PSDS2))
    assert time.perf_counter() - begun < 30
