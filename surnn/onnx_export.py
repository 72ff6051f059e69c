"""Recurrent layers as ONNX files in which closed frames are skipped: they reach no recurrent operator.

frames   a b c d e f     Gather      rows  b e     GRU, LSTM, RNN     Gather by the number opened    h B B B E E
is_open  0 1 0 0 1 0   ---------->   (N, F)      ---------------->  ----------------------------->   (h: the state
                                                 N steps             so far, from h and the rows      before)

Where nothing is open the operator is not called at all (an If around it): ONNX Runtime 1.32 ends the process when it is
given no rows.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surnn.cells import Weights
from surnn.gates.event import EventGate
from surnn.layer import SuLayer

OPSET, IR_VERSION = 17, 9
TO_THE_END = 2**63 - 1
# ONNX's operator for each cell, and where its blocks are among torch's (GRU: z r h in r z n; LSTM: i o f c in i f g o).
OPERATORS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "gru": ("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    "lstm": ("LSTM", (0, 3, 1, 2), {}),
    "rnn_tanh": ("RNN", (0,), {}),
    "rnn_relu": ("RNN", (0,), {"activations": ["Relu"]}),
}


def export_onnx(layer: SuLayer, path: str | Path, *, gate: EventGate | None = None) -> None:
    """Write a layer, and the gate that switches it, as an ONNX file whose closed frames cost no recurrent step.

    One stream per call. T frames, F numbers each, L layers of D directions, H neurons. Inputs of the file:

        frames      (T, F) float32; closed ones are not read
        is_open     (T,) bool; only where there is no gate
        glance      (C, G) float32; only where there is a gate: the frames and their context
        pad_left    (1,) int64, zeros before the glance: the gate's lookback_frames (the default) at the start of a
                    recording, 0 where true context is given, and `pad_right` likewise; as in EventGate.logits.
                    C + pad_left + pad_right must be T + lookback_frames + lookahead_frames
        hidden      (L * D, H) state before the first frame, by default zeros; an LSTM has `cell`, too

    and outputs: `output` (T, D * H), held over closed frames; `is_open`, with a gate, and its `logits` (T,); the state
    after the last frame, `next_hidden` and `next_cell`. So a stream can be cut anywhere. Dropout is left out, as in
    `layer.eval()`.

    Args:
        layer: float32, on any device.
        path: of the file.
        gate: decides in the file; None: the layer's own, and if it has none, whoever runs the file decides.

    Raises:
        ValueError: if ONNX's operators cannot do what the layer does (neuron switches, a restart, float64), or the gate
            is no EventGate.
        ImportError: if the package onnx is not installed.

    Source: operators as in ONNX's opset 17.
    """
    graph = Graph("surnn")
    chosen = layer.gate if gate is None else gate
    is_open = add_switch(graph, chosen, "frames") if chosen is not None else graph.input("is_open", "BOOL", ["T"])
    frames = graph.input("frames", "FLOAT", ["T", layer.input_size])
    state = state_inputs(graph, layer)
    rows, after = add_layer(graph, layer, graph.add("Gather", frames, add_index(graph, is_open)), state)
    graph.output("output", add_hold(graph, layer, rows, state, is_open), "FLOAT", ["T", layer_size(layer)])
    state_outputs(graph, layer, after)
    graph.save(path)


class Graph:
    """An ONNX graph that grows node by node; values are known by their names.

    Args:
        name: of the graph; names of its values begin with it.

    Raises:
        ImportError: if the package onnx is not installed.
    """

    def __init__(self, name: str) -> None:
        try:
            self.onnx: Any = importlib.import_module("onnx")
        except ImportError as error:
            raise ImportError(
                "writing ONNX needs the package onnx, which is not installed; add it: uv add 'onnx>=1.20,<2'"
            ) from error
        self.name = name
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._num_names = 0

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The one output of a new node."""
        return self.add_many(operator, inputs, 1, **attributes)[0]

    def add_many(self, operator: str, inputs: Sequence[str], num_outputs: int, **attributes: Any) -> list[str]:
        """The outputs of a new node."""
        outputs = [self._new_name(operator) for _ in range(num_outputs)]
        self._nodes.append(self.onnx.helper.make_node(operator, inputs, outputs, **attributes))
        return outputs

    def constant(self, values: Tensor | Sequence[int]) -> str:
        """Numbers that the file holds: float32, or int64 for a sequence."""
        name = self._new_name("constant")
        held = values.detach() if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.int64)
        self._constants.append(self._tensor(name, held))
        return name

    def input(self, name: str, kind: str, shape: Sequence[int | str], default: Tensor | None = None) -> str:
        """What the file is given; with a default it may be left out."""
        self._inputs.append(self._value(name, kind, shape))
        if default is not None:
            self._constants.append(self._tensor(name, default))
        return name

    def output(self, name: str, value: str, kind: str, shape: Sequence[int | str]) -> None:
        """What the file answers, under a name of its own."""
        self._nodes.append(self.onnx.helper.make_node("Identity", [value], [name]))
        self._outputs.append(self._value(name, kind, shape))

    def proto(self) -> Any:
        """onnx's GraphProto, also for the branch of an If."""
        parts = self._nodes, self.name, self._inputs, self._outputs, self._constants
        return self.onnx.helper.make_graph(*parts)

    def save(self, path: str | Path) -> None:
        """Check the graph, and write it as a file."""
        opset = self.onnx.helper.make_opsetid("", OPSET)
        model = self.onnx.helper.make_model(
            self.proto(), opset_imports=[opset], ir_version=IR_VERSION, producer_name="surnn"
        )
        self.onnx.checker.check_model(model, full_check=True)
        self.onnx.save(model, str(path))

    def _new_name(self, what: str) -> str:
        self._num_names += 1
        return f"{self.name}_{what}_{self._num_names}"

    def _value(self, name: str, kind: str, shape: Sequence[int | str]) -> Any:
        return self.onnx.helper.make_tensor_value_info(name, getattr(self.onnx.TensorProto, kind), shape)

    def _tensor(self, name: str, values: Tensor) -> Any:
        kind = {torch.float32: "FLOAT", torch.int64: "INT64"}[values.dtype]
        raw = values.cpu().contiguous().numpy().tobytes()
        return self.onnx.helper.make_tensor(name, getattr(self.onnx.TensorProto, kind), values.shape, raw, raw=True)


