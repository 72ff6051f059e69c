"""Words in long recordings: what counts as truth, and figures worked out by hand."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.mistakes import level_above_db, mistakes, nearby, said_there, write_mistakes
from benchmarks.streams import (
    STREAMS,
    Annotated,
    logit_thresholds,
    real_recordings,
    results_on,
    stream_figures,
    stream_lines,
    tracks_of,
)
from featurizers import Grid, write_audio
from pipelines.events import Event, Recording
from pipelines.heads import Held
from pipelines.keywords import Decision
from pipelines.line import Track
from pipelines.metrics import RecordingResult
from pipelines.model import Model

LABELS = ("yes", "no")
HALVES = {"yes": 0.0, "no": 0.0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The tables of two streams, an annotated and another order for a drink, and a meeting."""
    tables = {
        "keyword-streams/events.csv": "file,onset,offset,label,speaker,snr_db\n"
        f"{STREAMS[0]},5.0,5.5,yes,ann,9.5\n{STREAMS[0]},1.0,1.5,dog,ann,3.0\n"
        "stream_a2_arabic_meeting-speech.flac,1.0,1.5,no,ali,3.0\n"
        f"{STREAMS[1]},1.0,1.5,3,bob,3.0\n",
        "running-speech/index.csv": "file\na.flac\nb.flac\n",
        "running-speech/words.csv": "file,onset,offset,label\na.flac,0.5,0.7,no\n",
        "meeting-speech/index.csv": "file\nm.flac\n",
        "meeting-speech/events.csv": "file,onset,offset,label\nm.flac,2.0,3.0,speech:BOB\n",
    }
    for name, text in tables.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_only_streams_with_the_models_words_are_taken_and_the_arabic_one_never(data: Path) -> None:
    found = real_recordings(data, LABELS)
    assert [item.recording.source.name for item in found] == [STREAMS[0], "a.flac", "b.flac", "m.flac"]
    assert [event.label for event in found[0].recording.events] == ["dog", "yes"]
    assert found[0].snr_db == (3.0, 9.5)
    assert [item.words_known for item in found] == [True, True, False, False]
    assert found[3].recording.events[0].label == "speech"
    assert real_recordings(data, ("three",))[0].recording.source.name == STREAMS[1]


def results() -> list[RecordingResult]:
    """Half an hour with four words: two found above the threshold, one below it; and half an hour of meetings."""
    truth = [Event(10.0 * n, 10.0 * n + 0.5, label) for n, label in ((1, "yes"), (2, "no"), (3, "yes"), (4, "no"))]
    detected = [
        Event(10.1, 10.6, "yes", 3.0),
        Event(19.7, 20.2, "no", 2.0),
        Event(30.0, 30.5, "yes", -1.0),
        Event(40.0, 40.5, "yes", 1.0),
    ]
    meeting = [Event(5.0, 5.5, "no", 0.5), Event(9.0, 9.5, "no", -2.0)]
    return [
        RecordingResult(detected, truth, 1800.0, "streams", "s"),
        RecordingResult(meeting, [], 1800.0, "meetings", "m"),
    ]


def track(num_frames: int, num_open: int, num_labels: int = 2) -> Track:
    is_open = torch.arange(num_frames) < num_open
    held = Held(torch.zeros(num_open, num_labels), torch.ones(num_open, num_labels), torch.arange(num_open))
    return Track(held, is_open, None, Grid(0.1), num_open, num_frames * 0.1)


def test_figures_of_streams_are_those_worked_out_by_hand() -> None:
    figures = stream_figures(results(), [track(10, 2), track(30, 2)], LABELS, HALVES)
    assert (figures["hours"], figures["num_events"]) == (1.0, 4.0)
    assert figures["recall_at_thresholds"] == 0.5  # both words of score 3 and 2
    assert figures["num_false_alarms_at_thresholds"] == 2.0  # score 1 (wrong word) and 0.5
    assert figures["streams_num_false_alarms_at_thresholds"] == figures["meetings_num_false_alarms_at_thresholds"] == 1
    assert figures["false_alarms_per_hour_at_thresholds"] == 1.0  # 2 in 1 hour of 2 keywords
    assert figures["recall_at_1_false_alarm_per_hour"] == 0.75  # two are allowed: down to, not including, score -2
    assert figures["recall_at_2_false_alarms_per_hour"] == 0.75
    assert figures["false_alarms_per_hour_at_0.6_recall"] == 1.0  # the third word comes after two false alarms
    assert figures["onset_error_seconds_median"] == pytest.approx(0.2)  # of 0.1 late and 0.3 early
    assert figures["frames_open"] == 0.1
    assert figures["recall_at_thresholds_low"] == pytest.approx(0.1500, abs=1e-4)  # Wilson, 2 of 4


def test_recall_that_is_never_reached_has_no_false_alarm_rate() -> None:
    figures = stream_figures([r._replace(detected=[]) for r in results()], [track(10, 2)] * 2, LABELS, HALVES)
    assert math.isnan(figures["false_alarms_per_hour_at_0.6_recall"])
    assert math.isnan(figures["onset_error_seconds_median"])


