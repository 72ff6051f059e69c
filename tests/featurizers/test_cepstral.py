"""Mfcc and Pcen equal librosa's on the same mel, and any cut gives the same frames."""

import librosa
import numpy as np
import pytest
import torch

from featurizers.audio import LogMel
from featurizers.cepstral import Mfcc, Pcen, smoothing_of
from featurizers.grid import Featurizer, Grid
from featurizers.runs import AudioSource, Run, evaluate_runs, silence_frame
from featurizers.testing import check_featurizer

GRID = Grid(0.08)


def bursts(seconds: float, seed: int = 0) -> torch.Tensor:
    """Noise whose loudness changes by 40 dB every half second."""
    samples = 0.3 * torch.randn(round(seconds * 16_000), generator=torch.Generator().manual_seed(seed))
    return samples * torch.where(torch.arange(len(samples)) % 16_000 < 8_000, 1.0, 0.01)


def frames_of(featurizer: Featurizer, samples: torch.Tensor, num_frames: int) -> torch.Tensor:
    return evaluate_runs(featurizer, GRID, [Run(0, num_frames)], AudioSource(samples)).features


def test_mfcc_equals_librosa_and_torchaudio_on_the_same_mel() -> None:
    samples = bursts(3.0)
    found = frames_of(Mfcc(GRID), samples, 36).reshape(-1, 20)
    mel = LogMel(GRID, num_mels=40, min_hz=20.0, max_hz=7600.0)
    decibels = 10 * (mel.mel_rows(frames_of(mel, samples, 36)).numpy() - 2)
    expected = librosa.feature.mfcc(S=decibels.T, n_mfcc=20).T
    np.testing.assert_allclose(found, expected, atol=1e-3)  # sums of 40 float32 of about 100 dB


def test_mfcc_equals_librosa_from_samples_on() -> None:
    samples = bursts(2.0)
    power = librosa.feature.melspectrogram(
        y=samples.numpy(), sr=16_000, n_fft=512, win_length=400, hop_length=160, center=False, n_mels=40, fmin=20.0,
        fmax=7600.0, power=2.0,
    )  # fmt: skip
    decibels = librosa.power_to_db(power, amin=1e-8, top_db=None)
    expected = librosa.feature.mfcc(S=decibels, n_mfcc=13).T[:184]
    found = frames_of(Mfcc(GRID, num_coefficients=13), samples, 23).reshape(-1, 13)
    np.testing.assert_allclose(found, expected, atol=0.02)  # decibels; two Fourier transforms in float32


def librosa_pcen(samples: torch.Tensor, num_frames: int) -> np.ndarray:
    """The same energies through librosa's endless smoother that starts at 0, before the first window."""
    mel = LogMel(GRID, floor_db=-200.0)
    rows = mel.mel_rows(evaluate_runs(mel, GRID, [Run(-1, num_frames + 1)], AudioSource(samples)).features)
    energy = 10.0 ** (rows.double().numpy() - 2) * 32768.0**2
    expected: np.ndarray = librosa.pcen(
        energy.T, sr=16_000, hop_length=160, time_constant=0.4, eps=1e-6, gain=0.98, bias=2.0, power=0.5,
        zi=np.zeros((32, 1)),
    ).T[8:]  # fmt: skip
    assert expected.shape == (num_frames * 8, 32)
    return expected


def test_pcen_equals_librosa_exactly_as_long_as_its_memory_reaches_back_to_the_start() -> None:
    pcen, samples = Pcen(GRID), bursts(3.0)
    num_frames = pcen.memory_rows // 8 - 1
    found = frames_of(pcen, samples, num_frames).reshape(-1, 32)
    np.testing.assert_allclose(found, librosa_pcen(samples, num_frames), rtol=2e-4, atol=2e-4)  # float32


@pytest.mark.parametrize("forgotten", [1e-2, 1e-3, 1e-6])
def test_pcen_differs_from_librosa_by_no_more_than_what_it_forgets(forgotten: float) -> None:
    pcen, samples = Pcen(GRID, forgotten=forgotten), 0.3 * torch.randn(16_000 * 12)
    forgets = (1 - pcen.smoothing) ** pcen.memory_rows
    assert forgets <= forgotten
    found = frames_of(pcen, samples, 140).reshape(-1, 32).double().numpy()
    expected = librosa_pcen(samples, 140)
    error = np.abs(found / expected - 1)[pcen.memory_rows :].max()
    # M is low by q M[t - K]; on steady noise, whose smoothed level stays within a factor of 2.5, that is 2.5 q of M
    assert error <= 0.98 * 2.5 * forgets * 1.2 + 2e-4
    if forgotten == 1e-2:
        assert error > 1e-3  # the bound is no empty one: what is forgotten shows


def test_pcen_takes_off_a_steady_level() -> None:
    samples = 0.3 * torch.randn(16_000 * 8, generator=torch.Generator().manual_seed(0))
    loud, quiet = (frames_of(Pcen(GRID), level * samples, 90)[60:] for level in (1.0, 0.01))
    assert 1.0 < float(loud.mean() / quiet.mean()) < 1.2  # 40 dB to the power of 1 - gain is a factor of 1.2


def test_smoothing_is_librosas() -> None:
    rows = 0.4 * 16_000 / 160
    s = smoothing_of(rows)
    assert s**2 * rows**2 + s == pytest.approx(1.0)


@pytest.mark.parametrize(
    "featurizer", [Mfcc(GRID), Pcen(GRID, forgotten=0.05, hop_seconds=0.02, num_mels=16), Pcen(GRID, forgotten=0.02)]
)
def test_both_keep_the_promises_of_a_featurizer(featurizer: Featurizer) -> None:
    check_featurizer(featurizer, GRID, seconds=4.0 if isinstance(featurizer, Mfcc) else 7.0)


def test_both_can_be_a_glance() -> None:
    assert silence_frame(Pcen(GRID), GRID).abs().max() < 1e-3
    silence = silence_frame(Mfcc(GRID), GRID).reshape(8, 20)
    np.testing.assert_allclose(silence[:, 0], -80.0 * np.sqrt(40), rtol=1e-5)  # 40 bands at the floor, orthonormal
    np.testing.assert_allclose(silence[:, 1:], 0.0, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gain": 1.5}, r"gain=1\.5 must be from 0 to 1"),
        ({"bias": 0.0}, r"bias=0\.0 must be above 0"),
        ({"time_constant_seconds": -1.0}, "time_constant_seconds"),
        ({"forgotten": 0.0}, r"forgotten=0\.0"),
        ({"max_hz": 9000.0}, "max_hz <= 8000"),
    ],
)
def test_settings_of_pcen_that_do_not_fit_say_why(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pcen(GRID, **options)  # type: ignore[arg-type]


def test_more_coefficients_than_bands_are_refused() -> None:
    with pytest.raises(ValueError, match="num_coefficients=50 must be 1 to num_mels=40"):
        Mfcc(GRID, num_coefficients=50)
