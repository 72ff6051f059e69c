"""Exported layers are torch's function, and their closed frames reach no recurrent operator."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from surnn import EventGate, Restart, Stride, SuGRU, SuLSTM, SuRNN, Switch, export_onnx
from surnn.layer import SuLayer

SIZE, NEURONS, NUM_FRAMES, GLANCE = 5, 7, 23, 3
LAYERS: dict[str, Any] = {
    "gru": (SuGRU, {}),
    "lstm": (SuLSTM, {}),
    "rnn_tanh": (SuRNN, {}),
    "rnn_relu": (SuRNN, {"nonlinearity": "relu"}),
    "gru, 3 layers, residual": (SuGRU, {"num_layers": 3, "residual": True}),
    "lstm, 2 layers, no bias": (SuLSTM, {"num_layers": 2, "bias": False}),
    "gru, both directions": (SuGRU, {"num_layers": 2, "bidirectional": True, "residual": True}),
    "lstm, both directions": (SuLSTM, {"bidirectional": True}),
    "rnn_relu, both directions": (SuRNN, {"bidirectional": True, "nonlinearity": "relu"}),
}
OPENINGS = {
    "some": torch.arange(NUM_FRAMES) % 4 == 2,
    "all": torch.ones(NUM_FRAMES, dtype=torch.bool),
    "none": torch.zeros(NUM_FRAMES, dtype=torch.bool),
    "the first": torch.arange(NUM_FRAMES) == 0,
    "one": torch.arange(NUM_FRAMES) == 9,
    "no frames": torch.zeros(0, dtype=torch.bool),
}
# ONNX Runtime's sigmoid and tanh are rational approximations, good to some units of float32's last place.
TOLERANCE = {"rtol": 0, "atol": 1e-5}


def layer_of(name: str) -> SuLayer:
    torch.manual_seed(0)
    kind, options = LAYERS[name]
    layer: SuLayer = kind(SIZE, NEURONS, **options).requires_grad_(False)
    return layer


def run(path: Path | onnx.ModelProto, **inputs: Tensor) -> dict[str, Tensor]:
    """Outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    model = path.SerializeToString() if isinstance(path, onnx.ModelProto) else str(path)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(None, {name: values.numpy() for name, values in inputs.items()})
    return dict(zip(names, map(torch.as_tensor, found), strict=True))


def state_of(layer: SuLayer) -> tuple[Tensor, ...]:
    shape = layer.num_layers * layer.num_directions, NEURONS
    return tuple(torch.randn(shape) for _ in range(layer.cell.num_parts))


