"""The listener of livekit-wakeword as it is, hearing an array instead of a microphone."""

import asyncio
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

RATE_HZ, FRAME_SAMPLES, CHUNK_FRAMES = 16_000, 1280, 25  # as livekit-wakeword 0.3 has them
EMBEDDINGS, EMBEDDING_SIZE, CLASSIFIER_SIZE = 16, 96, 32  # of its "small" classifier


class _AudioEnd(Exception):
    """The file is over."""


def file_microphone(samples: Tensor) -> Any:
    """What the listener takes for the module pyaudio: a microphone that hears (samples,) at 16 kHz, without waiting."""
    pcm = (samples * 32768).round().clamp(-32768, 32767).to(torch.int16).numpy()
    frames = iter(pcm[: len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES))

    def read(num_samples: int, *, exception_on_overflow: bool) -> bytes:
        assert num_samples == FRAME_SAMPLES
        assert not exception_on_overflow
        frame = next(frames, None)
        if frame is None:
            raise _AudioEnd
        return bytes(frame.tobytes())

    stream = SimpleNamespace(read=read, stop_stream=lambda: None, close=lambda: None)
    device = SimpleNamespace(open=lambda **_: stream, terminate=lambda: None)
    return SimpleNamespace(PyAudio=lambda: device, paInt16=8)


def write_classifier(path: Path) -> None:
    """A classifier for the listener, as small as its package's "small": untrained, it never answers above 0.02."""
    from onnx import TensorProto, helper, numpy_helper, save

    numbers = np.random.default_rng(0).standard_normal((EMBEDDINGS * EMBEDDING_SIZE, CLASSIFIER_SIZE)) * 0.01
    weights = {"w": numbers, "v": np.zeros((CLASSIFIER_SIZE, 1)), "b": np.full(1, -4.0)}
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["rectified"]),
        helper.make_node("Gemm", ["rectified", "v", "b"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, EMBEDDINGS, EMBEDDING_SIZE])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "untrained", inputs, outputs, constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def listener_speed(samples: Tensor, num_words: int, clock: Callable[[], float]) -> float:
    """How many times real time livekit-wakeword's listener hears (samples,) at 16 kHz, with so many untrained words."""
    from livekit.wakeword import WakeWordListener, WakeWordModel  # type: ignore[import-untyped]
    from onnxruntime import SessionOptions  # type: ignore[import-untyped]

    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    logging.getLogger("livekit.wakeword.inference.listener").disabled = True  # it would call the file's end a crash

    async def listen() -> None:
        async with WakeWordListener(model) as listener:
            await listener.wait_for_detection()

    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(sys.modules, pyaudio=file_microphone(samples)):
        paths = [Path(folder) / f"word{number}.onnx" for number in range(num_words)]
        for path in paths:
            write_classifier(path)
        model = WakeWordModel(models=paths, sess_options=options)
        begun = clock()
        try:
            asyncio.run(listen())
        except RuntimeError as error:
            if not isinstance(error.__cause__, _AudioEnd):
                raise
        taken = clock() - begun
    num_answers = len(samples) // FRAME_SAMPLES - CHUNK_FRAMES + 1  # the first once 2 s are there
    return num_answers * FRAME_SAMPLES / RATE_HZ / taken
