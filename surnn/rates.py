"""How much of a switch is open: shares, probabilities and dead neurons, ready to log."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from surnn.packing import frames_within
from surnn.types import Switch


class SwitchRates(NamedTuple):
    """Shares of one switch, padding not counted; 0-dim tensors without a gradient, so that nothing waits for a GPU.

    What is undefined, such as the share of neurons where no frame is open, is NaN. For a soft switch shares are means
    of its values, and a neuron counts as open above 0.5.

    Args:
        num_frames: frames counted.
        frame_share: of them, share that is open.
        neuron_share: share of neurons open, given an open frame; 1 where neurons follow their frame.
        update_share: share of all neurons and frames that is updated: frame_share * neuron_share.
        frame_probability: mean sigmoid of the frame logits; None where the gate has none.
        neuron_probability: mean sigmoid of the neuron logits, closed frames included; None where the gate has none.
        share_by_neuron: (H,) of the open frames, share on which each neuron is open; None where neurons follow their
            frame.
        num_dead_neurons: neurons that are open on no open frame; None as above.
        num_always_open_neurons: neurons that are open on every open frame; None as above. Without an open frame, none.
    """

    num_frames: Tensor
    frame_share: Tensor
    neuron_share: Tensor
    update_share: Tensor
    frame_probability: Tensor | None = None
    neuron_probability: Tensor | None = None
    share_by_neuron: Tensor | None = None
    num_dead_neurons: Tensor | None = None
    num_always_open_neurons: Tensor | None = None

    def to_dict(self, prefix: str = "") -> dict[str, float]:
        """Single numbers by name, `prefix` before each; what is undefined is left out."""
        numbers = {
            name: float(value) for name, value in self._asdict().items() if value is not None and value.dim() == 0
        }
        return {prefix + name: number for name, number in numbers.items() if not math.isnan(number)}


def switch_rates(switch: Switch, lengths: Tensor | None = None, *, mask: Tensor | None = None) -> SwitchRates:
    """Count what a switch opens.

    Args:
        switch: of any gate.
        lengths: (B,) frames per stream; padding after them is not counted. None: no padding.
        mask: (B, T) bool, false for what else is not to be counted. None: everything counts.

    Raises:
        ValueError: if a shape does not fit.
    """
    streams, num_frames = switch.frames.shape
    for name, value, shape in (("lengths", lengths, (streams,)), ("mask", mask, (streams, num_frames))):
        if value is not None and value.shape != shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}; the rule for this switch is {shape}")
    counted = torch.ones_like(switch.frames, dtype=torch.bool) if mask is None else mask
    if lengths is not None:
        counted = counted & frames_within(lengths.to(counted.device), num_frames)
    with torch.no_grad():
        return _rates(switch, counted)


def _rates(switch: Switch, counted: Tensor) -> SwitchRates:
    total = counted.sum()
    opened = torch.where(counted, switch.frames, 0).double()
    frame_share = opened.sum() / total
    rates = SwitchRates(
        num_frames=total,
        frame_share=frame_share,
        neuron_share=frame_share / frame_share,  # 1, or NaN without an open frame
        update_share=frame_share,
        frame_probability=None if switch.logits is None else switch.logits.sigmoid()[counted].mean(),
    )
    if switch.neurons is None:
        return rates
    weights = opened.to(switch.neurons.dtype)
    is_open = weights[..., None] * switch.neurons > 0.5
    times_open, most = is_open.sum(dim=(0, 1)), (opened > 0.5).sum()
    # Counts are exact; only a soft switch needs sums of its values.
    updates = torch.einsum("bt,bth->h", weights, switch.neurons) if switch.is_soft else times_open
    return rates._replace(
        neuron_share=updates.double().mean() / opened.sum(),
        update_share=updates.double().mean() / total,
        neuron_probability=None if switch.neuron_logits is None else switch.neuron_logits.sigmoid()[counted].mean(),
        share_by_neuron=updates.double() / opened.sum(),
        num_dead_neurons=(times_open == 0).sum(),
        num_always_open_neurons=((times_open == most) & (most > 0)).sum(),
    )