def layer_size(layer: SuLayer) -> int:
    """D * H, numbers per frame that come out."""
    return layer.num_directions * layer.hidden_size


def state_names(layer: SuLayer) -> list[str]:
    """Names of the parts of the state."""
    return ["hidden", "cell"][: layer.cell.num_parts]


def state_inputs(graph: Graph, layer: SuLayer) -> list[str]:
    """The state before the first frame, zeros by default."""
    shape = layer.num_layers * layer.num_directions, layer.hidden_size
    return [graph.input(name, "FLOAT", shape, torch.zeros(shape)) for name in state_names(layer)]


def state_outputs(graph: Graph, layer: SuLayer, after: Sequence[str]) -> None:
    """The state after the last frame."""
    shape = layer.num_layers * layer.num_directions, layer.hidden_size
    for name, value in zip(state_names(layer), after, strict=True):
        graph.output(f"next_{name}", value, "FLOAT", shape)


def add_switch(graph: Graph, gate: Any, frames: str) -> str:
    """(T,) bool, decided by a gate from the inputs glance, pad_left and pad_right; they become inputs of the graph.

    Args:
        graph: gets the outputs is_open and logits, too.
        gate: an EventGate for whole frames.
        frames: name of the input (T, F); where the gate decides another number of frames, running the file fails.

    Raises:
        ValueError: if the gate is another one.
    """
    if not isinstance(gate, EventGate):
        raise ValueError(
            f"gate is a {type(gate).__name__}; the rule is an EventGate; export a layer without a gate, and give the "
            f"file that gate's decisions as is_open"
        )
    if gate.num_neurons is not None:
        raise ValueError(
            f"gate has num_neurons={gate.num_neurons}; ONNX's recurrent operators step whole frames only; take a gate "
            f"with num_neurons=None"
        )
    _check_float32("gate", gate.decision.weight)
    glance = graph.input("glance", "FLOAT", ["C", gate.glance_size])
    sides = ("pad_left", gate.lookback_frames), ("pad_right", gate.lookahead_frames)
    left, right = (graph.input(name, "INT64", [1], torch.tensor([size])) for name, size in sides)
    centred = graph.add("Sub", glance, graph.constant(gate.mean))
    normalised = graph.add("Div", centred, graph.constant(gate.scale))
    zero = graph.constant([0])
    padded = graph.add("Pad", normalised, graph.add("Concat", left, zero, right, zero, axis=0))
    decided = graph.add("Squeeze", _decision(graph, gate, padded), graph.constant([1]))
    num_frames = graph.add("Shape", frames, start=0, end=1)
    fitting = graph.add("Reshape", decided, num_frames, allowzero=1)  # fails unless the sizes agree
    logits = graph.add("Sub", fitting, graph.constant(torch.tensor(float(gate.threshold_shift))))
    is_open = graph.add("Greater", logits, graph.constant(torch.tensor(0.0)))
    graph.output("is_open", is_open, "BOOL", ["T"])
    graph.output("logits", logits, "FLOAT", ["T"])
    return is_open


