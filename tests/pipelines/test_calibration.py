"""Scores become the share of detections that are right; the picture and the card say where that holds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from featurizers import Grid
from pipelines.calibration import Calibration, calibration_of, reliability
from pipelines.decoding import Placement, decode_peaks
from pipelines.events import Event
from pipelines.heads import Held
from pipelines.keywords import candidates, placements_of_decisions
from pipelines.line import Track
from pipelines.metrics import RecordingResult
from pipelines.plots import plot_reliability
from pipelines.recipe import EvaluateOptions
from pipelines.summary import card_text

TRUE = {"go": Calibration(2.0, -1.5), "stop": Calibration(0.5, 0.5)}


def results(number: int, seed: int, labels: tuple[str, ...] = ("go", "stop")) -> list[RecordingResult]:
    """Detections 10 s apart whose logits are drawn evenly from -4 to 8, right as often as TRUE says."""
    generator = np.random.default_rng(seed)
    found, truth = [], []
    for label in labels:
        temperature, bias = TRUE[label]
        for place, logit in enumerate(generator.uniform(-4, 8, number)):
            event = Event(10.0 * place, 10.0 * place + 0.5, label, float(logit))
            found.append(event)
            if generator.random() < 1 / (1 + np.exp(-(logit / temperature + bias))):
                truth.append(event._replace(score=1.0))
    return [RecordingResult(found, truth, 10.0 * number, "", "a")]


def calibrated(these: list[RecordingResult], worth: dict[str, Calibration]) -> list[RecordingResult]:
    def moved(event: Event) -> Event:
        return event._replace(score=event.score / worth[event.label].temperature + worth[event.label].bias)

    return [each._replace(detected=[moved(event) for event in each.detected]) for each in these]


def test_each_labels_temperature_and_bias_are_found_again() -> None:
    worth = calibration_of(results(3000, 0), ("go", "stop"))
    for label, true in TRUE.items():
        assert worth[label].temperature == pytest.approx(true.temperature, rel=0.15)
        assert worth[label].bias == pytest.approx(true.bias, abs=0.25)


def test_scores_of_other_recordings_are_then_shares_that_are_right() -> None:
    worth, unseen = calibration_of(results(400, 0), ("go", "stop")), results(3000, 1)
    assert reliability(unseen, ("go", "stop")).error > 0.1
    found = reliability(calibrated(unseen, worth), ("go", "stop"))
    assert found.error < 0.03
    assert found.score.min() >= 0.1
    assert found.number.sum() == sum(
        1 / (1 + np.exp(-event.score)) >= 0.1 for event in calibrated(unseen, worth)[0].detected
    )


def test_a_label_with_few_detections_follows_all_labels_together() -> None:
    few, many = results(3, 0, ("go",)), results(2000, 0, ("stop",))
    worth = calibration_of([*few, *(each._replace(name="b") for each in many)], ("go", "stop"))
    assert worth["go"].temperature == pytest.approx(worth["stop"].temperature, rel=0.3)
    nothing = calibration_of([RecordingResult([], [], 10.0, "", "a")], ("go", "stop"))
    assert nothing == {"go": Calibration(), "stop": Calibration()}


def test_labels_that_are_always_right_or_always_wrong_stay_finite_and_in_order() -> None:
    for right in (True, False):
        (always,) = results(50, 0, ("go",))
        truth = always.detected if right else ()
        temperature, bias = calibration_of([always._replace(truth=truth)], ("go",))["go"]
        assert np.isfinite([temperature, bias]).all()
        assert temperature > 0
        mean = np.mean([1 / (1 + np.exp(-(event.score / temperature + bias))) for event in always.detected])
        assert mean > 0.9 if right else mean < 0.1


def test_reliability_of_hand_worked_detections() -> None:
    logit = float(np.log(0.85 / 0.15))
    found = [Event(10.0 * place, 10.0 * place + 1, "go", logit) for place in range(4)]
    found += [Event(100.0, 101.0, "go", -10.0)]  # too low a score to count
    (score,), (share,), (number,) = reliability([RecordingResult(found, found[:3], 200.0, "", "a")], ("go",))
    assert (score, share, number) == pytest.approx((0.85, 0.75, 4))


def test_events_have_the_calibrated_score_and_thresholds_are_compared_with_it() -> None:
    held = Held(torch.tensor([[2.0], [4.0]]), torch.full((2, 1), 9.0), torch.tensor([3, 30]))
    place = {"go": Placement(0.3, 0.1, temperature=2.0, bias=-1.0)}
    # levels 2 and 4 become 2 / 2 - 1 = 0 and 4 / 2 - 1 = 1
    found = decode_peaks(held, Grid(0.1), ("go",), thresholds={"go": 0.4}, placements=place)
    assert [event.score for event in found] == pytest.approx([0.5, 1 / (1 + np.exp(-1))])
    assert len(decode_peaks(held, Grid(0.1), ("go",), thresholds=0.6, placements=place)) == 1
    track = Track(held, torch.zeros(40, dtype=torch.bool), None, Grid(0.1), 2, 4.0)
    assert [event.score for event in candidates(track, ("go",), place)] == pytest.approx([0.0, 1.0])
    assert placements_of_decisions({}) == {}


@pytest.mark.parametrize(("error", "said"), [(0.07, "off by 0.07 on"), (None, "are not probabilities of being right")])
def test_the_card_says_on_which_recordings_scores_can_be_taken_at_their_word(error: float | None, said: str) -> None:
    recipe = SimpleNamespace(
        evaluate=EvaluateOptions(thresholds_on=["talkative", "quiet"]),
        corpus=SimpleNamespace(class_path="my_lab.Corpus"),
        featurizer=SimpleNamespace(class_path="featurizers.LogMel"),
    )
    task = SimpleNamespace(headline=lambda metrics: "finds some")  # noqa: ARG005
    metrics = {"hours": 1.0, "num_events": 5.0, "frames_open": 0.1} | (
        {} if error is None else {"calibration_error": error}
    )
    model: Any = SimpleNamespace(recipe=recipe, task=task, metrics=metrics, labels=("go",))
    card = card_text(model, object())
    assert said in card
    assert "the validation split, kind talkative, quiet, of the corpus below" in card


def test_the_picture_of_reliability_is_drawn(tmp_path: Path) -> None:
    plot_reliability(tmp_path / "a.png", reliability(results(200, 0), ("go", "stop")))
    plot_reliability(tmp_path / "b.png", reliability([RecordingResult([], [], 10.0, "", "a")], ("go",)))
    assert (tmp_path / "a.png").stat().st_size > (tmp_path / "b.png").stat().st_size > 1_000
