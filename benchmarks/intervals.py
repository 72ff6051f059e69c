"""How sure a share or a rate is, from counts alone."""

import math
from typing import NamedTuple

from scipy import stats  # type: ignore[import-untyped]

from pipelines.metrics import Interval


class Share(NamedTuple):
    """So many of so many."""

    hits: int
    total: int

    @property
    def interval(self) -> Interval:
        """The share and its 95 % interval."""
        return wilson(self.hits, self.total)

    def __str__(self) -> str:
        share, low, high = self.interval
        return f"{share:.1%} ({low:.1%} to {high:.1%}; {self.hits} of {self.total})"

    def as_dict(self) -> dict[str, float]:
        """Flat, for results.json."""
        share, low, high = self.interval
        return {"hits": self.hits, "total": self.total, "share": share, "low": low, "high": high}


def wilson(hits: int, total: int, *, level: float = 0.95) -> Interval:
    """A share and its score interval, if trials are independent; NaN where there are none.

    Raises:
        ValueError: if there are more hits than trials, or fewer than none.
    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    if not 0 <= hits <= total:
        raise ValueError(f"hits={hits} of total={total}; the rule is 0 <= hits <= total")
    if total == 0:
        return Interval(math.nan, math.nan, math.nan)
    z = float(stats.norm.ppf((1 + level) / 2))
    share = hits / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def poisson_rate(count: int, exposure: float, *, level: float = 0.95) -> Interval:
    """Events per unit of exposure (hours, say) and the exact interval, if they come independently.

    Raises:
        ValueError: if the count is below 0, or the exposure is not above 0.
    Source: Garwood 1936, doi:10.1093/biomet/28.3-4.437.
    """
    if count < 0 or not exposure > 0:
        raise ValueError(f"count={count}, exposure={exposure}; the rule is count >= 0 and exposure > 0")
    tail = (1 - level) / 2
    low = float(stats.chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    high = float(stats.chi2.ppf(1 - tail, 2 * count + 2)) / 2
    return Interval(count / exposure, low / exposure, high / exposure)
