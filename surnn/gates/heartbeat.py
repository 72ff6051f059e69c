"""Every n-th frame is open, whatever a gate says: a guard against one that misses things."""

from torch import Tensor, nn

from surnn.gates.fixed import frames_of
from surnn.gates.step import close_outside, decide
from surnn.types import Gate, Switch


class Heartbeat(nn.Module):
    """A gate that besides opens every n-th frame, with all its neurons: at most n - 1 frames in a row stay closed.

    Beats lie on the grid of the recording, not so many frames after the last open one: those would depend on all that
    went before, so that a stream would need a carry and blocks could not be decided by themselves. The bound is the
    same.
    A beat gives no gradient to the gate's own decision, which has no effect there.

    Args:
        gate: what decides all other frames. Its `logits` are passed on as they are.
        every: n; for a bound in seconds, the frames that fit into it.

    Attributes:
        num_neurons: the gate's, if it has any.
    """

    def __init__(self, gate: Gate, *, every: int) -> None:
        super().__init__()
        if not callable(getattr(gate, "switch", None)):
            raise ValueError(f"gate={gate!r} has no switch(); give a gate, such as surnn.EventGate(glance_size)")
        if every < 1:
            raise ValueError(f"every={every} must be at least 1")
        self.gate = gate
        self.every = every
        self.lookahead_frames = gate.lookahead_frames
        self.lookback_frames = gate.lookback_frames
        self.num_neurons: int | None = getattr(gate, "num_neurons", None)

    def switch(
        self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> Switch:
        """What the gate opens, and the beats among `among`; see Gate."""
        own = decide(self.gate, glance, first_frame, among, lengths)
        is_beat = (frames_of(glance, first_frame) % self.every == 0)[:, None]  # (T, 1)
        frames = close_outside(own.frames.masked_fill(is_beat[:, 0], 1), among, lengths)
        neurons = None if own.neurons is None else own.neurons.masked_fill(is_beat, 1)
        return own._replace(frames=frames, neurons=neurons)