def expected(
    layer: SuLayer, frames: Tensor, is_open: Tensor, state: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Output and state, by the plain loop of torch."""
    hx = state if len(state) > 1 else state[0]
    result = layer(frames, hx, switch=Switch(is_open.float()[None]), backend="reference")
    return result.output, result.state if len(state) > 1 else (result.state,)


def given_state(state: tuple[Tensor, ...]) -> dict[str, Tensor]:
    return dict(zip(("hidden", "cell"), state, strict=False))


@pytest.mark.parametrize("name", LAYERS)
def test_an_exported_layer_equals_torch(name: str, tmp_path: Path) -> None:
    layer = layer_of(name)
    export_onnx(layer, tmp_path / "layer.onnx")
    for is_open in OPENINGS.values():
        frames, state = torch.randn(len(is_open), SIZE), state_of(layer)
        found = run(tmp_path / "layer.onnx", frames=frames, is_open=is_open, **given_state(state))
        output, after = expected(layer, frames, is_open, state)
        torch.testing.assert_close(found["output"], output, **TOLERANCE)
        for part, wanted in zip(("next_hidden", "next_cell"), after, strict=False):
            torch.testing.assert_close(found[part], wanted, **TOLERANCE)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_a_stream_begins_with_zeros_where_no_state_is_given(name: str, tmp_path: Path) -> None:
    layer, frames, is_open = layer_of(name), torch.randn(NUM_FRAMES, SIZE), OPENINGS["some"]
    export_onnx(layer, tmp_path / "layer.onnx")
    zeros = tuple(torch.zeros_like(part) for part in state_of(layer))
    output, _ = expected(layer, frames, is_open, zeros)
    torch.testing.assert_close(
        run(tmp_path / "layer.onnx", frames=frames, is_open=is_open)["output"], output, **TOLERANCE
    )


@pytest.mark.parametrize("name", ["gru, 3 layers, residual", "lstm", "rnn_tanh"])
def test_a_stream_may_be_cut_anywhere(name: str, tmp_path: Path) -> None:
    layer, frames, is_open = layer_of(name), torch.randn(NUM_FRAMES, SIZE), OPENINGS["some"]
    export_onnx(layer, tmp_path / "layer.onnx")
    state = state_of(layer)
    whole = run(tmp_path / "layer.onnx", frames=frames, is_open=is_open, **given_state(state))
    outputs, carried = [], given_state(state)
    for begin, end in ((0, 9), (9, 10), (10, NUM_FRAMES)):  # the middle block has no open frame
        block = run(tmp_path / "layer.onnx", frames=frames[begin:end], is_open=is_open[begin:end], **carried)
        outputs.append(block["output"])
        carried = {name: block[f"next_{name}"] for name in carried}
    torch.testing.assert_close(torch.cat(outputs), whole["output"], **TOLERANCE)
    for part in carried:
        torch.testing.assert_close(carried[part], whole[f"next_{part}"], **TOLERANCE)


def test_closed_frames_are_held_to_the_last_bit(tmp_path: Path) -> None:
    layer, is_open = layer_of("gru, 3 layers, residual"), OPENINGS["some"]
    export_onnx(layer, tmp_path / "layer.onnx")
    output = run(tmp_path / "layer.onnx", frames=torch.randn(NUM_FRAMES, SIZE), is_open=is_open)["output"]
    for frame in (~is_open).nonzero()[1:, 0].tolist():
        if frame > 0:
            assert torch.equal(output[frame], output[frame - 1])


def with_steps_shown(path: Path, operator: str) -> onnx.ModelProto:
    """The model with one output more: the rows that its recurrent operators were given, (N, 1, F)."""
    model = onnx.load(path)
    (branch,) = (node for node in model.graph.node if node.op_type == "If")
    branches = {attribute.name: attribute.g for attribute in branch.attribute}
    stepped, idle = branches["then_branch"], branches["else_branch"]
    (recurrent,) = (node for node in stepped.node if node.op_type == operator)
    shown = onnx.helper.make_tensor_value_info("shown", onnx.TensorProto.FLOAT, ["N", 1, SIZE])
    stepped.node.append(onnx.helper.make_node("Identity", [recurrent.input[0]], ["shown_stepped"]))
    stepped.output.append(onnx.helper.make_tensor_value_info("shown_stepped", onnx.TensorProto.FLOAT, ["N", 1, SIZE]))
    idle.initializer.append(onnx.numpy_helper.from_array(np.zeros((0, 1, SIZE), np.float32), "nothing"))
    idle.node.append(onnx.helper.make_node("Identity", ["nothing"], ["shown_idle"]))
    idle.output.append(onnx.helper.make_tensor_value_info("shown_idle", onnx.TensorProto.FLOAT, ["N", 1, SIZE]))
    branch.output.append("shown")
    model.graph.output.append(shown)
    return model


@pytest.mark.parametrize(("name", "operator"), [("gru", "GRU"), ("lstm", "LSTM"), ("rnn_tanh", "RNN")])
def test_there_are_as_many_recurrent_steps_as_open_frames(name: str, operator: str, tmp_path: Path) -> None:
    export_onnx(layer_of(name), tmp_path / "layer.onnx")
    model = with_steps_shown(tmp_path / "layer.onnx", operator)
    for is_open in OPENINGS.values():
        frames = torch.randn(len(is_open), SIZE)
        steps = run(model, frames=frames, is_open=is_open)["shown"]
        assert torch.equal(steps[:, 0], frames[is_open])


@pytest.mark.parametrize("name", LAYERS)
def test_recurrent_operators_stand_only_where_something_is_open(name: str, tmp_path: Path) -> None:
    layer = layer_of(name)
    export_onnx(layer, tmp_path / "layer.onnx")
    graph = onnx.load(tmp_path / "layer.onnx").graph
    recurrent = {"GRU", "LSTM", "RNN", "Loop", "Scan"}
    assert not recurrent & {node.op_type for node in graph.node}
    (branch,) = (node for node in graph.node if node.op_type == "If")
    found = {attribute.name: [node.op_type for node in attribute.g.node] for attribute in branch.attribute}
    assert sum(operator in recurrent for operator in found["then_branch"]) == layer.num_layers
    assert set(found["else_branch"]) == {"Identity"}


def gate_of(**options: Any) -> EventGate:
    torch.manual_seed(1)
    gate = EventGate(GLANCE, channels=6, dilations=(1, 2), initial_logit=0.0, **options).requires_grad_(False)
    gate.set_statistics(torch.randn(GLANCE), torch.rand(GLANCE) + 0.5)
    return gate


def parted(gate: EventGate, glance: Tensor) -> None:
    """Put the threshold in the middle of the logits' widest gap, so that rounding flips none."""
    logits = gate.switch(glance[None]).logits
    assert logits is not None
    ordered = logits.flatten().sort().values[2:-2]
    widest = int(ordered.diff().argmax())
    gate.threshold_shift = float(ordered[widest : widest + 2].mean())


@pytest.mark.parametrize("level_frames", [None, 2])
def test_an_exported_gate_decides_as_torch_over_whole_recordings(level_frames: int | None, tmp_path: Path) -> None:
    layer, gate = layer_of("gru"), gate_of(level_frames=level_frames)
    frames, glance = torch.randn(NUM_FRAMES, SIZE), torch.randn(NUM_FRAMES, GLANCE)
    parted(gate, glance)
    export_onnx(layer, tmp_path / "layer.onnx", gate=gate)
    found = run(tmp_path / "layer.onnx", frames=frames, glance=glance)
    layer.gate = gate
    wanted = layer(frames, glance=glance[None], backend="reference")
    assert wanted.switch is not None
    assert 0 < int(found["is_open"].sum()) < NUM_FRAMES
    assert torch.equal(found["is_open"], wanted.switch.frames[0] > 0.5)
    torch.testing.assert_close(found["logits"], wanted.switch.logits[0], **TOLERANCE)
    torch.testing.assert_close(found["output"], wanted.output, **TOLERANCE)


@pytest.mark.parametrize("level_frames", [None, 2])
def test_blocks_with_true_context_decide_as_one_pass(level_frames: int | None, tmp_path: Path) -> None:
    gate = gate_of(level_frames=level_frames)
    layer = SuGRU(SIZE, NEURONS, gate=gate).requires_grad_(False)
    frames, glance = torch.randn(NUM_FRAMES, SIZE), torch.randn(NUM_FRAMES, GLANCE)
    parted(gate, glance)
    path, context = tmp_path / "layer.onnx", gate.lookback_frames
    export_onnx(layer, path)
    whole = run(path, frames=frames, glance=glance)
    found, hidden = [], torch.zeros(1, NEURONS)
    for begin, end in ((0, 8), (8, 15), (15, NUM_FRAMES)):
        seen = glance[max(0, begin - context) : end + context]
        pads = {
            "pad_left": torch.tensor([max(0, context - begin)]),
            "pad_right": torch.tensor([max(0, end + context - NUM_FRAMES)]),
        }
        found.append(run(path, frames=frames[begin:end], glance=seen, hidden=hidden, **pads))
        hidden = found[-1]["next_hidden"]
    for part in ("is_open", "logits", "output"):
        torch.testing.assert_close(torch.cat([block[part] for block in found]), whole[part], **TOLERANCE)


@pytest.mark.parametrize("level_frames", [None, 2])
def test_a_gate_decides_an_empty_recording(level_frames: int | None, tmp_path: Path) -> None:
    export_onnx(layer_of("lstm"), tmp_path / "layer.onnx", gate=gate_of(level_frames=level_frames))
    found = run(tmp_path / "layer.onnx", frames=torch.zeros(0, SIZE), glance=torch.zeros(0, GLANCE))
    assert found["output"].shape == (0, NEURONS)
    assert found["is_open"].shape == (0,)


@pytest.mark.parametrize("num_seen", [NUM_FRAMES - 1, NUM_FRAMES + 1, 1])
def test_a_glance_of_other_frames_is_refused(num_seen: int, tmp_path: Path) -> None:
    export_onnx(layer_of("gru"), tmp_path / "layer.onnx", gate=gate_of())
    with pytest.raises(Exception, match="Reshape"):
        run(tmp_path / "layer.onnx", frames=torch.randn(NUM_FRAMES, SIZE), glance=torch.randn(num_seen, GLANCE))


@pytest.mark.parametrize(
    ("layer", "gate", "message"),
    [
        (SuGRU(SIZE, NEURONS), gate_of(num_neurons=NEURONS), "num_neurons=7; ONNX's recurrent operators"),
        (SuGRU(SIZE, NEURONS, gate=Stride(SIZE, every=2)), None, "gate is a Stride; the rule is an EventGate"),
        (SuGRU(SIZE, NEURONS, dtype=torch.float64), None, "layer has torch.float64 weights"),
        (SuGRU(SIZE, NEURONS), gate_of().double(), "gate has torch.float64 weights"),
        (SuGRU(SIZE, NEURONS, bidirectional=True, restart=Restart(3)), None, "take restart=None"),
    ],
)
def test_what_the_operators_cannot_do_is_refused(
    layer: SuLayer, gate: EventGate | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        export_onnx(layer, tmp_path / "layer.onnx", gate=gate)
    assert not (tmp_path / "layer.onnx").exists()


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = importlib.import_module

    def without_onnx(name: str) -> Any:
        if name == "onnx":
            raise ImportError(name)
        return whole(name)

    monkeypatch.setattr(importlib, "import_module", without_onnx)
    with pytest.raises(ImportError, match="uv add 'onnx"):
        export_onnx(layer_of("gru"), tmp_path / "layer.onnx")
