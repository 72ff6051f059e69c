"""When a recording began: by its name, by its container, and never by a guess."""

import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.exports import recording_start

AUDIOMOTH = "Recorded at {} (UTC{}) by AudioMoth 247AA5015FDF0FAB at medium gain while battery was 4.0V."


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("20190815_053000.WAV", "2019-08-15T05:30:00"),  # AudioMoth
        ("20190815_053000T.WAV", "2019-08-15T05:30:00"),  # AudioMoth, triggered
        ("SM4_20190815_053000.wav", "2019-08-15T05:30:00"),  # Song Meter
        ("ARIZONA-1_0+1_20161023_195550.wav", "2016-10-23T19:55:50"),  # Song Meter, both channels
        ("S5A00032_AC_20260306$154513.wav", "2026-03-06T15:45:13"),  # Song Meter, clock held by GPS
        ("MIC1_20240601_140505_123456.wav", "2024-06-01T14:05:05"),  # microseconds behind
        ("GMT20231115-184500_Recording.m4a", "2023-11-15T18:45:00+00:00"),  # Zoom meeting
        ("VID_20190815_053000.mp4", "2019-08-15T05:30:00"),
        ("2019-08-15T05-30-00Z", "2019-08-15T05:30:00+00:00"),
        ("2019-08-15T05-30-00Z.flac", "2019-08-15T05:30:00+00:00"),
        ("2019-08-15 05.30.00.m4a", "2019-08-15T05:30:00"),
        ("2019-08-15_05-30-00_night.mkv", "2019-08-15T05:30:00"),
        ("20190815T053000+0200.flac", "2019-08-15T05:30:00+02:00"),
        ("20190815T053000-0330.flac", "2019-08-15T05:30:00-03:30"),
        ("20190815T053000.5+1000.flac", "2019-08-15T05:30:00.500000+10:00"),
        ("2019-08-15T05:30:00+02:00.ogg", "2019-08-15T05:30:00+02:00"),
        ("20190815_053000_and_20190815_053000.wav", "2019-08-15T05:30:00"),
        ("elsewhere/20190815_053000.WAV", "2019-08-15T05:30:00"),
    ],
)
def test_names_as_recorders_give_them(name: str, start: str) -> None:
    assert recording_start(name, {}) == start


@pytest.mark.parametrize(
    "name",
    [
        "interview.mp3",
        "20190815.wav",  # a day is no start
        "20190815_0530.wav",  # 05:30, or the 530th
        "20190815053000.wav",  # a time, or a number
        "190815_053000.wav",
        "15082019_053000.wav",
        "20191315_053000.wav",  # no thirteenth month
        "20190230_053000.wav",
        "20190815_243000.wav",
        "120190815_053000.wav",
        "20190815_0530001.wav",
        "5D54EE88.WAV",  # seconds since 1970 in hexadecimal, or any name
        "19700101_000012.WAV",  # a clock that was never set
        "S20190815T053000_E20190815T060000.wav",  # two times
        "20190815_053000/a.wav",  # a folder is no recording
    ],
)
def test_names_that_may_mean_something_else_tell_nothing(name: str) -> None:
    assert recording_start(name, {}) == ""


@pytest.mark.parametrize("name", ["20190815_053000-0100.wav", "20190815T053000-0001.wav", "20190815T053000-05.wav"])
def test_a_number_behind_the_time_is_no_offset_unless_it_can_be_nothing_else(name: str) -> None:
    assert recording_start(name, {}) == "2019-08-15T05:30:00"


@settings(max_examples=60, deadline=None)
@given(st.datetimes(datetime(1990, 1, 1), datetime(2099, 12, 31)).map(lambda moment: moment.replace(microsecond=0)))
def test_any_moment_comes_back_from_a_name(moment: datetime) -> None:
    assert recording_start(f"A_{moment:%Y%m%d_%H%M%S}.wav", {}) == moment.isoformat()
    assert recording_start(f"{moment:%Y-%m-%dT%H-%M-%SZ}.wav", {}) == moment.isoformat() + "+00:00"


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_whatever_a_name_or_tag_holds_is_answered(text: str) -> None:
    tags = dict.fromkeys(("comment", "date", "creation_time", "date_recorded"), text)
    assert isinstance(recording_start(text, tags), str)