def test_the_lines_say_how_many_words_there_are_and_whose_words_nobody_annotated(data: Path) -> None:
    figures = stream_figures(results(), [track(10, 2), track(30, 2)], LABELS, HALVES)
    text = "\n".join(stream_lines(figures, real_recordings(data, LABELS), 2))
    assert "4 of the model's words among 4 recordings, 60.0 min" in text
    assert "the words of 2 recordings are not annotated" in text


def test_thresholds_are_logits_of_those_in_the_bundle_also_at_the_ends() -> None:
    found = logit_thresholds({"a": Decision(0.5), "b": Decision(1 / (1 + math.e)), "c": Decision(1.0)})
    assert found["a"] == pytest.approx(0.0)
    assert found["b"] == pytest.approx(-1.0)
    assert math.isfinite(found["c"])


def test_loudness_is_the_power_within_over_the_power_around() -> None:
    samples = torch.full((30,), 0.1)
    samples[10:20] = 1.0
    assert level_above_db(samples, 10, 5.0, Event(6.0, 7.0, "yes")) == pytest.approx(20.0, abs=1e-5)
    assert math.isnan(level_above_db(samples, 10, 5.0, Event(5.0, 8.0, "yes")))


def test_what_was_said_is_named_only_where_words_are_annotated(data: Path) -> None:
    stream, order, unknown, meeting = real_recordings(data, LABELS)
    assert said_there(stream, Event(1.6, 1.9, "yes")) == ("in truth: dog", 3.0)
    assert said_there(stream, Event(1.9, 2.2, "yes"))[0] == "in truth: none of the annotated words"
    assert said_there(order, Event(0.5, 0.6, "yes"))[0] == "in truth: no"
    assert said_there(unknown, Event(0.5, 0.6, "yes"))[0] == "words are not annotated here"
    assert "somebody speaks" in said_there(meeting, Event(2.5, 2.6, "yes"))[0]


def test_the_best_of_the_other_words_is_named_with_what_was_open() -> None:
    level = torch.tensor([[0.0, 2.0], [1.0, -1.0], [5.0, 5.0]])
    is_open = torch.zeros(40, dtype=torch.bool)
    is_open[[10, 12, 30]] = True
    seen = Track(Held(level, torch.zeros(3, 2), is_open.nonzero()[:, 0]), is_open, None, Grid(0.125), 3, 5.0)
    near = nearby(seen, LABELS, Event(1.25, 1.5, "yes"))  # frames 10 to 16, which begins at 2.0 s; 10 and 12 are open
    assert (near.rival, near.num_open, near.num_frames) == ("no", 2, 7)
    assert near.own == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert near.rival_score == pytest.approx(1 / (1 + math.exp(-2.0)))


def test_the_page_shows_misses_and_false_alarms_worst_first(model: Model, noise: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "stream.flac"
    write_audio(path, noise, 16_000)
    events = (Event(0.2, 0.4, "yes"), Event(3.6, 3.9, "no"), Event(5.0, 5.2, "dog"))
    annotated = [Annotated(Recording(path, events, kind="streams"), (6.0, math.nan, 2.0), True)]
    tracks = tracks_of(model, annotated, "learned")
    found = results_on(model, annotated, tracks)
    fifth = sorted(event.score for event in found[0].detected)[-5]
    thresholds = dict.fromkeys(model.labels, fifth)
    chosen = mistakes(found, tracks, model, thresholds)
    false_scores = [moment.score for moment in chosen if not moment.is_miss]
    assert false_scores == sorted(false_scores, reverse=True)
    num_hits = 2 - sum(moment.is_miss for moment in chosen)  # "dog" is not among the model's words
    assert len(false_scores) == 5 - num_hits
    assert [moment.is_miss for moment in chosen] == sorted(moment.is_miss for moment in chosen)
    figures = stream_figures(found, tracks, model.labels, thresholds)
    page = write_mistakes(tmp_path / "page", model, annotated, tracks, found, thresholds, figures).read_text()
    assert page.count("<article>") == len(chosen)
    assert page.count("signal-to-noise") == len(chosen)


def test_of_many_mistakes_the_worst_twenty_are_shown_half_of_each_kind(model: Model) -> None:
    truth = [Event(100.0 * n, 100.0 * n + 0.5, "yes") for n in range(30)]
    detected = [Event(100.0 * n + 50, 100.0 * n + 50.5, "no", float(n)) for n in range(30)]
    result = RecordingResult(detected, truth, 3000.0, "streams", "s")
    seen = track(30_000, 10, len(model.labels))
    halves = dict.fromkeys(model.labels, 0.0)
    chosen = mistakes([result], [seen], model, halves)
    assert [moment.is_miss for moment in chosen] == [False] * 10 + [True] * 10
    assert chosen[0].event.score == 29.0
    assert len(mistakes([result._replace(detected=detected[:3])], [seen], model, halves)) == 20
    assert len(mistakes([result._replace(truth=truth[:3])], [seen], model, halves)) == 20
