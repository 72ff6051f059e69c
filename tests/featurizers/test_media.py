"""Every container gives the same samples, on its own clock; everything unreadable says why in one line."""

import pickle
import subprocess
import sys
import tracemalloc
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soxr
import torch

from featurizers.media import MediaError, array_blocks, open_audio, write_audio

RATE_HZ = 16_000


def tone(seconds: float, rate_hz: int = RATE_HZ, channels: int = 1) -> np.ndarray:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    rows = [0.4 * np.sin(2 * np.pi * (300 + 200 * c) * time) * np.cos(3 * time) for c in range(channels)]
    return np.array(rows, dtype=np.float32)


def encode(
    path: Path,
    samples: np.ndarray,
    rate_hz: int,
    codec: str,
    kind: str,
    layout: str = "mono",
    jumps: dict[int, int] | None = None,
) -> Path:
    """Write with any encoder; `jumps`: from a sample (a multiple of 1024) on, timestamps move by so many samples."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, options={"frame_size": "1024"} if codec == "flac" else {})
        stream.layout, stream.format = layout, kind
        moved = 0
        for first in range(0, samples.shape[1], 1024):
            moved += (jumps or {}).get(first, 0)
            part = samples[:, first : first + 1024]
            if kind.startswith("s16"):
                part = np.round(part * 32767).astype(np.int16)
            if not kind.endswith("p"):
                part = part.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format=kind, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, first + moved, Fraction(1, rate_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_wav(path: Path, samples: np.ndarray, rate_hz: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.round(samples.T * 32767).astype("<i2").tobytes())
    return path


def read(path: Path, rate_hz: int = RATE_HZ, block: int = 1000, channel: int | None = None) -> torch.Tensor:
    with open_audio(path, rate_hz, channel=channel) as stream:
        return torch.cat(list(stream.blocks(block)))


def broken(path: Path, rate_hz: int = RATE_HZ, **options: int) -> MediaError:
    with pytest.raises(MediaError) as caught, open_audio(path, rate_hz, **options) as stream:
        list(stream.blocks(1000))
    assert "\n" not in str(caught.value)
    return caught.value


def test_wav_and_flac_give_the_samples_that_were_written(tmp_path: Path) -> None:
    samples = tone(1.5)
    write_audio(tmp_path / "a.flac", samples, RATE_HZ)
    for path in (tmp_path / "a.flac", write_wav(tmp_path / "a.wav", samples, RATE_HZ)):
        found = read(path)
        assert len(found) == samples.shape[1]
        np.testing.assert_allclose(found, samples[0], atol=1 / 16_000)  # 16 bits: one step is 1 / 32768


@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [("a.mp3", "libmp3lame", "fltp"), ("a.m4a", "aac", "fltp"), ("a.ogg", "libopus", "flt"), ("a.mka", "flac", "s16")],
)
def test_padding_of_a_codec_is_skipped_so_that_events_keep_their_time(
    tmp_path: Path, name: str, codec: str, kind: str
) -> None:
    samples = 0.001 * tone(2.0)
    samples[0, 16_000:16_160] = 0.8 * np.sin(np.arange(160))  # a click at 1 s
    path = encode(tmp_path / name, samples, 16_000, codec, kind)
    with open_audio(path, RATE_HZ) as stream:
        found = torch.cat(list(stream.blocks(4096)))
        start = stream.start_seconds
    # An MP4 may keep its 64 ms of priming before time zero and say so by its timestamp; then the sum is what counts.
    origin = 0.0 if name != "a.mp3" else start
    click = int(found.abs().gt(0.3).nonzero()[0]) / RATE_HZ + start - origin
    assert click == pytest.approx(1.0, abs=0.003)


def test_the_clock_of_the_container_is_kept(tmp_path: Path) -> None:
    path = encode(tmp_path / "late.mka", tone(1.0), RATE_HZ, "flac", "s16", jumps={0: 5 * RATE_HZ})
    with open_audio(path, RATE_HZ) as stream:
        assert stream.start_seconds == pytest.approx(5.0, abs=0.001)  # Matroska counts milliseconds
        assert sum(len(block) for block in stream.blocks(999)) == RATE_HZ


def test_a_gap_between_timestamps_becomes_silence(tmp_path: Path) -> None:
    samples = tone(1.024)
    path = encode(tmp_path / "gap.mka", samples, RATE_HZ, "flac", "s16", jumps={8192: 4800})
    found = read(path)
    assert len(found) == pytest.approx(samples.shape[1] + 4800, abs=16)
    assert found[8192 + 16 : 8192 + 4784].abs().max() == 0
    np.testing.assert_allclose(found[-4000:], samples[0, -4000:], atol=1e-4)


def test_an_overlap_of_timestamps_is_trimmed(tmp_path: Path) -> None:
    samples = tone(1.024)
    path = encode(
        tmp_path / "lap.mka", samples, RATE_HZ, "pcm_s16le", "s16", jumps={8192 + 1024 * k: -512 for k in range(4)}
    )
    found = read(path)
    assert len(found) == pytest.approx(samples.shape[1] - 2048, abs=16)
    np.testing.assert_allclose(found[:8192], samples[0, :8192], atol=1e-4)
    np.testing.assert_allclose(found[-4000:], samples[0, -4000:], atol=1e-4)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 96_000])
def test_any_rate_becomes_the_rate_asked_for(tmp_path: Path, rate_hz: int) -> None:
    samples = tone(1.0, rate_hz)
    found = read(write_wav(tmp_path / "a.wav", samples, rate_hz))
    assert len(found) == RATE_HZ
    middle = slice(1000, -1000)  # the resampler's filter needs room at both ends
    np.testing.assert_allclose(found[middle], tone(1.0)[0][middle], atol=1e-3)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_samples_do_not_depend_on_the_block_size(tmp_path: Path, rate_hz: int) -> None:
    path = write_wav(tmp_path / "a.wav", tone(1.3, rate_hz), rate_hz)
    whole = read(path, block=10**9)
    for block in (1, 160, 4097):
        with open_audio(path, RATE_HZ) as stream:
            blocks = list(stream.blocks(block))
        assert {len(b) for b in blocks[:-1]} == {block}
        assert 0 < len(blocks[-1]) <= block
        assert torch.equal(torch.cat(blocks), whole)


def test_mono_is_the_mean_over_channels_or_the_channel_asked_for(tmp_path: Path) -> None:
    samples = tone(0.5, channels=6)
    path = write_wav(tmp_path / "six.wav", samples, RATE_HZ)
    np.testing.assert_allclose(read(path), samples.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(read(path, channel=4), samples[4], atol=1e-4)
    assert "no channel 6; it has channels 0 to 5" in str(broken(path, channel=6))


def test_twenty_milliseconds_and_silence_are_audio(tmp_path: Path) -> None:
    assert len(read(write_wav(tmp_path / "short.wav", tone(0.02), RATE_HZ))) == 320
    assert read(write_wav(tmp_path / "silent.wav", np.zeros((1, 8000)), RATE_HZ)).abs().max() == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_numbers_that_are_no_sound_are_named_with_their_time(tmp_path: Path, value: float) -> None:
    samples = tone(2.0)
    samples[0, 24_000] = value
    error = broken(encode(tmp_path / "a.wav", samples, RATE_HZ, "pcm_f32le", "flt"))
    assert "1.500 s" in str(error)
    assert error.read_seconds == pytest.approx(1.5)


def test_what_is_no_media_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("This is a shopping list.\n" * 100)
    (tmp_path / "empty.wav").touch()
    write_wav(tmp_path / "header.wav", np.zeros((1, 0)), RATE_HZ)
    assert "does not exist" in str(broken(tmp_path / "missing.wav"))
    assert "is a folder" in str(broken(tmp_path))
    assert "is empty" in str(broken(tmp_path / "empty.wav"))
    assert "not a media file" in str(broken(tmp_path / "text.wav"))
    assert "without a single sample" in str(broken(tmp_path / "header.wav"))


def test_video_without_sound_says_so(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    assert "no audio stream; it holds video" in str(broken(tmp_path / "a.mkv"))


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_truncated_file_says_where_it_ends(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.wav":
        write_wav(path, tone(10.0), RATE_HZ)
    else:
        write_audio(path, tone(10.0), RATE_HZ)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    error = broken(path)
    assert "cut off" in str(error)
    assert 4.0 < error.read_seconds < 6.0


def test_a_damaged_flac_is_not_read_as_if_it_were_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    write_audio(path, np.random.default_rng(0).uniform(-0.5, 0.5, 160_000), RATE_HZ)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = b"\xff" * 2000
    path.write_bytes(data)
    error = broken(path)
    assert "damaged" in str(error)
    assert 4.0 < error.read_seconds < 6.0


def test_a_wav_whose_length_was_left_open_is_whole(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(1.0), RATE_HZ)
    data = bytearray(path.read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(read(path)) == RATE_HZ


def test_an_odd_name_is_a_file_and_not_a_protocol(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "http:take 1 %d é.wav", tone(0.1), RATE_HZ)
    assert len(read(path)) == 1600


def test_a_broken_file_prints_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    write_audio(path, tone(3.0), RATE_HZ)
    path.write_bytes(path.read_bytes()[:9_000])
    code = (
        "from featurizers.media import *\n"
        f"try: list(open_audio({str(path)!r}, 16000).blocks(100))\n"
        "except MediaError: print('caught')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("caught\n", "")


def test_memory_stays_bounded_while_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    write_audio(path, tone(120.0), RATE_HZ)  # 7.7 MB as float32
    tracemalloc.start()
    with open_audio(path, RATE_HZ) as stream:
        assert sum(len(block) for block in stream.blocks(RATE_HZ)) == 120 * RATE_HZ
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_stream_is_read_once() -> None:
    stream = array_blocks(np.zeros(100, np.float32), RATE_HZ, RATE_HZ)
    stream.blocks(10)
    with pytest.raises(ValueError, match="read already"):
        stream.blocks(10)


def test_an_array_is_the_same_stream_as_its_file(tmp_path: Path) -> None:
    steps = np.round(tone(1.0, 44_100, 2) * 32767).astype(np.int16)
    write_audio(tmp_path / "a.flac", steps, 44_100)
    from_file = read(tmp_path / "a.flac")
    for array in (steps, torch.from_numpy(steps), steps.astype(np.float32) / 32768, steps / 32768):
        stream = array_blocks(array, 44_100, RATE_HZ)
        assert (stream.num_channels, stream.duration_seconds) == (2, 1.0)
        np.testing.assert_allclose(torch.cat(list(stream.blocks(777))), from_file, atol=1e-6)
    oracle = soxr.resample(steps[1] / np.float32(32768), 44_100, RATE_HZ)
    np.testing.assert_allclose(torch.cat(list(array_blocks(steps, 44_100, RATE_HZ, channel=1).blocks(5))), oracle)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(0, np.float32), "not empty"),
        (np.zeros((2, 3, 4), np.float32), r"\(2, 3, 4\)"),
        (np.zeros(100, np.int64), "type int64"),
        (np.zeros((16_000, 2), np.float32), "channels come first"),
        (np.array([0.0, np.nan]), r"0\.000 s"),
    ],
)
def test_an_array_that_is_no_audio_says_why(array: np.ndarray, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        list(array_blocks(array, RATE_HZ, RATE_HZ).blocks(10))


@pytest.mark.parametrize("rate_hz", [0, -1, 16_000.5, 10**9])
def test_a_rate_that_cannot_be_is_refused(rate_hz: float) -> None:
    with pytest.raises(MediaError, match="sample rate"):
        array_blocks(np.zeros(100, np.float32), rate_hz, RATE_HZ)  # type: ignore[arg-type]


def test_writing_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    write_audio(path, tone(0.5), RATE_HZ)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="samples reach 1\\.5"):
        write_audio(path, np.array([0.0, 1.5]), RATE_HZ)
    with pytest.raises(ValueError, match="samples reach nan"):
        write_audio(path, np.array([0.0, np.nan]), RATE_HZ)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.flac"]


def test_an_error_survives_the_way_from_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(MediaError("broke", 1.5)))
    assert (str(error), error.read_seconds) == ("broke", 1.5)