def _decision(graph: Graph, gate: EventGate, normalised: str) -> str:
    """(T, 1) from the padded glance (T + context, G); what EventGate computes, with the same shifted views."""
    if gate.level_frames is not None:
        size, first = gate.level_frames, graph.constant([0])
        loudness = graph.add("ReduceMean", normalised, axes=[1], keepdims=1)
        line = graph.add("Unsqueeze", graph.add("Transpose", loudness, perm=[1, 0]), first)
        level = graph.add("AveragePool", line, kernel_shape=[2 * size + 1])
        level = graph.add("Transpose", graph.add("Squeeze", level, first), perm=[1, 0])
        normalised = graph.add("Sub", _slice(graph, normalised, size, -size), level)
    hidden = graph.add("Relu", add_linear(graph, gate.entry, normalised))
    for dilation, convolution in zip(gate.dilations, gate.convolutions, strict=True):
        ends = (0, -2 * dilation), (dilation, -dilation), (2 * dilation, TO_THE_END)
        taps = graph.add("Concat", *(_slice(graph, hidden, *end) for end in ends), axis=1)
        hidden = graph.add("Relu", add_linear(graph, convolution, taps))
    return add_linear(graph, gate.decision, hidden)


def add_linear(graph: Graph, linear: Any, rows: str) -> str:
    """(N, outputs) from rows (N, inputs), by a torch.nn.Linear with a bias."""
    return graph.add("Gemm", rows, graph.constant(linear.weight), graph.constant(linear.bias), transB=1)


def add_index(graph: Graph, is_open: str) -> str:
    """(N,) int64: the open frames."""
    return graph.add("Squeeze", graph.add("NonZero", is_open), graph.constant([0]))


def add_layer(graph: Graph, layer: SuLayer, rows: str, state: Sequence[str]) -> tuple[str, list[str]]:
    """Rows (N, D * H) of the open frames, and the state after them, from their rows (N, F) and the state before.

    Raises:
        ValueError: if ONNX's operators cannot do what the layer does.
    """
    _check_float32("layer", layer.layer_weights[0][0].weight_ih)
    if layer.restart is not None:
        raise ValueError(f"layer has {layer.restart}; ONNX's recurrent operators never restart; take restart=None")
    stepped, idle = Graph("stepped"), Graph("idle")
    shapes: list[list[int | str]] = [["N", layer_size(layer)]]
    shapes += [[layer.num_layers * layer.num_directions, layer.hidden_size] for _ in state]
    answers = _stacked(stepped, layer, rows, state), [idle.constant(torch.zeros(0, layer_size(layer))), *state]
    for branch, values in zip((stepped, idle), answers, strict=True):
        for number, (value, shape) in enumerate(zip(values, shapes, strict=True)):
            branch.output(f"{branch.name}_{number}", value, "FLOAT", shape)
    num_open = graph.add("Shape", rows, start=0, end=1)
    has_rows = graph.add("Squeeze", graph.add("Greater", num_open, graph.constant([0])))
    branches = {"then_branch": stepped.proto(), "else_branch": idle.proto()}
    output, *after = graph.add_many("If", [has_rows], 1 + len(state), **branches)
    return output, after


