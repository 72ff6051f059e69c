"""Intervals of shares and rates against scipy and figures worked out elsewhere."""

import math

import pytest
from scipy import stats

from benchmarks.intervals import Share, poisson_rate, wilson


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (1, 3), (37, 67), (900, 1000), (10, 10)])
def test_a_share_has_the_score_interval_that_scipy_gives(hits: int, total: int) -> None:
    expected = stats.binomtest(hits, total).proportion_ci(0.95, method="wilson")
    found = wilson(hits, total)
    assert found.estimate == hits / total
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_no_trial_gives_no_interval_and_impossible_counts_are_refused() -> None:
    assert all(math.isnan(value) for value in wilson(0, 0))
    with pytest.raises(ValueError, match="hits=3 of total=2"):
        wilson(3, 2)


def test_a_share_reads_as_a_sentence() -> None:
    assert str(Share(9, 10)) == "90.0% (59.6% to 98.2%; 9 of 10)"  # Wilson for 9 of 10: 0.5958, 0.9821


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (10, 4.7954, 18.3904)],  # exact limits as tabulated by Garwood 1936
)
def test_a_rate_has_the_exact_interval(count: int, low: float, high: float) -> None:
    found = poisson_rate(count, 2.0)
    assert found.estimate == count / 2
    assert found.low == pytest.approx(low / 2, abs=1e-4)
    assert found.high == pytest.approx(high / 2, abs=1e-4)


def test_a_rate_needs_an_exposure() -> None:
    with pytest.raises(ValueError, match="exposure > 0"):
        poisson_rate(1, 0.0)