@pytest.mark.parametrize(
    ("offset", "start"),
    [("", "+00:00"), ("+2", "+02:00"), ("-5", "-05:00"), ("+5:30", "+05:30"), ("-0:30", "-00:30"), ("+10", "+10:00")],
)
def test_audiomoth_comment_tells_the_offset_that_the_name_lacks(offset: str, start: str) -> None:
    tags = {"comment": AUDIOMOTH.format("05:30:00 15/08/2019", offset)}
    assert recording_start("20190815_053000.WAV", tags) == f"2019-08-15T05:30:00{start}"


def test_the_source_that_means_the_start_wins() -> None:
    """A telephone's film: its name gives the start; its creation_time was written when it ended."""
    tags = {"creation_time": "2020-06-27T10:03:41.000000Z", "date": "2020"}
    assert recording_start("20200627_190147.mp4", tags) == "2020-06-27T19:01:47"
    assert recording_start("film.mp4", tags) == "2020-06-27T10:03:41+00:00"
    tags["com.apple.quicktime.creationdate"] = "2020-06-27T19:01:46+0900"
    assert recording_start("20200627_190147.mp4", tags) == "2020-06-27T19:01:46+09:00"


@pytest.mark.parametrize("value", ["2019", "2019-08-15", "05:30:00", "1904-01-01T00:00:00.000000Z", "unknown", ""])
def test_a_tag_without_day_and_time_tells_nothing(value: str) -> None:
    assert recording_start("a.mp4", {"date": value, "creation_time": value}) == ""


def silence(path: Path, container: str, codec: str, **tags: str) -> dict[str, str]:
    """Write a tenth of a second; returns the tags that FFmpeg reads back, of the container and of its stream."""
    with av.open(str(path), "w", format=container) as file:
        file.metadata.update(tags)
        stream: Any = file.add_stream(codec, rate=48_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return tags_of(path)


def tags_of(path: Path) -> dict[str, str]:
    with av.open(str(path)) as file:
        return {**file.streams.audio[0].metadata, **file.metadata}


def broadcast_wave(path: Path, date: bytes, time: bytes) -> None:
    """A WAV file with a bext chunk: description, originator, its reference, date, time, samples since midnight,
    version, UMID, loudness and reserved bytes (EBU Tech 3285, section 2.3)."""
    bext = struct.pack("<256s32s32s10s8sQH64s190s", b"", b"recorder", b"", date, time, 950_400_000, 1, b"", b"")
    form = struct.pack("<HHIIHH", 1, 1, 48_000, 96_000, 2, 16)
    chunks = [(b"bext", bext), (b"fmt ", form), (b"data", bytes(9600))]
    body = b"WAVE" + b"".join(struct.pack("<4sI", name, len(content)) + content for name, content in chunks)
    path.write_bytes(struct.pack("<4sI", b"RIFF", len(body)) + body)


@pytest.mark.parametrize(("date", "time"), [(b"2019-08-15", b"05:30:00"), (b"2019:08:15", b"05-30-00")])
def test_broadcast_wave_tells_when_it_was_recorded(tmp_path: Path, date: bytes, time: bytes) -> None:
    broadcast_wave(path := tmp_path / "ZOOM0001.WAV", date, time)
    assert recording_start(str(path), tags_of(path)) == "2019-08-15T05:30:00"


def test_broadcast_wave_without_a_date_tells_nothing(tmp_path: Path) -> None:
    broadcast_wave(path := tmp_path / "ZOOM0001.WAV", b"", b"05:30:00")
    assert recording_start(str(path), tags_of(path)) == ""


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "aac"), ("mov", "pcm_s16le"), ("matroska", "flac"), ("ogg", "flac"), ("flac", "flac")],
)
def test_creation_time_is_read_from_every_container(tmp_path: Path, container: str, codec: str) -> None:
    tags = silence(path := tmp_path / "a", container, codec, creation_time="2019-08-15T05:30:00.000000Z")
    assert recording_start(str(path), tags) == "2019-08-15T05:30:00+00:00"


def test_matroska_date_recorded_is_read(tmp_path: Path) -> None:
    tags = silence(path := tmp_path / "a", "matroska", "flac", DATE_RECORDED="2019-08-15 05:30:00")
    assert recording_start(str(path), tags) == "2019-08-15T05:30:00"


def test_audiomoth_comment_is_read_from_wav(tmp_path: Path) -> None:
    comment = AUDIOMOTH.format("05:30:00 15/08/2019", "+2")
    tags = silence(path := tmp_path / "a", "wav", "pcm_s16le", comment=comment)
    assert recording_start(str(path), tags) == "2019-08-15T05:30:00+02:00"
