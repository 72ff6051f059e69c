"""Rooms, filters, levels and noises against hand-worked cases and other libraries."""

import numpy as np
import pytest
import scipy.signal  # type: ignore[import-untyped]

from pipelines.corpora import acoustics
from pipelines.corpora.noises import UNSTEADY, coloured_noise

RATE_HZ = acoustics.RATE_HZ


def response_db(sections: np.ndarray, frequencies_hz: list[float]) -> np.ndarray:
    _, response = scipy.signal.sosfreqz(sections, np.array(frequencies_hz), fs=RATE_HZ)
    return np.asarray(20.0 * np.log10(np.abs(response)))


def test_limits_of_a_tone_between_silences() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(3200) / RATE_HZ)
    samples = np.concatenate([np.zeros(1600), tone, 0.003 * tone, np.zeros(800)]).astype(np.float32)
    assert acoustics.sound_limits(samples) == (1600, 4800)  # the echo is 50 dB down
    assert acoustics.sound_limits(samples, range_db=60.0) == (1600, 8000)
    with pytest.raises(ValueError, match="100 samples are silent"):
        acoustics.sound_limits(np.zeros(100, dtype=np.float32))


def test_frame_power_counts_a_short_last_frame_by_its_own_length() -> None:
    assert acoustics.frame_power(np.full(200, 0.5, dtype=np.float32)).tolist() == [0.25, 0.25]


def test_rooms_begin_with_the_direct_sound_and_decay() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        room = acoustics.room_response(generator)
        assert room[0] == 1.0
        assert np.abs(room[1 : int(0.002 * RATE_HZ)]).max() == 0.0
        quarters = np.array_split(np.square(room[1:], dtype=np.float64), 4)
        fall_db = 10 * np.log10(quarters[1].sum() / quarters[3].sum())
        assert 15.0 < fall_db < 30.0  # the response spans 45 dB of decay; two quarters of it are 22.5 dB
        assert 10 ** (-15 / 10) - 1e-3 <= np.sum(np.square(room[1:])) <= 10 ** (2 / 10) + 1e-3


def test_shelves_and_peak_reach_their_gain_and_leave_the_far_end_alone() -> None:
    assert response_db(acoustics._shelf(300.0, 6.0, -1.0)[None], [1.0, 7900.0]) == pytest.approx([6.0, 0.0], abs=0.05)
    assert response_db(acoustics._shelf(3000.0, -8.0, 1.0)[None], [1.0, 7999.0]) == pytest.approx([0.0, -8.0], abs=0.05)
    assert response_db(acoustics._peak(1000.0, 5.0)[None], [1.0, 1000.0, 7999.0]) == pytest.approx([0, 5, 0], abs=0.05)


def test_telephone_band_leaves_nothing_that_8_khz_could_not_hold() -> None:
    generator = np.random.default_rng(0)
    for _ in range(10):
        band = acoustics.telephone_band(generator)
        assert response_db(band, [1000.0])[0] == pytest.approx(0.0, abs=0.5)
        assert response_db(band, [4300.0, 6000.0, 7900.0]).max() < -40.0


def test_convolution_equals_numpy() -> None:
    generator = np.random.default_rng(0)
    samples, response = (generator.standard_normal(size).astype(np.float32) for size in (1001, 333))
    expected = np.convolve(samples.astype(np.float64), response.astype(np.float64))
    assert acoustics.convolve(samples, response) == pytest.approx(expected, abs=1e-3)  # float32 sums of 333 products


@pytest.mark.parametrize("name", sorted(UNSTEADY))
def test_unsteady_noise_has_unit_power_and_changes_while_steady_noise_does_not(name: str) -> None:
    def swing_db(samples: np.ndarray) -> float:
        """How far apart the loudest and the quietest tenth of 50 ms stretches are."""
        power = np.square(samples.astype(np.float64)).reshape(-1, 800).mean(axis=1)
        quiet, loud = np.quantile(10 * np.log10(power + 1e-9), [0.1, 0.9])
        return float(loud - quiet)

    for seed in range(4):
        sound = UNSTEADY[name](np.random.default_rng(seed), 4 * RATE_HZ)
        assert sound.dtype == np.float32
        assert np.mean(np.square(sound)) == pytest.approx(1.0, rel=1e-3)
        assert np.array_equal(sound, UNSTEADY[name](np.random.default_rng(seed), 4 * RATE_HZ))
        assert swing_db(sound) > 2.5
        steady = coloured_noise(np.random.default_rng(seed), 4 * RATE_HZ)
        assert swing_db(steady) < swing_db(sound)


@pytest.mark.parametrize("name", sorted(UNSTEADY))
def test_shortest_noise_is_never_empty(name: str) -> None:
    for seed in range(20):
        sound = UNSTEADY[name](np.random.default_rng(seed), int(0.3 * RATE_HZ))
        assert np.isfinite(sound).all()
        assert np.mean(np.square(sound)) == pytest.approx(1.0, rel=1e-3)
