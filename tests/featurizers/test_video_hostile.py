"""Damaged, odd and foreign files: an answer or one clear line, never a hang, never a gap that nobody is told of."""

import contextlib
import math
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from video_files import as_array, full_decode, make_video, moving_picture

from featurizers.grid import PictureFormat
from featurizers.media import MediaError
from featurizers.video import Damage, open_video
from featurizers.video_clock import Clock

RGB = PictureFormat(32, 24, "rgb")
GROUPS_OF_TEN = {"g": "10", "bf": "0", "x264-params": "scenecut=0"}


def whole(path: Path, seconds: float = 1.6) -> tuple[np.ndarray, np.ndarray, list[Damage]]:
    """Pictures at 25 Hz from 0 s on, their true times, and the damage found."""
    with open_video(path) as stream:
        wanted = torch.arange(round(25 * seconds), dtype=torch.float64) / 25
        data, times = stream.pictures(wanted, RGB)
        stream.read_until(math.inf)
        return data.numpy(), times.numpy(), stream.damage


def is_told(damage: list[Damage], time: float) -> bool:
    return any(onset <= time < offset for onset, offset, _ in damage)


def picture_bytes(path: Path) -> list[tuple[int, int]]:
    """Where in the file each picture lies, in decoding order."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
    return [(packet.pos or 0, packet.size) for packet in packets]


def test_a_file_cut_off_gives_its_beginning_and_tells_where_it_ends(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", options=GROUPS_OF_TEN, container_options={"movflags": "faststart"})
    frames = full_decode(path)[1]
    position, size = picture_bytes(path)[25]
    path.write_bytes(path.read_bytes()[: position + size // 2])
    data, times, damage = whole(path)
    assert all(np.array_equal(data[n], as_array(frames[n], 32, 24)) for n in range(25))
    assert times[:25] == pytest.approx(np.arange(25) / 25)
    assert (times[26:] <= 1.0).all()  # the nearest stands in
    assert any("header promises 40 pictures, the file holds 26" in reason for _, _, reason in damage)
    assert is_told(damage, 1.3)


def test_pictures_zeroed_in_the_middle_are_told_and_the_nearest_stand_in(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", options=GROUPS_OF_TEN)
    frames = full_decode(path)[1]
    content = bytearray(path.read_bytes())
    for position, size in picture_bytes(path)[13:20]:
        content[position : position + size] = bytes(size)
    path.write_bytes(content)
    data, times, damage = whole(path)
    right = [*range(13), *range(20, 40)]
    assert all(np.array_equal(data[n], as_array(frames[n], 32, 24)) for n in right)
    assert times[13:17] == pytest.approx(0.48)
    assert times[17:20] == pytest.approx(0.8)
    assert all(is_told(damage, n / 25) for n in range(13, 20))
    assert not any(is_told(damage, n / 25) for n in right)


def test_bytes_flipped_are_told_until_the_next_key_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", options=GROUPS_OF_TEN, size=(320, 240))
    frames = full_decode(path)[1]
    content = bytearray(path.read_bytes())
    position, size = picture_bytes(path)[14]
    for place in range(position + size // 3, position + size - 8):
        content[place] ^= 0x5A
    path.write_bytes(content)
    data, _, damage = whole(path)
    wrong = [n for n in range(40) if not np.array_equal(data[n], as_array(frames[n], 32, 24))]
    assert wrong
    assert set(wrong) <= set(range(14, 20))
    assert all(is_told(damage, n / 25) for n in wrong)
    assert not any(is_told(damage, n / 25) for n in (*range(14), *range(20, 40)))


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_gives_pictures_or_one_clear_error(tmp_path: Path, seed: int) -> None:
    name = ["a.mp4", "a.ts", "a.mkv", "a.avi"][seed % 4]
    path = make_video(tmp_path / name, options={"g": "10", "bf": "2"})
    generator = np.random.default_rng(seed)
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    places = generator.integers(len(content) // 5, len(content), 1 + seed * 4)
    content[places] = generator.integers(0, 256, len(places))
    path.write_bytes(content.tobytes())
    with contextlib.suppress(MediaError), open_video(path) as stream:  # a header may be beyond reading
        begin = stream.start_seconds
        for first in range(0, 40, 9):
            wanted = begin + torch.arange(first, first + 9, dtype=torch.float64) / 25
            data, times = stream.pictures(wanted, RGB)
            assert data.shape == (9, 3, 24, 32)
            assert torch.isfinite(times).all()
            stream.forget(float(wanted[-1]))


def test_a_group_without_its_key_frame_is_told_and_the_nearest_picture_stands_in(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", options=GROUPS_OF_TEN)
    frames = full_decode(path)[1]
    content = bytearray(path.read_bytes())
    position, size = picture_bytes(path)[10]
    content[position : position + size] = bytes(size)
    path.write_bytes(content)
    data, _, damage = whole(path)
    assert all(is_told(damage, n / 25) for n in range(10, 20))
    right = [*range(10), *range(20, 40)]
    assert all(np.array_equal(data[n], as_array(frames[n], 32, 24)) for n in right)


def test_timestamps_that_run_back_are_moved_forward_and_told() -> None:
    clock = Clock(Fraction(1, 100), 0.04)
    placed = [clock.place(pts, pts) for pts in (100, 104, 108, 0, 4, 8)]
    assert [time for time, _ in placed] == pytest.approx([1.0, 1.04, 1.08, 1.12, 1.16, 1.20])
    assert [damage is not None for _, damage in placed] == [False, False, False, True, False, False]
    assert placed[3][1] is not None
    assert "run back to 0.00 s after 1.08 s" in placed[3][1].reason


def test_missing_timestamps_are_counted_on() -> None:
    clock = Clock(Fraction(1, 100), 0.04)
    placed = [clock.place(pts, dts)[0] for pts, dts in [(50, 50), (None, None), (None, 58), (None, None), (66, None)]]
    assert placed == pytest.approx([0.50, 0.54, 0.58, 0.62, 0.66])
    assert Clock(Fraction(1, 100), 0.04).place(None, None)[0] == 0.0


def test_reordered_timestamps_are_taken_as_they_are() -> None:
    clock = Clock(Fraction(1, 25), 0.04)
    shown, decoded = [2, 6, 4, 3, 5, 10, 8, 7, 9], range(9)
    placed = [clock.place(pts, dts) for pts, dts in zip(shown, decoded, strict=True)]
    assert [time for time, _ in placed] == pytest.approx([pts / 25 for pts in shown])
    assert not any(damage for _, damage in placed)
    assert clock.known_until == pytest.approx(8 / 25)


def test_a_recording_whose_clock_was_set_back_keeps_all_its_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    for part in (0, 1):
        make_video(tmp_path / f"{part}.ts", options=GROUPS_OF_TEN)
    path.write_bytes((tmp_path / "0.ts").read_bytes() + (tmp_path / "1.ts").read_bytes())
    with open_video(path) as stream:
        stream.read_until(math.inf)
        times = stream.packets(-math.inf, math.inf).times
        assert len(times) == 80
        assert (times.diff() > 0).all()
        assert len({*stream.pictures(times, RGB).times.tolist()}) == 80
        assert any("run back" in damage.reason for damage in stream.damage)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 1)])
def test_tiny_pictures_are_scaled_too(tmp_path: Path, size: tuple[int, int]) -> None:
    path = make_video(tmp_path / "a.mkv", "ffv1", num_pictures=3, size=size, pixels="yuv444p")
    data, _, damage = whole(path, 0.12)
    assert data.shape == (3, 3, 24, 32)
    assert damage == []


def test_large_pictures_are_read_and_absurd_ones_refused(tmp_path: Path) -> None:
    large = [np.full((4320, 8192, 3), 200, np.uint8)]
    path = make_video(tmp_path / "a.avi", "mjpeg", num_pictures=1, size=(8192, 4320), pixels="yuvj420p", pictures=large)
    data, _, _ = whole(path, 0.04)
    assert np.abs(data.astype(int) - 200).max() <= 3
    content = bytearray(path.read_bytes())
    header = content.index(b"strf") + 8
    content[header + 4 : header + 12] = np.array([60_000, 60_000], "<i4").tobytes()
    at = content.index(b"\xff\xc0")  # the picture's own header: height, width
    content[at + 5 : at + 9] = np.array([60_000, 60_000], ">u2").tobytes()
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"60000 x 60000 pixels; at most|size of its pictures|not one picture"):
        whole(path, 0.04)


def cover(path: Path, *, with_video: bool, with_audio: bool) -> Path:
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        video = container.add_stream("libx264", rate=25) if with_video else None
        audio = container.add_stream("aac", rate=16_000) if with_audio else None
        still = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        container.mux([*picture.encode(still), *picture.encode(None)])
        if video is not None:
            for number in range(5):
                frame = av.VideoFrame.from_ndarray(moving_picture(number, 64, 48), format="rgb24")
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None:
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate = 16_000
            container.mux([*audio.encode(sound), *audio.encode(None)])
    return path


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="has no video, only a cover picture"):
        open_video(cover(tmp_path / "song.mp4", with_video=False, with_audio=True))
    with open_video(cover(tmp_path / "film.mp4", with_video=True, with_audio=False)) as stream:
        assert (stream.codec, stream.width, stream.height) == ("h264", 64, 48)


def test_what_is_no_video_says_so_in_one_line(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(3200))
    (tmp_path / "empty.mp4").touch()
    for name in ("notes.txt", "notes.mp4"):
        (tmp_path / name).write_text("Nothing moves here.\n" * 50)
    cut = make_video(tmp_path / "cut.mp4")
    cut.write_bytes(cut.read_bytes()[:500])
    for name, message in [
        ("sound.wav", "has no video stream; it holds audio"),
        ("empty.mp4", "is empty"),
        ("notes.txt", "text file|not a media file"),
        ("notes.mp4", "not a media file"),
        ("cut.mp4", "not a media file"),
        ("missing.mp4", "does not exist"),
        (".", "is a folder"),
    ]:
        with pytest.raises(MediaError, match=message) as caught:
            open_video(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_video_stream_without_pictures_says_so(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", "mjpeg", num_pictures=1, pixels="yuvj420p")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"movi") + 4])
    with pytest.raises(MediaError, match=r"without a single picture|size of its pictures|not a media file"):
        open_video(path)


def test_nothing_is_written_to_the_terminal(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", options=GROUPS_OF_TEN)
    content = bytearray(path.read_bytes())
    for position, size in picture_bytes(path)[5:30]:
        content[position + 5 : position + size] = bytes(size - 5)
    path.write_bytes(content)
    script = (
        "import sys, torch; from featurizers.video import open_video; from featurizers.grid import PictureFormat\n"
        "open_video(sys.argv[1]).pictures(torch.arange(40, dtype=torch.float64) / 25, PictureFormat(8, 8))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, path], cwd=root, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("most_held_bytes", [0, 10**9])
def test_where_all_the_rest_is_broken_the_last_picture_decoded_stands_in(tmp_path: Path, most_held_bytes: int) -> None:
    path = make_video(tmp_path / "a.mp4", options={"g": "1000", "bf": "0", "x264-params": "scenecut=0"})
    frames = full_decode(path)[1]
    content = bytearray(path.read_bytes())
    for position, size in picture_bytes(path)[20:]:
        content[position : position + size] = bytes(size)
    path.write_bytes(content)
    with open_video(path, most_held_bytes=most_held_bytes) as stream:
        for begin in (0.0, 0.4, 0.72, 1.0, 1.4):
            stream.forget(begin)
            data, times = stream.pictures(torch.tensor([begin, begin + 0.04], dtype=torch.float64), RGB)
        assert times.tolist() == pytest.approx([0.76, 0.76])
        assert np.array_equal(data[0].numpy(), as_array(frames[19], 32, 24))
        assert is_told(stream.damage, 1.4)
        assert not is_told(stream.damage, 0.76)
