"""Losses that hold a research model's switch to its budget, and gates changed for an ablation."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from surnn import EventGate, Switch, frame_and_neuron_losses, frames_within, hard_step

Budget = Literal["separate", "joint", "one-sided"]


def budget_cost(switch: Switch, gate: Any, budget: Budget, lengths: Tensor | None) -> Tensor | None:
    """The loss of a learned switch against the budgets of its gate; None for a gate that learns nothing.

    Args:
        switch: what the gate decided.
        gate: has frame_budget, neuron_budget, or both, or is wrapped around one that has.
        budget: "separate": frames, and neurons of open frames, each from both sides. "joint": the mean of the product
            of both, squared distance. "one-sided": what lies above each budget.
        lengths: (B,) frames per sequence; padding does not count.
    """
    if switch.logits is None and switch.neuron_logits is None:
        return None
    mask = None if lengths is None else frames_within(lengths.to(switch.frames.device), switch.frames.shape[1])
    frame_budget, neuron_budget = (_of_innermost(gate, name) for name in ("frame_budget", "neuron_budget"))
    if budget == "separate":
        losses = frame_and_neuron_losses(switch, frame_budget=frame_budget, neuron_budget=neuron_budget, mask=mask)
        return torch.stack([loss for loss in losses if loss is not None]).sum()
    counted = torch.ones_like(switch.frames) if mask is None else mask.to(switch.frames.dtype)
    of_frames = switch.frames if switch.logits is None else switch.logits.sigmoid()
    of_neurons = of_frames.new_ones(()) if switch.neuron_logits is None else switch.neuron_logits.sigmoid()
    wanted_frames = 1.0 if switch.logits is None else float(frame_budget)  # type: ignore[arg-type]
    wanted_neurons = 1.0 if switch.neuron_logits is None else float(neuron_budget)  # type: ignore[arg-type]
    neurons_by_frame = of_neurons.mean(-1) if of_neurons.dim() == 3 else of_neurons
    if budget == "joint":
        mean = (of_frames * neurons_by_frame * counted).sum() / counted.sum()
        return ((mean - wanted_frames * wanted_neurons) / (wanted_frames * wanted_neurons)).square()
    above_frames = ((of_frames * counted).sum() / counted.sum() - wanted_frames).relu()
    above_neurons = ((neurons_by_frame * counted).sum() / counted.sum() - wanted_neurons).relu()
    return above_frames / wanted_frames + above_neurons / wanted_neurons


def _of_innermost(gate: Any, name: str) -> float | None:
    while not hasattr(gate, name) and hasattr(gate, "gate"):
        gate = gate.gate
    found: float | None = getattr(gate, name, None)
    return found


class Altered(nn.Module):
    """An event gate with another slope backwards, or noise on its logits while training.

    Args:
        glance_size: numbers per glance frame.
        sharpness: s; backwards the step counts as 2 sigmoid(s * logit): above 1, fewer logits near 0 learn, and faster.
        noise: deviation, as a share of that of the logistic distribution, of the noise added while training: 1 is a
            Gumbel switch (arXiv:1611.00712, hard, temperature 1).
        gate_args: of surnn.EventGate.
        num_neurons: neurons that the gate decides, too; None: whole frames only.
    """

    def __init__(
        self,
        glance_size: int,
        *,
        sharpness: float = 1.0,
        noise: float = 0.0,
        gate_args: dict[str, Any] | None = None,
        num_neurons: int | None = None,
    ) -> None:
        super().__init__()
        if sharpness <= 0 or noise < 0:
            raise ValueError(f"sharpness={sharpness}, noise={noise}; the rule is sharpness > 0 and noise >= 0")
        self.gate = EventGate(glance_size, **(gate_args or {}), num_neurons=num_neurons)
        self.sharpness, self.noise, self.num_neurons = sharpness, noise, num_neurons
        self.lookahead_frames, self.lookback_frames = self.gate.lookahead_frames, self.gate.lookback_frames
        self.frame_budget, self.neuron_budget = self.gate.frame_budget, self.gate.neuron_budget

    def switch(
        self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> Switch:
        """See surnn.Gate."""
        own = self.gate.switch(glance, first_frame, among, lengths=lengths)
        assert own.logits is not None
        within = own.frames.new_ones(own.frames.shape, dtype=torch.bool)
        if lengths is not None:
            within = frames_within(lengths.to(glance.device), glance.shape[1])
        if among is not None:
            within = within & among
        frames = torch.where(within, self._step(own.logits), own.frames.new_zeros(()))
        neurons = None if own.neuron_logits is None else self._step(own.neuron_logits)
        return Switch(frames, neurons, own.logits, own.neuron_logits)

    def _step(self, logits: Tensor) -> Tensor:
        if self.training and self.noise:
            uniform = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
            logits = logits + self.noise * (uniform.log() - (-uniform).log1p())
        return hard_step(self.sharpness * logits)