def _stacked(graph: Graph, layer: SuLayer, rows: str, state: Sequence[str]) -> list[str]:
    operator, order, options = OPERATORS[layer.cell.name]
    each = layer.num_directions
    if "activations" in options:
        options = options | {"activations": options["activations"] * each}
    options = options | {"hidden_size": layer.hidden_size, "direction": "bidirectional" if each == 2 else "forward"}
    batch_axis, finals = graph.constant([1]), []
    for number, directions in enumerate(layer.layer_weights):
        own = [
            graph.add("Unsqueeze", _slice(graph, part, number * each, number * each + each), batch_axis)
            for part in state
        ]
        inputs = [graph.add("Unsqueeze", rows, batch_axis), *_weights(graph, directions, order), "", *own]
        above, *final = graph.add_many(operator, inputs, 1 + len(state), **options)
        above = graph.add("Reshape", above, graph.constant([0, layer_size(layer)]))
        rows = graph.add("Add", above, rows) if layer.residual and number > 0 else above
        finals.append([graph.add("Squeeze", part, batch_axis) for part in final])
    return [rows, *(graph.add("Concat", *parts, axis=0) for parts in zip(*finals, strict=True))]


def _weights(graph: Graph, directions: Sequence[Weights], order: tuple[int, ...]) -> list[str]:
    """Names of W, R and B as ONNX's operators take them, both directions in one."""

    def ordered(values: Tensor) -> Tensor:
        blocks = values.chunk(len(order))
        return torch.cat([blocks[block] for block in order])

    names = [
        graph.constant(torch.stack([ordered(weights.weight_ih) for weights in directions])),
        graph.constant(torch.stack([ordered(weights.weight_hh) for weights in directions])),
    ]
    biases = [
        torch.cat([ordered(part) for part in weights[2:] if part is not None])
        for weights in directions
        if weights.bias_ih is not None
    ]
    return [*names, graph.constant(torch.stack(biases)) if biases else ""]


def add_hold(graph: Graph, layer: SuLayer, rows: str, state: Sequence[str], is_open: str) -> str:
    """(T, D * H): each frame has the row of the last open frame so far, before the first one the state.

    The backward direction has the row of the next open frame, after the last one its state.
    """
    before = _rows_before(graph, layer, state[0])
    opened = graph.add("Cast", is_open, to=graph.onnx.TensorProto.INT64)
    axis, size = graph.constant([0]), layer.hidden_size
    until = graph.add("CumSum", opened, axis)
    if layer.num_directions == 1:
        return graph.add("Gather", graph.add("Concat", before, rows, axis=0), until)
    earlier = graph.add("CumSum", opened, axis, exclusive=1)
    halves = [[_slice(graph, part, *ends, axis=1) for part in (before, rows)] for ends in ((0, size), (size, 2 * size))]
    forward = graph.add("Gather", graph.add("Concat", *halves[0], axis=0), until)
    backward = graph.add("Gather", graph.add("Concat", *reversed(halves[1]), axis=0), earlier)
    return graph.add("Concat", forward, backward, axis=1)


def _rows_before(graph: Graph, layer: SuLayer, hidden: str) -> str:
    """(1, D * H): the output while nothing has been open: the last layer's state; with residuals the sum of all."""
    each, shape = layer.num_directions, graph.constant([1, layer_size(layer)])
    first = 0 if layer.residual else layer.num_layers - 1
    total = ""
    for number in range(first, layer.num_layers):
        own = graph.add("Reshape", _slice(graph, hidden, number * each, number * each + each), shape)
        total = graph.add("Add", own, total) if total else own
    return total


def _slice(graph: Graph, values: str, begin: int, end: int, axis: int = 0) -> str:
    return graph.add("Slice", values, *(graph.constant([number]) for number in (begin, end, axis)))


def _check_float32(name: str, weight: Tensor) -> None:
    if weight.dtype != torch.float32:
        raise ValueError(f"{name} has {weight.dtype} weights; the rule is float32; export {name}.float()")
