"""Pictures by time equal those of a full decode, whatever is wanted, and nothing is decoded that they do not need."""

import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from video_files import as_array, full_decode, make_video, moving_picture, nearest_by_hand

from featurizers.grid import PictureFormat
from featurizers.video import VideoStream, open_video

RGB, GRAY = PictureFormat(32, 24, "rgb"), PictureFormat(20, 20, "gray")
OPEN_GROUPS = "open-gop=1:scenecut=0:b-pyramid"
QUIET_265 = "log-level=none:scenecut=0:keyint=10:min-keyint=10"

KINDS: dict[str, dict[str, Any]] = {
    "closed.mp4": {"options": {"g": "10", "bf": "3"}},
    "open_with_pyramid.mp4": {"options": {"g": "12", "bf": "3", "x264-params": f"{OPEN_GROUPS}=normal"}},
    "open_strict.mkv": {"options": {"g": "12", "bf": "3", "x264-params": f"{OPEN_GROUPS}=strict"}},
    "open_references.ts": {"options": {"g": "9", "bf": "3", "x264-params": f"{OPEN_GROUPS}=normal:ref=6:weightp=2"}},
    "one_key_frame.mp4": {"options": {"g": "1000", "bf": "3", "x264-params": "scenecut=0"}},
    "gradual_refresh.ts": {"num_pictures": 70, "options": {"g": "15", "bf": "0", "x264-params": "intra-refresh=1"}},
    "gradual_refresh_b.ts": {"num_pictures": 70, "options": {"g": "15", "bf": "2", "x264-params": "intra-refresh=1"}},
    "all_intra.mp4": {"options": {"g": "1"}},
    "variable_rate.mp4": {"options": {"g": "8"}, "times": [0.04 * n + 0.3 * (n // 7) for n in range(40)]},
    "late_start.mkv": {"options": {"g": "8"}, "times": [7.5 + 0.04 * n for n in range(40)]},
    "odd_size.mp4": {"options": {"g": "10"}, "size": (63, 47), "pixels": "yuv444p"},
    "interlaced.mp4": {"options": {"g": "10", "bf": "3", "x264-params": "interlaced=1"}},
    "ten_bit.mp4": {"options": {"g": "10"}, "pixels": "yuv420p10le"},
    "one_picture.mp4": {"num_pictures": 1},
    "h265_open.mp4": {"codec": "libx265", "options": {"bf": "3", "x265-params": f"open-gop=1:{QUIET_265}"}},
    "h265_layers.mkv": {"codec": "libx265", "options": {"x265-params": f"temporal-layers=3:b-adapt=0:{QUIET_265}"}},
    "hidden_pictures.webm": {"codec": "libvpx", "options": {"g": "20", "auto-alt-ref": "1", "lag-in-frames": "16"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "10", "auto-alt-ref": "1", "lag-in-frames": "16"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"g": "10", "preset": "12"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "10", "bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "10", "bf": "2"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


def video(folder: Path, name: str) -> Path:
    """Made once."""
    path = folder / name
    return path if path.exists() else make_video(path, **KINDS[name])


def asked(stream: VideoStream, wanted: list[float], picture: PictureFormat = RGB) -> tuple[np.ndarray, list[float]]:
    data, times = stream.pictures(torch.tensor(wanted, dtype=torch.float64), picture)
    assert data.dtype == torch.uint8
    assert data.is_contiguous()
    return data.numpy(), times.tolist()


def check_nearest(stream: VideoStream, wanted: list[float], times: np.ndarray, frames: list[Any]) -> None:
    data, taken = asked(stream, wanted)
    for row, time in enumerate(wanted):
        number = nearest_by_hand(times, time)
        assert taken[row] == pytest.approx(times[number], abs=1e-9)
        assert np.array_equal(data[row], as_array(frames[number], 32, 24)), f"picture at {time} s"


@pytest.mark.parametrize("name", KINDS)
def test_any_ascending_calls_give_the_pictures_of_a_full_decode(folder: Path, name: str) -> None:
    path = video(folder, name)
    times, frames = full_decode(path)
    generator = np.random.default_rng(len(name))
    for _ in range(4):
        with open_video(path) as stream:
            assert stream.start_seconds == pytest.approx(times[0], abs=1e-9)
            begin = times[0]
            while begin <= times[-1]:
                spacing = generator.choice([0.013, 0.04, 0.1, 0.2])
                wanted = [begin + spacing * n for n in range(generator.integers(1, 6))]
                check_nearest(stream, wanted, times, frames)
                if generator.random() < 0.4:
                    stream.forget(wanted[0])
                begin = wanted[0 if generator.random() < 0.3 else -1] + generator.choice([0.02, 0.1, 0.3, 0.8])
            assert stream.damage == []


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_random_groups_and_random_times_give_the_pictures_of_a_full_decode(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    num_pictures = data.draw(st.integers(1, 40))
    b_pictures, is_open = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 1))
    keys = data.draw(st.lists(st.integers(0, num_pictures - 1), max_size=5))
    rules = f"open-gop={is_open}:keyint=17:min-keyint=1:ref={data.draw(st.integers(1, 5))}"
    path = tmp_path_factory.mktemp("random") / "video.mp4"
    make_video(
        path, num_pictures=num_pictures, key_pictures=keys, options={"bf": str(b_pictures), "x264-params": rules}
    )
    times, frames = full_decode(path)
    # The middle between two pictures is left out: there 1e-17 s decides which is the nearer.
    wanted = sorted(data.draw(st.lists(st.floats(-0.5, 2.0).filter(lambda t: (t / 0.02) % 1 > 0.01), max_size=12)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wanted)), max_size=3)))
    with open_video(path, most_held_bytes=data.draw(st.sampled_from([0, 500, 10**9]))) as stream:
        for first, last in zip([0, *cuts], [*cuts, len(wanted)], strict=True):
            check_nearest(stream, wanted[first:last], times, frames)
            if first < last:
                stream.forget(wanted[last - 1])
    path.unlink()


def test_without_presentation_times_pictures_are_counted_as_they_come_out(tmp_path: Path) -> None:
    for name in ("raw.h264", "b_pictures.avi"):
        path = make_video(tmp_path / name, options={"g": "10", "bf": "3"})
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        for wanted in ([1.2], [0.2, 0.6], [n / 25 for n in range(40)]):
            with open_video(path) as stream:
                data, times = asked(stream, wanted)
            assert times == pytest.approx(wanted, abs=1e-6)
            for row, time in enumerate(wanted):
                assert np.array_equal(data[row], as_array(frames[round(25 * time)], 32, 24)), (name, time)


def test_only_the_groups_that_are_needed_are_decoded_and_only_to_the_last_wanted_picture(tmp_path: Path) -> None:
    options = {"g": "10", "bf": "0", "x264-params": "scenecut=0:ref=1"}
    path = make_video(tmp_path / "a.mp4", num_pictures=100, options=options)
    with open_video(path) as stream:
        stream.read_until(math.inf)
        assert stream.pictures_decoded == 0
        asked(stream, [0.04 * 23])
        assert stream.pictures_decoded == 4  # 20 to 23
        asked(stream, [0.04 * 26, 0.04 * 51])
        assert stream.pictures_decoded == 4 + 3 + 2  # on to 26; 50 and 51
        asked(stream, [0.04 * 51])
        assert stream.pictures_decoded == 9


def test_pictures_that_nothing_refers_to_are_not_decoded_on_the_way(tmp_path: Path) -> None:
    options = {"g": "100", "bf": "3", "x264-params": "b-adapt=0:b-pyramid=none:scenecut=0"}
    path = make_video(tmp_path / "a.mp4", num_pictures=80, options=options)
    with open_video(path) as stream:
        asked(stream, [0.04 * 76])
        assert stream.pictures_decoded <= 76 / 4 + 6


def test_packets_are_told_in_order_of_presentation_without_decoding(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", options={"g": "10", "bf": "3"})
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        told = sorted((float(packet.pts * stream.time_base), packet.size, packet.is_keyframe) for packet in packets)
    with open_video(path) as video_stream:
        video_stream.read_until(0.5)
        assert not video_stream.ended
        early = video_stream.packets(0.0, 0.5)
        video_stream.read_until(math.inf)
        assert video_stream.ended
        assert video_stream.packets_read == 40
        found = video_stream.packets(-math.inf, math.inf)
        assert list(zip(*(column.tolist() for column in found), strict=True)) == told
        assert early.times.tolist() == [time for time, _, _ in told if time < 0.5]
        assert video_stream.packets(0.2, 0.4).times.tolist() == [time for time, _, _ in told if 0.2 <= time < 0.4]
        assert video_stream.pictures_decoded == 0
        assert video_stream.end_seconds == pytest.approx(1.6)
        assert video_stream.declared_seconds == pytest.approx(1.6, abs=0.05)


def test_one_key_frame_in_a_long_video_is_read_in_bounded_memory_and_stays_exact(tmp_path: Path) -> None:
    options = {"g": "1000", "bf": "3", "x264-params": "scenecut=0"}
    path = make_video(tmp_path / "a.mp4", num_pictures=200, options=options)
    times, frames = full_decode(path)
    with open_video(path, most_held_bytes=2_000) as stream:
        for begin in (0.0, 1.0, 2.0, 3.0, 6.0, 7.5):
            stream.forget(begin)
            stream.read_until(begin + 0.5)
            held = stream.packets(-math.inf, math.inf)
            before = held.sizes[held.times < begin]
            assert int(before.sum()) <= 2_000 + int(held.sizes.max())
            wanted = [begin + 0.04 * n for n in range(9)]
            check_nearest(stream, wanted, times, frames)
            check_nearest(stream, wanted[4:], times, frames)  # a call may begin before the last one ended
        check_nearest(stream, [7.9, 7.93, 8.0], times, frames)
        with pytest.raises(ValueError, match="was forgotten; forget later"):
            asked(stream, [1.0])


def test_packets_that_no_later_picture_needs_are_dropped(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", options={"g": "10", "x264-params": "scenecut=0"})
    with open_video(path) as stream:
        stream.read_until(math.inf)
        stream.forget(0.04 * 25)
        assert stream.packets(-math.inf, math.inf).times[0] == pytest.approx(0.04 * 20)
        assert stream.pictures_decoded == 0


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_turned_as_they_are_to_be_shown(tmp_path: Path, degrees: int) -> None:
    path = make_video(tmp_path / "a.mp4", num_pictures=2, rotation=degrees, pixels="yuv444p", options={"qp": "1"})
    shown = np.rot90(moving_picture(0, 64, 48), degrees // 90)  # FFmpeg's angle is counterclockwise, NumPy's too
    with open_video(path) as stream:
        assert (stream.height, stream.width) == shown.shape[:2]
        assert stream.rotation == (360 - degrees) % 360
        data, _ = asked(stream, [0.0], PictureFormat(stream.width, stream.height, "rgb"))
    # 8 bits of YUV round twice, and quantisation adds about as much
    assert np.abs(data[0].transpose(1, 2, 0).astype(int) - shown).mean() < 4


def test_gray_is_the_luma_from_black_0_to_white_255_in_either_range(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 48, axis=0).repeat(3, axis=2)
    for pixels in ("yuv420p", "yuvj420p"):
        path = make_video(
            tmp_path / f"{pixels}.mp4", num_pictures=1, pixels=pixels, pictures=[ramp], options={"qp": "1"}
        )
        with open_video(path) as stream:
            data, _ = asked(stream, [0.0], PictureFormat(64, 48, "gray"))
        assert data.shape == (1, 1, 48, 64)
        assert np.abs(data[0, 0].astype(int) - ramp[..., 0]).max() <= 4  # limited range has 220 steps


def test_a_size_that_changes_in_mid_stream_is_scaled_away(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / f"{n}.ts", size=size) for n, size in enumerate([(64, 48), (96, 80)])]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_video(path) as stream:
        stream.read_until(math.inf)
        times = stream.packets(-math.inf, math.inf).times.tolist()
        assert len(times) == 80
        assert times == sorted(times)
        data, taken = asked(stream, times)
        assert taken == times
        assert any("timestamps run back" in damage.reason for damage in stream.damage)
    for part, rows in zip(parts, (data[:40], data[40:]), strict=True):
        frames = full_decode(part)[1]
        assert all(np.array_equal(row, as_array(frame, 32, 24)) for row, frame in zip(rows, frames, strict=True))


def test_more_threads_give_the_same_pictures(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", options={"g": "10", "bf": "3"})
    times, frames = full_decode(path)
    with open_video(path, num_threads=2) as stream:
        for wanted in ([0.2, 0.3], [0.5], [1.2, 1.24, 1.6]):
            check_nearest(stream, wanted, times, frames)


def test_what_cannot_be_asked_for_is_refused(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4")
    with open_video(path) as stream:
        assert stream.pictures(torch.zeros(0, dtype=torch.float64), GRAY).data.shape == (0, 1, 20, 20)
        for times in ([1.0, 0.5], [math.nan], [[0.0]]):
            with pytest.raises(ValueError, match="finite and ascending"):
                stream.pictures(torch.tensor(times), GRAY)
        for picture in (PictureFormat(0, 4), PictureFormat(4, 4, "cmyk")):  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="sides of 1 to"):
                stream.pictures(torch.zeros(1), picture)
        with pytest.raises(ValueError, match="not read to its end"):
            _ = stream.end_seconds
    with pytest.raises(ValueError, match="num_threads=-1"):
        open_video(path, num_threads=-1)
