"""Clips hold exactly the event, whatever the container; what breaks one file breaks no other."""

import csv
import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from made_rows import event_row, rows
from numpy.typing import NDArray

from pipelines.archive.rows import EventRow
from pipelines.errors import UsageError
from pipelines.exports import clip_audio, clip_source
from pipelines.exports.clips import ClipFailure, check_clips_folder, cut_clips

RATE = 8000


def noise(seconds: float, num_channels: int = 1, seed: int = 0) -> NDArray[np.int16]:
    """(samples, channels) in which no second is like another."""
    shape = round(seconds * RATE), num_channels
    return np.random.default_rng(seed).integers(-(2**15), 2**15, shape, dtype=np.int16)


def encode(path: Path, samples: NDArray[np.int16], container: str, codec: str, first_seconds: float = 0.0) -> None:
    """Write stereo or mono of any codec, with a first timestamp."""
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    rate = 48_000 if codec == "libopus" else RATE  # Opus takes five rates only
    samples = np.repeat(samples, rate // RATE, axis=0)
    with av.open(str(path), "w", format=container, options={"avoid_negative_ts": "disabled"}) as file:
        stream: Any = file.add_stream(codec, rate=rate)
        stream.layout = layout
        for first in range(0, len(samples), 1000):
            part = np.ascontiguousarray(samples[first : first + 1000]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout=layout)
            frame.sample_rate, frame.pts = rate, first + round(first_seconds * rate)
            frame.time_base = Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def decode(path: Path) -> tuple[float, int, NDArray[Any]]:
    """Time of the first sample, rate and (samples, channels) of one uninterrupted pass."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    values = [
        f.to_ndarray() if f.format.is_planar else f.to_ndarray().reshape(-1, f.layout.nb_channels).T for f in frames
    ]
    assert frames[0].time is not None
    return frames[0].time, frames[0].sample_rate, np.concatenate(values, axis=1).T


def clips_of(folder: Path) -> list[tuple[Path, dict[str, str]]]:
    """Each clip with its line of clips.csv."""
    with (folder / "clips.csv").open(encoding="utf-8", newline="") as table:
        return [(folder / line["clip"], line) for line in csv.DictReader(table)]


@pytest.mark.parametrize("format", ["flac", "wav"])
@pytest.mark.parametrize("num_channels", [1, 2, 6])
def test_samples_channels_and_rate_come_out_as_they_went_in(tmp_path: Path, format: Any, num_channels: int) -> None:
    samples = noise(3.0, num_channels)
    soundfile.write(path := tmp_path / "a.wav", samples, RATE)
    event = event_row(str(path), 0.75, 1.5)
    assert cut_clips(tmp_path / "clips", rows([event]), format=format) == []
    ((clip, line),) = clips_of(tmp_path / "clips")
    found, rate = soundfile.read(clip, dtype="int16", always_2d=True)
    assert rate == RATE
    assert np.array_equal(found, samples[6000:12000])
    assert line["begin_seconds"] == "0.750000"


@pytest.mark.parametrize(
    ("subtype", "format"),
    [("PCM_U8", "flac"), ("PCM_24", "flac"), ("PCM_24", "wav"), ("PCM_32", "wav"), ("FLOAT", "wav")],
)
def test_no_bit_of_other_sample_formats_is_lost(tmp_path: Path, subtype: str, format: Any) -> None:
    soundfile.write(path := tmp_path / "a.wav", noise(2.0), RATE, subtype=subtype)
    whole, _ = soundfile.read(path, dtype="float64")
    cut_clips(tmp_path / "clips", rows([event_row(str(path), 0.5, 1.5)]), format=format)
    ((clip, _),) = clips_of(tmp_path / "clips")
    assert np.array_equal(soundfile.read(clip, dtype="float64")[0], whole[4000:12000])


CONTAINERS = [
    ("wav", "pcm_s16le"),
    ("flac", "flac"),
    ("mp4", "aac"),
    ("mov", "alac"),
    ("matroska", "flac"),
    ("matroska", "pcm_s16le"),
    ("webm", "libopus"),
    ("ogg", "libopus"),
    ("mp3", "libmp3lame"),
    ("adts", "aac"),
    ("mpegts", "aac"),
    ("avi", "pcm_s16le"),
    ("aiff", "pcm_s16be"),
    ("caf", "pcm_s16le"),
]


@pytest.mark.parametrize(("container", "codec"), CONTAINERS)
def test_clips_far_into_a_file_equal_one_uninterrupted_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str, codec: str
) -> None:
    """Also behind seeks. The clock of Matroska counts milliseconds: there the clip may lie one beside."""
    monkeypatch.setattr(clip_source, "WORTH_A_SEEK_SECONDS", 2.0)
    encode(path := tmp_path / f"a.{container}", noise(20.0, 2) // 4, container, codec)
    first_seconds, rate, whole = decode(path)
    events = [event_row(str(path), onset, onset + 0.5) for onset in (0.5, 5.0, 5.25, 11.125, 17.0)]
    assert cut_clips(tmp_path / "clips", rows(events), format="wav") == []
    clips = clips_of(tmp_path / "clips")
    assert len(clips) == len(events)
    slack = round(rate / 1000) if container in ("matroska", "webm") else 0
    is_lossy = whole.dtype == np.float32
    for event, (clip, line) in zip(events, clips, strict=True):
        found, _ = soundfile.read(clip, dtype=whole.dtype.name, always_2d=True)
        assert len(found) == rate // 2
        begin = round((float(line["begin_seconds"]) - first_seconds) * rate)
        assert begin == round((event.onset_seconds - first_seconds) * rate)
        places = [whole[begin + off :][: len(found)] for off in range(-slack, slack + 1)]
        # Lossy decoders start anew behind a seek, and clips of theirs are rounded to 16 bits.
        assert min(np.abs(place - found.astype(float)).max() for place in places) <= (2e-3 if is_lossy else 0)


def test_padding_is_kept_as_far_as_there_is_audio(tmp_path: Path) -> None:
    samples = noise(3.0)
    soundfile.write(path := tmp_path / "a.wav", samples, RATE)
    events = [event_row(str(path), 0.1, 0.2), event_row(str(path), 1.0, 2.0), event_row(str(path), 2.5, 3.1)]
    assert cut_clips(tmp_path / "clips", rows(events), pad_seconds=0.5) == []
    found = [soundfile.read(clip, dtype="int16", always_2d=True)[0] for clip, _ in clips_of(tmp_path / "clips")]
    assert [np.array_equal(each, samples[a:b]) for each, (a, b) in zip(found, PADDED, strict=True)] == [True] * 3
    assert [line["begin_seconds"] for _, line in clips_of(tmp_path / "clips")] == ["0.000000", "0.500000", "2.000000"]


PADDED = [(0, 5600), (4000, 20000), (16000, 24000)]


def test_time_is_the_containers(tmp_path: Path) -> None:
    """A stream that begins at 5 s: an event at 6 s lies one second into its samples."""
    samples = noise(3.0, 2)
    encode(path := tmp_path / "a.mkv", samples, "matroska", "pcm_s16le", first_seconds=5.0)
    assert decode(path)[0] == 5.0
    cut_clips(tmp_path / "clips", rows([event_row(str(path), 5.0, 5.0625), event_row(str(path), 6.0, 6.5)]))
    (first, line), (second, _) = clips_of(tmp_path / "clips")
    assert line["begin_seconds"] == "5.000000"
    assert np.array_equal(soundfile.read(first, dtype="int16")[0], samples[:500])
    assert np.array_equal(soundfile.read(second, dtype="int16")[0], samples[8000:12000])


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_u8"])
def test_a_gap_in_the_container_becomes_silence(tmp_path: Path, codec: str) -> None:
    path, samples = tmp_path / "a.mkv", noise(2.0, 1) // 256 * 256  # so that 8 bits hold it
    with av.open(str(path), "w", format="matroska") as file:
        stream: Any = file.add_stream(codec, rate=RATE)
        stream.layout = "mono"
        for first, begin in ((0, 0), (8000, 16000)):  # a second is missing
            frame = av.AudioFrame.from_ndarray(samples[first : first + 8000].T, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, begin, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    events = [event_row(str(path), 0.5, 2.5), event_row(str(path), 1.25, 2.25), event_row(str(path), 1.5, 1.75)]
    assert cut_clips(tmp_path / "clips", rows(events)) == []
    whole = np.concatenate([samples[:8000], np.zeros((8000, 1), np.int16), samples[8000:]])[:, 0]
    for event, (clip, _) in zip(events, clips_of(tmp_path / "clips"), strict=True):
        span = slice(round(event.onset_seconds * RATE), round(event.offset_seconds * RATE))
        assert np.array_equal(soundfile.read(clip, dtype="int16")[0], whole[span])


def test_more_events_may_overlap_than_files_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_audio, "MOST_AT_ONCE", 2)
    samples = noise(4.0)
    soundfile.write(path := tmp_path / "a.wav", samples, RATE)
    events = [event_row(str(path), 0.25 * n, 0.25 * n + 1.5, f"label {n}") for n in range(10)]
    assert cut_clips(tmp_path / "clips", rows(events)) == []
    clips = clips_of(tmp_path / "clips")
    assert [line["label"] for _, line in clips] == [event.label for event in events]
    for number, (clip, _) in enumerate(clips):
        found = soundfile.read(clip, dtype="int16", always_2d=True)[0]
        assert np.array_equal(found, samples[2000 * number : 2000 * number + 12000])


def test_a_file_with_a_wrong_index_is_read_from_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_source, "WORTH_A_SEEK_SECONDS", 1.0)
    samples = noise(20.0)
    soundfile.write(path := tmp_path / "a.wav", samples, RATE)
    monkeypatch.setattr(clip_source, "SEEK_BEFORE_SECONDS", -3.0)  # every seek now leads behind the event
    assert (
        cut_clips(tmp_path / "clips", rows([event_row(str(path), 10.0, 10.5), event_row(str(path), 15.0, 16.0)])) == []
    )
    found = [soundfile.read(clip, dtype="int16", always_2d=True)[0] for clip, _ in clips_of(tmp_path / "clips")]
    assert np.array_equal(found[0], samples[80_000:84_000])
    assert np.array_equal(found[1], samples[120_000:128_000])


def test_names_tell_file_onset_label_and_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site 1").mkdir()
    soundfile.write("site 1/night.wav", noise(2.0), RATE)
    events = [
        event_row("site 1/night.wav", 0.25, 0.5, "great tit", score=0.875),
        event_row("site 1/night.wav", 0.25, 0.75, "great tit", score=0.875, channel=1),
        event_row("site 1/night.wav", 0.5, 0.75, "a/b:c\n" + "x" * 300),
    ]
    assert cut_clips(Path("clips"), rows(events)) == []
    names = [clip.relative_to("clips").as_posix() for clip, _ in clips_of(Path("clips"))]
    assert names[0] == "site 1/night.wav/night_00h00m00.250s_great tit_0.88.flac"
    assert names[1].startswith("site 1/night.wav/night_00h00m00.250s_great tit_0.88~")
    assert names[2].startswith("site 1/night.wav/night_00h00m00.500s_a_b_c_xxx")
    assert [line["label"] for _, line in clips_of(Path("clips"))] == [event.label for event in events]


def test_one_broken_file_does_not_stop_the_rest(tmp_path: Path) -> None:
    for name in ("a", "short", "z"):
        soundfile.write(tmp_path / f"{name}.wav", noise(1.5 if name == "short" else 3.0), RATE)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no media")
    soundfile.write(tmp_path / "wide.wav", noise(1.0, 9), RATE)
    encode(tmp_path / "damaged.flac", noise(3.0), "flac", "flac")
    content = bytearray((tmp_path / "damaged.flac").read_bytes())
    content[len(content) // 2 :] = b""
    (tmp_path / "damaged.flac").write_bytes(content)
    events: list[EventRow] = []
    for name in ("a.wav", "damaged.flac", "empty.wav", "gone.wav", "short.wav", "text.wav", "wide.wav", "z.wav"):
        path = str(tmp_path / name)
        events += [event_row(path, 0.25, 0.5), event_row(path, 1.0, 2.75)]
    failures = cut_clips(tmp_path / "clips", rows(events))
    assert {Path(failure.file).name: failure.num_clips for failure in failures} == {
        "damaged.flac": 1,
        "empty.wav": 2,
        "gone.wav": 2,
        "short.wav": 1,
        "text.wav": 2,
        "wide.wav": 2,
    }
    reasons = {Path(failure.file).name: failure.reason for failure in failures}
    assert reasons["gone.wav"] == "cannot be opened (No such file or directory)"
    assert reasons["short.wav"] == "the audio ends at 1.50 s; was the file changed?"
    assert reasons["wide.wav"] == "it has 9 channels; a clip has 1 to 8"
    clips = clips_of(tmp_path / "clips")
    cut = ["a.wav", "a.wav", "damaged.flac", "short.wav", "z.wav", "z.wav"]
    assert [Path(line["file"]).name for _, line in clips] == cut
    on_disk = {path for path in (tmp_path / "clips").rglob("*") if path.is_file()}
    assert on_disk == {clip for clip, _ in clips} | {tmp_path / "clips" / "clips.csv"}, "no half-written clip stays"


def test_an_event_may_end_a_little_after_the_audio_and_not_much(tmp_path: Path) -> None:
    """Models round up to their frames; a file that was cut short since it was tagged is told."""
    soundfile.write(path := tmp_path / "a.wav", noise(3.0), RATE)
    assert cut_clips(tmp_path / "clips", rows([event_row(str(path), 2.5, 3.9)])) == []
    assert soundfile.info(clips_of(tmp_path / "clips")[0][0]).frames == 4000
    events = [event_row(str(path), 2.5, 4.1), event_row(str(path), 3.0, 3.5), event_row(str(path), 8.0, 9.0)]
    (failure,) = cut_clips(tmp_path / "clips", rows(events))
    assert failure == ClipFailure(str(path), 3, "the audio ends at 3.00 s; was the file changed?")


def test_a_name_that_is_not_utf8_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", noise(1.0), RATE)
    Path("a.wav").rename(b"caf\xe9.wav".decode("utf-8", "surrogateescape"))
    assert cut_clips(Path("clips"), rows([event_row(r"caf\xe9.wav", 0.25, 0.5)])) == []
    ((_, line),) = clips_of(Path("clips"))
    assert line["file"] == r"caf\xe9.wav"


def test_names_of_files_are_never_taken_for_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("concat:a.wav", noise(1.0), RATE, format="WAV")
    assert cut_clips(Path("clips"), rows([event_row("concat:a.wav", 0.25, 0.5)])) == []
    failures = cut_clips(Path("clips"), rows([event_row("http://localhost:9/a.wav", 0.25, 0.5)]))
    assert failures == [ClipFailure("http://localhost:9/a.wav", 1, "cannot be opened (No such file or directory)")]


def test_older_clips_are_replaced_wholly_and_only_by_whole_ones(tmp_path: Path) -> None:
    soundfile.write(path := tmp_path / "a.wav", noise(3.0), RATE)
    folder = tmp_path / "clips"

    def events() -> Iterator[EventRow]:
        yield event_row(str(path), 0.5, 1.0, "new")
        raise RuntimeError("power cut")

    cut_clips(folder, rows([event_row(str(path), 0.5, 1.0, "old"), event_row(str(path), 1.5, 2.0, "old")]))
    with pytest.raises(RuntimeError, match="power cut"):
        cut_clips(folder, events)
    assert [line["label"] for _, line in clips_of(folder)] == ["old", "old"]
    cut_clips(folder, rows([event_row(str(path), 0.5, 1.0, "new")]))
    assert len([each for each in folder.rglob("*") if each.is_file()]) == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.wav", "clips"]


def test_no_events_give_a_folder_with_an_empty_list(tmp_path: Path) -> None:
    assert cut_clips(tmp_path / "clips", rows([])) == []
    assert clips_of(tmp_path / "clips") == []


def test_a_full_disk_ends_the_job_and_is_no_fault_of_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(path := tmp_path / "a.wav", noise(3.0), RATE)
    original: Any = av.open

    def full_disk(file: str, mode: str = "r", **options: Any) -> Any:
        return original("/dev/full" if mode == "w" else file, mode, **options)

    monkeypatch.setattr(av, "open", full_disk)
    with pytest.raises(OSError, match="No space left on device") as caught:
        cut_clips(tmp_path / "clips", rows([event_row(str(path), 0.5, 2.5)]))
    assert caught.value.errno == errno.ENOSPC
    assert [each.name for each in tmp_path.iterdir()] == ["a.wav"]


def test_what_cannot_be_done_is_refused_before_anything_is_cut(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("")
    with pytest.raises(UsageError, match=r"pad_seconds=-1 must be a number of seconds from 0 on"):
        cut_clips(tmp_path / "clips", rows([]), pad_seconds=-1)
    with pytest.raises(UsageError, match="no clips are written as 'mp3'; choose one of flac, wav"):
        cut_clips(tmp_path / "clips", rows([]), format="mp3")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="holds other files"):
        check_clips_folder(tmp_path)
    check_clips_folder(tmp_path / "clips")
