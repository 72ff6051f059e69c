"""Several seeds, one interval."""

import numpy as np
import pytest

from benchmarks.paired import Draws, draws_of, pooled_change, pooled_interval
from pipelines.events import Event
from pipelines.metrics import (
    RecordingResult,
    ScoreSheet,
    bootstrap_interval,
    paired_bootstrap,
    recall_statistic,
    score_sheet,
)

RECALL = recall_statistic(1.0)


def sheet(seed: int, found: float, num_recordings: int = 12) -> ScoreSheet:
    """Recordings of an hour with ten words each, of which about this share is found, and a few false alarms."""
    random = np.random.default_rng(seed)
    recordings = []
    for number in range(num_recordings):
        truth = [Event(30.0 * n, 30.0 * n + 0.5, "yes") for n in range(1, 11)]
        detected = [event._replace(score=float(random.normal(2))) for event in truth if random.random() < found]
        detected += [Event(1000.0 + n, 1000.5 + n, "yes", float(random.normal())) for n in range(4)]
        recordings.append(RecordingResult(detected, truth, 3600.0, "talkative", str(number)))
    return score_sheet(recordings, ["yes"], {"yes": 0.0})


def draws(seed: int, found: float, num_recordings: int = 12) -> Draws:
    return draws_of(sheet(seed, found, num_recordings), RECALL)


def test_one_seed_is_the_plain_bootstrap() -> None:
    assert pooled_interval([draws(0, 0.9)]) == bootstrap_interval(RECALL, sheet(0, 0.9))
    plain = paired_bootstrap(sheet(0, 0.9), sheet(1, 0.6), RECALL)
    assert pooled_change([draws(0, 0.9)], [draws(1, 0.6)]) == pytest.approx(plain)


def test_the_estimate_is_the_mean_over_seeds_each_at_its_own_operating_point() -> None:
    seeds = [draws(seed, found) for seed, found in ((0, 0.9), (1, 0.6), (2, 0.7))]
    values = [each.value for each in seeds]
    assert len(set(values)) == 3
    assert pooled_interval(seeds).estimate == pytest.approx(sum(values) / 3)
    change = pooled_change(seeds[:2], seeds[2:]).estimate
    assert change == pytest.approx(((values[0] + values[1]) / 2 - values[2]) / values[2])


def test_a_system_beside_itself_never_changes() -> None:
    seeds = [draws(0, 0.9), draws(1, 0.6)]
    assert pooled_change(seeds, seeds) == (0.0, 0.0, 0.0)
    copies = [draws(0, 0.9), draws(1, 0.6)]
    assert pooled_change(copies, seeds) == (0.0, 0.0, 0.0)


def test_resamples_in_which_the_other_system_found_nothing_are_left_out() -> None:
    change = pooled_change([Draws(0.6, (0.6, 0.5, 0.4), ("a",))], [Draws(0.5, (0.5, 0.0, 0.4), ("a",))])
    assert change == pytest.approx((0.2, 0.005, 0.195))  # of 0.2 and 0: their 2.5 and 97.5 % points


def test_seeds_of_other_recordings_are_refused() -> None:
    with pytest.raises(ValueError, match="same"):
        pooled_interval([draws(0, 0.9), draws(1, 0.9, num_recordings=11)])
    with pytest.raises(ValueError, match="same recordings"):
        pooled_change([draws(0, 0.9)], [draws(1, 0.9, num_recordings=11)])
