"""Dense recurrent layers of other libraries with the weights of one of ours: what the kernels are compared with."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from surnn import SuGRU, SuLSTM, SuRNN
from surnn.layer import SuLayer

LAYERS: dict[str, tuple[Any, Any, str]] = {
    "gru": (SuGRU, nn.GRU, "rzn"),
    "lstm": (SuLSTM, nn.LSTM, "ifco"),
    "rnn": (SuRNN, nn.RNN, "n"),
}
ONNX_ORDER = {"gru": "zrn", "lstm": "iofc", "rnn": "n"}
Call = Callable[[], Tensor]


def torch_call(cell: str, layer: SuLayer, frames: Tensor) -> Call:
    """torch's own dense layer; calling it gives (B, T, H)."""
    dense = LAYERS[cell][1](layer.input_size, layer.hidden_size, batch_first=True, dtype=frames.dtype)
    dense.load_state_dict(layer.state_dict())
    return lambda: torch.as_tensor(dense(frames)[0])


def onnx_call(cell: str, layer: SuLayer, frames: Tensor, *, num_threads: int) -> Call:
    """ONNX Runtime's dense operator on frames in the order that it likes; calling it gives (B, T, H)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    model = onnx_model(cell, layer)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    array = np.ascontiguousarray(frames.numpy().transpose(1, 0, 2))
    return lambda: torch.from_numpy(session.run(None, {"X": array})[0][:, 0]).transpose(0, 1)


def onnx_model(cell: str, layer: SuLayer) -> onnx.ModelProto:
    """One operator with the weights of a layer: X (T, B, F) to Y (T, 1, B, H)."""
    state = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
    ours, theirs = LAYERS[cell][2], ONNX_ORDER[cell]

    def reorder(values: Any) -> Any:
        blocks = dict(zip(ours, np.split(values, len(ours)), strict=True))
        return np.concatenate([blocks[block] for block in theirs])

    weights = {
        "W": reorder(state["weight_ih_l0"])[None],
        "R": reorder(state["weight_hh_l0"])[None],
        "B": np.concatenate([reorder(state["bias_ih_l0"]), reorder(state["bias_hh_l0"])])[None],
    }
    kind = TensorProto.FLOAT if weights["W"].dtype == np.float32 else TensorProto.DOUBLE
    options: dict[str, Any] = {"linear_before_reset": 1} if cell == "gru" else {}
    node = helper.make_node(cell.upper(), ["X", *weights], ["Y"], hidden_size=layer.hidden_size, **options)
    graph = helper.make_graph(
        [node],
        cell,
        [helper.make_tensor_value_info("X", kind, ["T", "B", layer.input_size])],
        [helper.make_tensor_value_info("Y", kind, ["T", 1, "B", layer.hidden_size])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
