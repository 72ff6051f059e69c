"""Recurrent encoders: the selective-update layers of surnn with any gate, and torch's dense ones."""

from typing import Any, Literal

from torch import Tensor, nn

from surnn import Clockwork, Heartbeat, Open, RhythmGate, SoftGate, SuGRU, SuLSTM, SuRNN, Switch
from surnn.types import Gate

from ..class_paths import Place, import_class
from .budgets import budget_cost
from .contract import Encoded

CELLS = {"rnn": SuRNN, "gru": SuGRU, "lstm": SuLSTM}
DENSE_CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
_PLACE = Place("recipe", None, "model.init_args.gate")


class SelectiveUpdate(nn.Module):
    """A suRNN, suGRU or suLSTM with a gate: it steps only where the gate's switch is open.

    Args:
        input_size: numbers per frame, given by the pipeline.
        hidden_size: neurons, found by the pipeline.
        cell: recurrent cell.
        gate: dotted path of the gate's class.
        gate_args: its arguments, beside the size of its glance and, where it has any, the number of neurons.
        switches: what the gate decides: whole frames, single neurons with every frame open, or both.
        is_soft: decisions are sigmoid(logit) and mix states, as an ablation: nothing is skipped.
        heartbeat_frames: every so many frames one is open in any case; 0: none.
        num_layers: layers over one switch.
        budget: how the switch is held to its budget: frames and neurons apart, from both sides; on their product; or
            from above only.
        closed_frames: how a closed frame's switch gets its gradient; docs/surnn.md has the table.

    Raises:
        RecipeError: if there is no such gate.
        ValueError: if the gate cannot decide what `switches` says.

    Source: arXiv:2603.02226; gates and frame switch: docs/surnn.md.
    """

    readout: Literal["last", "mean"] = "last"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        cell: Literal["rnn", "gru", "lstm"] = "gru",
        gate: str = "surnn.EventGate",
        gate_args: dict[str, Any] | None = None,
        switches: Literal["frames", "neurons", "both"] = "frames",
        is_soft: bool = False,
        heartbeat_frames: int = 0,
        num_layers: int = 1,
        budget: Literal["separate", "joint", "one-sided"] = "separate",
        closed_frames: Literal["exact", "confidence"] = "exact",
    ) -> None:
        super().__init__()
        self.size, self.switches, self.budget, self.closed_frames = hidden_size, switches, budget, closed_frames
        built = build_gate(gate, gate_args or {}, input_size, hidden_size, switches)
        if is_soft:
            built = SoftGate(built)
        if switches == "neurons" and not isinstance(getattr(built, "gate", built), RhythmGate):
            built = EveryFrame(built)
        if heartbeat_frames:
            built = Heartbeat(built, every=heartbeat_frames)
        self.is_causal = built.lookahead_frames == 0
        self._can_stream = self.is_causal and built.lookback_frames == 0
        self.layer = CELLS[cell](input_size, hidden_size, num_layers, batch_first=True, gate=built)

    def forward(self, frames: Tensor, state: Any = None, lengths: Tensor | None = None) -> Encoded:
        """`state`: the index of the next frame and the layer's state.

        Raises:
            ValueError: if there is a state, and the gate looks at other frames than its own.
        """
        if state is not None and not self._can_stream:
            raise ValueError(
                "this gate looks at frames around its own and cannot stream in blocks; leave out dilations"
            )
        first_frame, hidden = state if state is not None else (0, None)
        options: Any = {"first_frame": first_frame, "lengths": lengths, "closed_frames": self.closed_frames}
        result = self.layer(frames, hidden, **options)
        switch: Switch = result.switch
        rates = result.rates
        assert rates is not None
        return Encoded(
            result.output,
            (first_frame + frames.shape[1], result.state),
            switch.frames.detach(),
            switch.logits,
            budget_cost(switch, self.layer.gate, self.budget, lengths),
            rates.update_share,
        )


class DenseRecurrent(nn.Module):
    """torch's RNN, GRU or LSTM: every frame is a step.

    Args:
        input_size: numbers per frame, given by the pipeline.
        hidden_size: neurons, found by the pipeline.
        cell: recurrent cell.
        num_layers: layers.
    """

    readout: Literal["last", "mean"] = "last"
    is_causal = True

    def __init__(
        self, input_size: int, hidden_size: int, *, cell: Literal["rnn", "gru", "lstm"] = "gru", num_layers: int = 1
    ) -> None:
        super().__init__()
        self.size = hidden_size
        self.layer = DENSE_CELLS[cell](input_size, hidden_size, num_layers, batch_first=True)

    def forward(self, frames: Tensor, state: Any = None, lengths: Tensor | None = None) -> Encoded:
        """Padding is run over, too; outputs before it do not depend on it."""
        del lengths
        output, state = self.layer(frames, state)
        return Encoded(output, state)


def build_gate(
    path: str,
    arguments: dict[str, Any],
    glance_size: int,
    num_neurons: int,
    switches: Literal["frames", "neurons", "both"],
) -> Gate:
    """A gate by its dotted path, deciding what `switches` says.

    Raises:
        RecipeError: if there is no such class, or it does not take these arguments.
        ValueError: if the gate has no decisions of that grain.
    """
    found = import_class(path, _PLACE)
    neurons = {} if switches == "frames" else {"num_neurons": num_neurons}
    try:
        gate: Gate = found(glance_size, **arguments, **neurons)
    except (TypeError, ValueError) as error:
        raise _PLACE.error(f"{path} does not take {arguments | neurons}: {error}") from error
    if (found is Clockwork and switches != "both") or (found is RhythmGate and switches == "both"):
        raise _PLACE.error(
            f"{path} cannot decide switches={switches}; Clockwork decides both, RhythmGate frames or neurons"
        )
    return gate


class EveryFrame(nn.Module):
    """A gate's neuron switches, with every frame open.

    Args:
        gate: has neuron switches.
    """

    def __init__(self, gate: Any) -> None:
        super().__init__()
        self.gate = gate
        self.lookahead_frames, self.lookback_frames = gate.lookahead_frames, gate.lookback_frames
        self.num_neurons: int = gate.num_neurons

    def switch(
        self, glance: Tensor, first_frame: int = 0, among: Tensor | None = None, *, lengths: Tensor | None = None
    ) -> Switch:
        """The gate's neurons on every frame of `among`; see surnn.Gate."""
        own: Switch = self.gate.switch(glance, first_frame, among, lengths=lengths)
        frames = Open(glance.shape[2]).switch(glance, first_frame, among, lengths=lengths).frames
        return Switch(frames, own.neurons, neuron_logits=own.neuron_logits, is_soft=own.is_soft)
