"""What a model hears of a source whose rate holds less than it was made for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which itself says of every file what it misses
    from .model import Model


def highest_hz(model: "Model") -> float:
    """The highest frequency that a model of sound can hear: its bands' upper edge, or half of its sample rate."""
    line, edge = model.line, model.recipe.glance.init_args.get("max_hz")
    if line.featurizer.needs.reads == "glance" and edge is not None:
        return float(edge)
    return line.rate_hz / 2


def missing_band(model: "Model", source_rate_hz: int) -> str:
    """What a source of so many samples per second cannot give the model, in words; "" if nothing is missing."""
    top, highest = source_rate_hz / 2, highest_hz(model)
    if top >= highest:
        return ""
    return (
        f"at {source_rate_hz} Hz it holds nothing above {top:g} Hz, and the model hears up to {highest:g} Hz: "
        f"{1 - top / highest:.0%} of its band stays empty; record at {2 * highest:g} Hz or more"
    )
