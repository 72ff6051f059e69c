"""The step size over a training: a short rise to the highest, then a long fall."""

import torch
from torch.optim.lr_scheduler import OneCycleLR

RISE_SHARE = 0.1


def one_cycle(optimizer: torch.optim.Optimizer, learning_rate: float, total_steps: int) -> OneCycleLR:
    """The schedule of so many steps, the highest step size given.

    Source: Smith and Topin, Super-Convergence, 2018 (arXiv:1708.07120).
    """
    share = RISE_SHARE if RISE_SHARE * total_steps != 1 else 2 * RISE_SHARE  # torch divides by the rise's steps less 1
    return OneCycleLR(optimizer, learning_rate, total_steps=total_steps, pct_start=share)
