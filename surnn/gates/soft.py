"""Switches with values between 0 and 1: the ablation that shows what the hard step is worth."""

from torch import Tensor, nn

from surnn.gates.heartbeat import Heartbeat
from surnn.gates.step import close_outside, decide
from surnn.types import Gate, Switch


class SoftGate(nn.Module):
    """A learned gate whose decisions are not thresholded: sigmoid(logit) in place of the hard step. For ablations only.

    Nothing is ever closed, so nothing is skipped, and states are mixed instead of held: h + g (c - h).

    Args:
        gate: an EventGate, a RhythmGate, or another gate that gives logits.

    Attributes:
        num_neurons: the gate's, if it has any.

    Source: the ablation of arXiv:2603.02226 (on Long Range Arena, 59.44 against 70.43 with hard switches).
    """

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        if not callable(getattr(gate, "switch", None)):
            raise ValueError(f"gate={gate!r} has no switch(); give a gate, such as surnn.EventGate(glance_size)")
        if isinstance(gate, Heartbeat):
            raise ValueError("a soft gate would lose the beats; give Heartbeat(SoftGate(gate), every=...)")
        self.gate = gate
        self.lookahead_frames = gate.lookahead_frames
        self.lookback_frames = gate.lookback_frames
        self.num_neurons: int | None = getattr(gate, "num_neurons", None)

    def switch(
        self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> Switch:
        """The gate's logits as shares in (0, 1), marked `is_soft`; 0 outside of `among` and on padding. See Gate.

        Raises:
            ValueError: if the gate gives no logits.
        """
        own = decide(self.gate, glance, first_frame, among, lengths)
        if own.logits is None and own.neuron_logits is None:
            raise ValueError(
                f"{type(self.gate).__name__} gives no logits, so there is nothing to soften; use a gate that learns"
            )
        frames = own.frames if own.logits is None else close_outside(own.logits.sigmoid(), among, lengths)
        neurons = own.neurons if own.neuron_logits is None else own.neuron_logits.sigmoid()
        return own._replace(frames=frames, neurons=neurons, is_soft=True)
