"""A dense model made smaller until it takes as long as another system: what could be had without any switch."""

import statistics
import time
from collections.abc import Callable, Sequence

from pipelines.events import Recording
from pipelines.line import Line
from pipelines.model import build_line
from pipelines.recipe import Recipe, load_recipe

FACTORS = (1.0, 0.875, 0.75, 0.625, 0.5, 0.4375, 0.375, 0.3125, 0.25, 0.1875, 0.125)
Override = tuple[str, str]


def shrunk(recipe: Recipe, factor: float) -> list[Override]:
    """The keys that scale the channels of the featurizer and the neurons of the encoder, to multiples of 4."""

    def scaled(number: int) -> int:
        return max(4, 4 * round(number * factor / 4))

    channels = [scaled(number) for number in recipe.featurizer.init_args["channels"]]
    return [("featurizer.init_args.channels", str(channels)), ("encoder.hidden", str(scaled(recipe.encoder.hidden)))]


def equal_time(
    recipe: str,
    given: Sequence[Override],
    num_labels: int,
    rival: Callable[[], float],
    walk: Callable[[Line], float],
    *,
    num_runs: int = 5,
) -> tuple[list[Override], float]:
    """The keys of the dense model that takes nearest to as long as a rival, and its time over the rival's.

    Weights are random: a dense model takes as long before it is trained as after.

    Args:
        recipe: path of the recipe of the full size.
        given: keys that are overridden already; the switch is open.
        num_labels: of the corpus.
        rival: seconds of one walk of the system to be matched.
        walk: seconds of one walk of a line.
        num_runs: walks of each, taking turns; the median counts.
    """
    full = load_recipe(recipe, given)

    def ratio(factor: float) -> float:
        line = build_line(load_recipe(recipe, [*given, *shrunk(full, factor)]), num_labels).eval()
        walk(line)
        pairs = [(walk(line), rival()) for _ in range(num_runs)]
        own, other = zip(*pairs, strict=True)
        return float(statistics.median(own) / statistics.median(other))

    factor, found = nearest_to_one(ratio)
    return shrunk(full, factor), found


def nearest_to_one(ratio: Callable[[float], float]) -> tuple[float, float]:
    """The factor of FACTORS whose ratio, which falls with the factor, is nearest to 1, and this ratio; by halving."""
    known: dict[float, float] = {}
    first, last = 0, len(FACTORS) - 1  # at the first one the ratio is above 1, at the last below
    while first <= last:
        middle = (first + last) // 2
        known[FACTORS[middle]] = ratio(FACTORS[middle])
        if known[FACTORS[middle]] > 1:
            first = middle + 1
        else:
            last = middle - 1
    return min(known.items(), key=lambda item: max(item[1], 1 / item[1]))


def seconds_of_walk(line: Line, recordings: Sequence[Recording], decode: Callable[..., object]) -> float:
    """Wall time from paths to events, with the line's own gate."""
    begun = time.perf_counter()
    for recording in recordings:
        with line.open(recording.source) as stream:
            decode(line.follow(stream))
    return time.perf_counter() - begun
