"""What all recurrent layers here share: torch's arguments, a switch, and the choice of a backend."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as zero_at_random
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from surnn import checks
from surnn.cells import Cell, State, Weights
from surnn.estimates import confident
from surnn.gates.step import decide
from surnn.kernels.choice import BACKENDS, choose
from surnn.kernels.stock import lay_end_to_end
from surnn.layout import Restart
from surnn.network import Network
from surnn.results import ScanResult
from surnn.types import Gate, Packed, Sampled, Switch

Backend = Literal["auto", "event", "packed", "triton", "reference"]
ClosedFrames = Literal["exact", "confidence"] | Sampled
Hidden = Tensor | tuple[Tensor, Tensor]


class SuLayer(nn.Module):
    """What SuRNN, SuGRU and SuLSTM share: recurrent layers that step only where their switch is open.

    Weights have the names, shapes and initial values of torch's class, and its state dicts load. With everything open
    the results are torch's. All layers share the switch; closed states are held to the last bit.

    Args:
        input_size: F, numbers per frame.
        hidden_size: H, neurons per layer and direction.
        num_layers: layers one above the other.
        bias: without, b_ih and b_hh are left out.
        batch_first: dense input and output are (B, T, F) rather than (T, B, F). Switch and glance are always (B, T).
        dropout: while training, share of the input of every layer above the first that is zeroed, the same numbers at
            every frame of a stream (locked dropout), so that all backends agree.
        bidirectional: a second direction runs from the end of each stream to its start, and is held from the right.
        proj_size: 0; it is here so that arguments have torch's order.
        device, dtype: of the weights.
        gate: decides where `forward` is given no switch; with neurons it has D * H of them. None: everything open.
        residual: every layer above the first adds its input to its output, which is held as all else.
        restart: when the backward direction forgets; None: never.

    Raises:
        ValueError: if a number is out of range, or an option could have no effect (dropout of a single layer).

    Source: selective-update RNN, arXiv:2603.02226; locked dropout: Gal and Ghahramani 2016, arXiv:1512.05287.
    """

    cell: Cell
    modes: tuple[str, ...]  # names of the cells that a class may have

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        gate: Gate | None = None,
        residual: bool = False,
        restart: Restart | None = None,
    ) -> None:
        super().__init__()
        checks.check_options(input_size, hidden_size, num_layers, dropout, bidirectional, proj_size, residual, restart)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        self.gate, self.residual, self.restart = gate, residual, restart
        for below, suffix in self._places():
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (below,), "weight_hh": (hidden_size,)}
            shapes |= {"bias_ih": (), "bias_hh": ()} if bias else {}
            for name, shape in shapes.items():
                values = torch.empty(self.cell.num_blocks * hidden_size, *shape, device=device, dtype=dtype)
                self.register_parameter(name + suffix, nn.Parameter(values))
        self.reset_parameters()

    @classmethod
    def from_torch(cls, module: nn.RNNBase, **options: Any) -> Self:
        """A layer with a copy of the weights of a torch.nn module of the same kind.

        Args:
            module: its sizes, biases, layout, dropout, directions, mode (training or not), device and dtype are taken
                over.
            options: gate, residual, restart; dropout, to have another one.

        Raises:
            ValueError: if the module is of another kind, or has projections (proj_size).
        """
        if module.mode.lower() not in cls.modes:
            kinds = " or ".join(cls.modes)
            raise ValueError(f"{cls.__name__} takes the weights of {kinds}; this module is {module.mode.lower()}")
        names = [
            "input_size",
            "hidden_size",
            "num_layers",
            "bias",
            "batch_first",
            "dropout",
            "bidirectional",
            "proj_size",
        ]
        names += ["nonlinearity"] if isinstance(module, nn.RNN) else []
        weight = next(module.parameters())
        taken = {name: getattr(module, name) for name in names} | {"device": weight.device, "dtype": weight.dtype}
        layer = cls(**(taken | options))
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                layer.get_parameter(name).copy_(parameter)
        return layer.train(module.training)

    @property
    def num_directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def layer_weights(self) -> tuple[tuple[Weights, ...], ...]:
        """The weights, per layer and direction."""
        found = [
            Weights(*(getattr(self, name + suffix, None) for name in Weights._fields))  # type: ignore[arg-type]
            for _, suffix in self._places()
        ]
        each = self.num_directions
        return tuple(tuple(found[first : first + each]) for first in range(0, len(found), each))

    def flatten_parameters(self) -> None:
        """Put the weights into the order in memory that cuDNN likes, as torch does; `.to(...)` has done so already."""
        for weights in (way for layer in self.layer_weights for way in layer):
            lay_end_to_end(self.cell, weights)

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from +-1 / sqrt(H), as torch does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self._parameters.values():
            nn.init.uniform_(cast(Tensor, parameter), -bound, bound)

    def forward(
        self,
        input: Tensor | Packed | PackedSequence,
        hx: Hidden | None = None,
        *,
        switch: Switch | None = None,
        glance: Tensor | None = None,
        first_frame: int = 0,
        lengths: Tensor | None = None,
        closed_frames: ClosedFrames = "exact",
        backend: Backend = "auto",
    ) -> ScanResult[Any]:
        """Run over dense frames under a switch, or over rows that were packed already.

        Args:
            input: dense frames (T, B, F), (B, T, F) if batch_first, or (T, F) of one stream; or torch's PackedSequence;
                or the Packed open frames of B streams, every row of which is one step.
            hx: (num_layers * D, B, H) state before the first frame, for an LSTM a pair of them; without B for (T, F);
                None: zeros.
            switch: for dense input; None: what the gate decides, or everything open where there is no gate.
            glance: (B, T, G) what the gate looks at, B = 1 for one stream; None: the input.
            first_frame: index of the first frame, for gates that depend on absolute time.
            lengths: (B,) frames per stream, for dense input; padding after them holds. None: no padding.
            closed_frames: how the gradient of closed frames' switches is had. "exact": from their candidates, equal to
                the dense loop's. A `Sampled` share of them: right on average, noisier, cheaper. "confidence": without
                candidates, from whether the held output should be louder or softer; biased (H-Net, arXiv:2507.07955).
            backend: "reference" is the plain loop over all frames; "packed" steps over open frames alone, by torch's
                kernels; "event" over open frames and open neurons, by loops for a CPU that numba compiles at first
                use; "triton" over open frames by fused kernels for a GPU; "auto" takes the best
                (surnn.kernels.choice has the rules), and the result names it.

        Returns:
            Output and state in the type of the weights, laid out as torch does; a PackedSequence for a PackedSequence.

        Raises:
            ValueError: if shapes or types do not fit, switch values are not 0 or 1, or the backend cannot do what is
                asked. All but the reference do so, too, where a second derivative or a transform of torch.func is
                asked.
        """
        options = switch, glance, first_frame, lengths, closed_frames, backend
        if torch.compiler.is_dynamo_compiling():
            return _outside_compiler(self, input, hx, *options)
        return self._run(input, hx, *options)

    def _run(
        self,
        input: Tensor | Packed | PackedSequence,
        hx: Hidden | None,
        switch: Switch | None,
        glance: Tensor | None,
        first_frame: int,
        lengths: Tensor | None,
        closed_frames: ClosedFrames,
        backend: Backend,
    ) -> ScanResult[Any]:
        if backend not in BACKENDS:
            raise ValueError(f'backend="{backend}" must be one of {", ".join(BACKENDS)}')
        if isinstance(input, Packed):
            checks.check_alone(switch, glance, lengths, backend)
            return self._forward_rows(input, hx, backend)
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError("a PackedSequence has its own lengths; leave lengths out")
            padded, lengths = pad_packed_sequence(input, batch_first=True)
            result = self._forward_dense(padded, hx, switch, glance, first_frame, lengths, closed_frames, backend)
            packed_output: Any = _packed_like(input, result.output, lengths)
            return replace(result, output=packed_output)
        if input.dim() == 2:
            batched = None if hx is None else _each(hx, lambda part: part[:, None])
            given = input[None], batched, switch, glance, first_frame, lengths, closed_frames, backend
            result = self._forward_dense(*given)
            return replace(result, output=result.output[0], state=_each(result.state, lambda part: part[:, 0]))
        frames = input if self.batch_first or input.dim() != 3 else input.transpose(0, 1)
        result = self._forward_dense(frames, hx, switch, glance, first_frame, lengths, closed_frames, backend)
        return result if self.batch_first else replace(result, output=result.output.transpose(0, 1))

    def _forward_dense(
        self,
        frames: Tensor,
        hx: Hidden | None,
        switch: Switch | None,
        glance: Tensor | None,
        first_frame: int,
        lengths: Tensor | None,
        closed_frames: ClosedFrames,
        backend: Backend,
    ) -> ScanResult[Any]:
        checks.check_dense(frames, self.input_size, lengths)
        if switch is None and self.gate is not None:
            switch = decide(self.gate, frames if glance is None else glance, first_frame, None, lengths)
        is_casting = torch.is_autocast_enabled(frames.device.type)
        with torch.autocast(frames.device.type, enabled=False):  # a state that is to hold exactly keeps its precision
            frames = self._own_type(frames, "input", is_casting)
            chosen = choose(backend, frames, switch)
            if switch is not None:
                size = self.num_directions * self.hidden_size
                checks.check_switch(switch, (*frames.shape[:2], size), chosen.is_binary)
            is_soft = switch is not None and switch.is_soft
            checks.check_closed_frames(closed_frames, frames.shape[:2], is_soft, chosen.name)
            state = self._state(hx, frames, len(frames), is_casting)
            network = self._network(len(frames), frames)
            applied = switch
            if switch is not None and closed_frames == "confidence":
                applied = switch._replace(frames=switch.frames.detach())
            options = {"sampled": closed_frames} if isinstance(closed_frames, Sampled) else {}
            output, final = chosen.scan(frames, state, network, applied, lengths, **options)
            if switch is not None and closed_frames == "confidence":
                output = confident(output, switch.frames, lengths)
        return ScanResult(output, final if len(final) > 1 else final[0], switch, lengths, chosen.name)

    def _forward_rows(self, rows: Packed, hx: Hidden | None, backend: Backend) -> ScanResult[Any]:
        checks.check_rows(rows, self.input_size)
        is_casting = torch.is_autocast_enabled(rows.data.device.type)
        with torch.autocast(rows.data.device.type, enabled=False):
            rows = rows._replace(data=self._own_type(rows.data, "Packed.data", is_casting))
            state = self._state(hx, rows.data, len(rows.lengths), is_casting)
            chosen = choose(backend, rows.data, None)
            assert chosen.scan_rows is not None  # check_alone refuses the reference
            output, final = chosen.scan_rows(rows, state, self._network(len(rows.lengths), rows.data))
        return ScanResult(output, final if len(final) > 1 else final[0], None, None, chosen.name)

    def extra_repr(self) -> str:
        usual: dict[str, Any] = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        usual |= {"bidirectional": False, "residual": False, "restart": None}
        named = [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *named])

    def _places(self) -> Iterator[tuple[int, str]]:
        """Input size and name of every layer and direction, in the order of torch's state."""
        for layer in range(self.num_layers):
            below = self.input_size if layer == 0 else self.hidden_size * self.num_directions
            for way in ("", "_reverse")[: self.num_directions]:
                yield below, f"_l{layer}{way}"

    def _network(self, batch: int, like: Tensor) -> Network:
        masks: list[Tensor | None] = [None] * self.num_layers
        if self.training and self.dropout > 0:
            ones = like.new_ones(batch, self.num_directions * self.hidden_size)
            masks[1:] = [zero_at_random(ones, self.dropout) for _ in masks[1:]]
        return Network(self.cell, self.layer_weights, tuple(masks), self.residual, self.restart)

    def _state(self, hx: Hidden | None, like: Tensor, batch: int, is_casting: bool) -> State:
        shape = (self.num_layers * self.num_directions, batch, self.hidden_size)
        if hx is None:
            return (like.new_zeros(shape),) * self.cell.num_parts
        parts = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        checks.check_state(parts, self.cell.num_parts, shape)
        return tuple(self._own_type(part, "hx", is_casting) for part in parts)

    def _own_type(self, values: Tensor, name: str, is_casting: bool) -> Tensor:
        """The values in the type of the weights: under autocast converted, else refused."""
        wanted = cast(Tensor, self.weight_ih_l0).dtype
        if values.dtype != wanted and not is_casting:
            raise ValueError(f"{name} is {values.dtype}, the weights are {wanted}; convert one of them with .to(...)")
        return values.to(wanted)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.flatten_parameters()
        return self


def _outside_compiler(layer: SuLayer, *given: Any) -> ScanResult[Any]:
    """The layer, run as it is: its sizes follow the switch, so that a compiler can gain nothing there."""
    result: ScanResult[Any] = torch.compiler.disable(layer._run)(*given)  # type: ignore[no-untyped-call]
    return result


# What torch.compiler.disable would set, which brings the compiler along: two seconds at every import.
_outside_compiler._torchdynamo_disable = True  # type: ignore[attr-defined]


def _each(hidden: Hidden, change: Callable[[Tensor], Tensor]) -> Hidden:
    return change(hidden) if isinstance(hidden, Tensor) else (change(hidden[0]), change(hidden[1]))


def _packed_like(sequence: PackedSequence, output: Tensor, lengths: Tensor) -> PackedSequence:
    order = sequence.sorted_indices
    if order is not None:
        output, lengths = output[order], lengths[order.cpu()]
    packed_output = pack_padded_sequence(output, lengths, batch_first=True)
    return PackedSequence(packed_output.data, sequence.batch_sizes, order, sequence.unsorted_indices)
