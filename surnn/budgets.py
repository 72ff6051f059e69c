"""Losses that keep a switch to its budget, from both sides: too many open frames cost, and so do too few."""

from typing import NamedTuple

import torch
from torch import Tensor

from surnn.types import Switch


class BudgetLosses(NamedTuple):
    """One number per grain of the switch; None where that grain does not learn, or has no budget."""

    frames: Tensor | None
    neurons: Tensor | None


def ratio_loss(hard: Tensor, probability: Tensor, budget: float, mask: Tensor | None = None) -> Tensor:
    """Pushes the mean probability down where more than `budget` is open, up where less is.

    With rate F of open decisions (no gradient), mean probability G and N = 1 / budget:
    N / (N - 1) * ((N - 1) * F * G + (1 - F) * (1 - G)). It is 1 where F = G = budget.

    Args:
        hard: decisions in {0, 1}, any shape.
        probability: of being open, the same shape; the gradient goes here.
        budget: wanted share of open decisions, in (0, 1).
        mask: bool, the same shape; false for padding. None: everything counts.

    Raises:
        ValueError: if budget is not in (0, 1), or the shapes differ.

    Source: H-Net, arXiv:2507.07955 (there with weight 0.03).
    """
    check_budget("budget", budget)
    if hard.shape != probability.shape or (mask is not None and mask.shape != hard.shape):
        raise ValueError(
            f"hard {tuple(hard.shape)}, probability {tuple(probability.shape)}, "
            f"mask {None if mask is None else tuple(mask.shape)}; the rule is one shape for all"
        )
    counted = torch.ones_like(probability) if mask is None else mask.to(probability.dtype)
    return _two_sided(_mean(hard.detach(), counted), _mean(probability, counted), budget)


def frame_and_neuron_losses(
    switch: Switch, *, frame_budget: float | None = None, neuron_budget: float | None = None, mask: Tensor | None = None
) -> BudgetLosses:
    """Separate budgets for frames, and for neurons given an open frame.

    A budget on the product of both could be met with every frame open, which saves no step. The rate of neurons is
    counted on open frames; their probability is weighted by that of their frame, so that neurons of a closed frame are
    reached, too, and a pair of closed switches can open again.

    Args:
        switch: of a gate that learns: with logits, neuron_logits, or both.
        frame_budget: share of frames to be open, in (0, 1). None: no loss for frames.
        neuron_budget: share of neurons to be open on an open frame, in (0, 1). None: no loss for neurons.
        mask: (B, T) bool, false for padding and whatever else is not to count. None: everything counts.

    Raises:
        ValueError: if the switch has no logits at all, or a budget is not in (0, 1).
    """
    if switch.logits is None and switch.neuron_logits is None:
        raise ValueError("the switch has no logits, so its gate learns nothing; leave the budgets out for this gate")
    frames = None
    if switch.logits is not None and frame_budget is not None:
        check_budget("frame_budget", frame_budget)
        frames = ratio_loss(switch.frames, switch.logits.sigmoid(), frame_budget, mask)
    if neuron_budget is None:
        return BudgetLosses(frames, None)
    check_budget("neuron_budget", neuron_budget)
    if switch.neurons is None or switch.neuron_logits is None:
        return BudgetLosses(frames, None)
    likely = switch.frames if switch.logits is None else switch.logits.sigmoid()
    counted = torch.ones_like(likely) if mask is None else mask.to(likely.dtype)
    on_open = (switch.frames.detach() * counted)[..., None].expand_as(switch.neurons)
    on_likely = (likely.detach() * counted)[..., None].expand_as(switch.neurons)
    rate = _mean(switch.neurons.detach(), on_open)
    return BudgetLosses(frames, _two_sided(rate, _mean(switch.neuron_logits.sigmoid(), on_likely), neuron_budget))


def check_budget(name: str, budget: float) -> None:
    """Raises a ValueError that names the budget, if it is not in (0, 1)."""
    if not 0 < budget < 1:
        raise ValueError(f"{name}={budget} must lie between 0 and 1; for everything open use surnn.Open")


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    # Without any weight (no frame open, all padding) the mean is 0: undershot, so the loss opens.
    return (values * weights).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)


def _two_sided(rate: Tensor, probability: Tensor, budget: float) -> Tensor:
    return rate * probability / budget + (1 - rate) * (1 - probability) / (1 - budget)
