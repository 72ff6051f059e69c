"""Soundscapes as a corpus: files and tables, levels and spans, repeatability, disjoint splits, own clips, mistakes."""

import csv
import importlib.util
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal  # type: ignore[import-untyped]
import soundfile  # type: ignore[import-untyped]

from pipelines.corpora import EventTable, Soundscapes
from pipelines.corpora.acoustics import Samples
from pipelines.corpora.espeak import SynthesisError
from pipelines.corpora.sound_backgrounds import UNSTEADY
from pipelines.corpora.sound_clips import stretched
from pipelines.corpora.sound_near_misses import NEAR_MISSES
from pipelines.corpora.sound_shapes import noise
from pipelines.corpora.sound_sources import SOURCES, individual
from pipelines.errors import UserError
from pipelines.events import Recording
from pipelines.recipe import load_recipe

RECIPES = Path(__file__).resolve().parents[3] / "recipes"
LABELS = ["bark", "bell", "chirp", "knock", "speech"]
HOUR = 40.0 / 3600.0  # one stream
NO_HOURS: dict[str, Any] = {"train_hours": {}, "validation_hours": {}, "test_hours": {}}


def small(num_workers: int) -> Soundscapes:
    return Soundscapes(
        LABELS,
        train_hours={"practice": HOUR, "busy": HOUR},
        validation_hours={"busy": HOUR},
        test_hours={"busy": HOUR, "quiet": HOUR},
        stream_seconds=40.0,
        event_shares={"quiet": 0.03},
        num_workers=num_workers,
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    return small(2).prepare(tmp_path_factory.mktemp("corpus"), seed=3)


def contents(recordings: list[Recording]) -> dict[str, bytes]:
    """Every file that was staged, by name."""
    return {path.name: path.read_bytes() for path in recordings[0].source.parent.iterdir()}


def table(recordings: list[Recording], name: str) -> list[dict[str, str]]:
    with (recordings[0].source.parent / f"{name}.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def covered(recording: Recording, num_samples: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How many events sound at every sample."""
    at_once = np.zeros(num_samples, dtype=np.int64)
    for event in recording.events:
        at_once[round(event.onset_seconds * 16000) : round(event.offset_seconds * 16000)] += 1
    return at_once


def test_streams_of_every_split_and_kind_are_staged_with_their_share_of_events(prepared: list[Recording]) -> None:
    most = {"practice": 0.3, "busy": 0.08, "quiet": 0.03}
    assert [(r.split, r.kind) for r in prepared] == [
        ("train", "practice"),
        ("train", "busy"),
        ("validation", "busy"),
        ("test", "busy"),
        ("test", "quiet"),
    ]
    for recording, row in zip(prepared, table(prepared, "recordings"), strict=True):
        file = soundfile.info(recording.source)
        assert (file.format, file.subtype, file.samplerate, file.channels) == ("FLAC", "PCM_16", 16000, 1)
        assert file.frames == 40 * 16000
        at_once = covered(recording, file.frames)
        assert 0.5 * most[recording.kind] < np.mean(at_once > 0) <= most[recording.kind]
        assert float(row["event_share"]) == pytest.approx(float(np.mean(at_once > 0)), abs=1e-4)
        assert float(row["overlap_share"]) == pytest.approx(float(np.mean(at_once > 1)), abs=1e-4)
        assert at_once.max() <= 3
        assert float(row["unsteady_noise_share"]) >= 0.35
        assert list(recording.events) == sorted(recording.events)
        assert all(0.0 <= event.onset_seconds < event.offset_seconds <= 40.0 for event in recording.events)
    assert {event.label for recording in prepared for event in recording.events} == set(LABELS)


def test_events_of_different_labels_overlap_and_those_of_one_never_touch(prepared: list[Recording]) -> None:
    assert covered(prepared[0], 40 * 16000).max() > 1
    for recording in prepared:
        for label in LABELS:
            spans = [event[:2] for event in recording.events if event.label == label]
            assert all(after[0] - before[1] >= 0.2 for before, after in itertools.pairwise(spans))


def test_same_seed_gives_the_same_bytes_with_one_process_or_two(prepared: list[Recording], tmp_path: Path) -> None:
    again = small(1).prepare(tmp_path, seed=3)
    assert contents(again) == contents(prepared)


def test_another_seed_gives_other_streams(tmp_path: Path, prepared: list[Recording]) -> None:
    corpus = Soundscapes(["bark"], **NO_HOURS | {"test_hours": {"busy": HOUR}}, stream_seconds=30.0, num_workers=1)
    streams = [corpus.prepare(tmp_path, seed=seed)[0].source.read_bytes() for seed in (3, 4)]
    assert len({*streams, *(recording.source.read_bytes() for recording in prepared)}) == 2 + len(prepared)


def test_complete_corpus_is_reused_and_an_interrupted_one_is_continued(
    prepared: list[Recording], tmp_path: Path
) -> None:
    def stop_after_two(what: str, done: int, total: int) -> None:
        assert total in (3, 5)
        if what == "mixing" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(1).prepare(tmp_path, seed=3, progress=stop_after_two)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.flac")}
    assert len(kept) == 2
    seen: list[tuple[str, int]] = []
    again = small(1).prepare(tmp_path, seed=3, progress=lambda what, done, _total: seen.append((what, done)))
    assert seen == [("mixing", 3), ("mixing", 4), ("mixing", 5)]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(again) == contents(prepared)
    seen.clear()
    assert small(2).prepare(tmp_path, seed=3, progress=lambda what, done, _total: seen.append((what, done))) == again
    assert not seen


def test_the_table_of_events_is_read_by_event_table(prepared: list[Recording]) -> None:
    folder = prepared[0].source.parent
    splits = {split: [f"{split}-*"] for split in ("train", "validation", "test")}
    read = EventTable(str(folder), str(folder / "events.tsv"), splits=splits).prepare(folder)
    by_name = {recording.source.name: recording for recording in read}
    for recording in prepared:
        assert by_name[recording.source.name].events == recording.events
        assert by_name[recording.source.name].split == recording.split


def test_no_individual_is_in_two_splits(prepared: list[Recording]) -> None:
    individuals: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for row in table(prepared, "events"):
        individuals[row["filename"].split("-")[0]].add(row["source"])
    assert all(individuals.values())
    for one, other in itertools.combinations(individuals.values(), 2):
        assert not one & other


def energy_recall(recording: Recording, share: float) -> float:
    """Of the 80 ms with an event, how many are among the loudest `share` of all; each looks 0.24 s around itself."""
    samples = soundfile.read(recording.source)[0]
    frames = samples[: len(samples) // 1280 * 1280].reshape(-1, 1280)
    level = scipy.ndimage.maximum_filter1d(np.mean(frames**2, axis=1), 7)
    has_event = covered(recording, len(samples))[: frames.size].reshape(-1, 1280).any(axis=1)
    return float(np.mean(level[has_event] > np.quantile(level, 1.0 - share)))


def test_a_threshold_on_energy_does_not_find_the_events(tmp_path: Path) -> None:
    hours = {**NO_HOURS, "test_hours": {"busy": 300.0 / 3600.0}}
    recording = Soundscapes(list(SOURCES), **hours, stream_seconds=300.0, num_workers=1).prepare(tmp_path)[0]
    # An oracle finds all of them at 15 % open; loudness alone is better than chance and far from that.
    assert 0.15 < energy_recall(recording, 0.15) < 0.7


@pytest.mark.parametrize("label", SOURCES)
def test_every_take_is_another_sound_and_its_seed_gives_it_again(label: str) -> None:
    def take(split: str, number: int, seed: int) -> Samples:
        source = individual(label, split, number, 0)
        return source.take(np.random.default_rng(seed), float(np.sqrt(np.prod(source.seconds))))

    takes = [take("train", 0, 0), take("train", 0, 1), take("train", 1, 0), take("test", 0, 0)]
    for one, other in itertools.combinations(takes, 2):
        length = min(len(one), len(other))
        product = np.vdot(one[:length], other[:length])
        assert abs(product) < 0.9 * np.linalg.norm(one[:length]) * np.linalg.norm(other[:length])
    assert np.array_equal(takes[0], take("train", 0, 0))


@pytest.mark.parametrize("label", SOURCES)
def test_takes_are_finite_audible_and_within_their_length(label: str) -> None:
    for number in range(12):
        source = individual(label, "validation", number, 5)
        for seconds in source.seconds:
            sound = source.take(np.random.default_rng(number), seconds)
            assert sound.dtype == np.float32
            assert np.isfinite(sound).all()
            assert np.abs(sound).max() > 1e-4
            assert len(sound) <= round(seconds * 16000)
            assert abs(sound[-1]) < 0.05 * np.abs(sound).max()  # nothing is cut off


@pytest.mark.parametrize("name", [*UNSTEADY, *NEAR_MISSES])
def test_noises_and_near_misses_are_finite_and_never_the_same(name: str) -> None:
    first, second = (
        UNSTEADY[name](np.random.default_rng(seed), 16000)
        if name in UNSTEADY
        else NEAR_MISSES[name](np.random.default_rng(seed))
        for seed in (0, 1)
    )
    assert np.isfinite(first).all()
    assert np.abs(first).max() > 1e-4
    assert not np.array_equal(first[:1000], second[:1000])


def pitch_hz(sound: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 18))
    return float(np.argmax(spectrum)) * 16000 / (1 << 18)


@pytest.mark.parametrize(("factor", "semitones"), [(1.5, 0.0), (0.7, 0.0), (1.0, 12.0), (1.0, -5.0), (1.25, 3.0)])
def test_stretching_keeps_the_pitch_and_shifting_keeps_the_length(factor: float, semitones: float) -> None:
    tone = np.sin(2.0 * np.pi * 500.0 * np.arange(16000) / 16000.0).astype(np.float32)
    changed = stretched(tone, factor, semitones)
    assert len(changed) == pytest.approx(factor * 16000, abs=3)
    assert pitch_hz(changed) == pytest.approx(500.0 * 2.0 ** (semitones / 12.0), rel=0.005)
    middle = changed[len(changed) // 4 : -len(changed) // 4]
    assert float(np.sqrt(np.mean(middle**2))) == pytest.approx(np.sqrt(0.5), rel=0.1)


def write_clip(path: Path, samples: Samples, rate_hz: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz)


def tone_clip(frequency_hz: float, seconds: float, silence_seconds: float = 0.3, rate_hz: int = 16000) -> Samples:
    """A tone between two silences."""
    sound = 0.3 * np.sin(2.0 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    return np.pad(sound, round(silence_seconds * rate_hz)).astype(np.float32)


@pytest.fixture
def own_clips(tmp_path: Path) -> Path:
    """Tones of 0.4 s as foreground, in clips and in a folder of clips of one individual; white noise as background."""
    for number in range(6):
        write_clip(
            tmp_path / f"foreground/high/{number}.wav", tone_clip(3000.0 + 10 * number, 0.4, rate_hz=22050), 22050
        )
        write_clip(tmp_path / f"foreground/low/one{number % 3}/{number}.wav", tone_clip(1000.0, 0.4))
        white = noise(np.random.default_rng(number), 16000 * 5)
        write_clip(tmp_path / f"background/room/{number}.wav", 0.1 * white)
    (tmp_path / "foreground/high/notes.txt").write_text("where these come from")
    return tmp_path


def own(folder: Path, **arguments: Any) -> Soundscapes:
    hours = {f"{split}_hours": {"busy": HOUR} for split in ("train", "validation", "test")}
    given = {"foreground": str(folder / "foreground"), "background": str(folder / "background"), **hours}
    return Soundscapes(**{**given, "stream_seconds": 40.0, "num_workers": 1, **arguments})


def test_own_clips_lie_where_the_table_says_at_the_level_it_says(own_clips: Path, tmp_path: Path) -> None:
    corpus = own(own_clips, snr_db=(15.0, 15.0))
    assert corpus.labels == ("high", "low")
    recordings = corpus.prepare(tmp_path / "staged")
    assert {event.label for recording in recordings for event in recording.events} == {"high", "low"}
    for recording in recordings:
        samples = soundfile.read(recording.source)[0]
        at_once = covered(recording, len(samples))
        floor = np.mean(samples[scipy.ndimage.minimum_filter1d(at_once == 0, 8001)] ** 2)
        for event in recording.events:
            onset, offset = round(event.onset_seconds * 16000), round(event.offset_seconds * 16000)
            # 10 ms frames at either end, and what the microphone's filters ring on
            assert 0.39 <= event.offset_seconds - event.onset_seconds <= 0.44
            if at_once[onset:offset].max() > 1:
                continue
            level_db = 10.0 * np.log10(np.mean(samples[onset:offset] ** 2) / floor - 1.0)
            assert level_db == pytest.approx(15.0, abs=1.0)  # 0.4 s of noise differs from its mean by so much
            centre = 3000.0 if event.label == "high" else 1000.0
            assert abs(pitch_hz(samples[onset:offset]) - centre) < 60.0


def test_own_clips_and_folders_of_them_stay_in_one_split(own_clips: Path, tmp_path: Path) -> None:
    recordings = own(own_clips).prepare(tmp_path / "staged", seed=2)
    used: dict[str, set[str]] = {}
    for name, column in (("events", "source"), ("noises", "noise")):
        for row in table(recordings, name):
            used.setdefault(row[column], set()).add(row["filename"].split("-")[0])
    assert all(len(splits) == 1 for splits in used.values())
    assert {name for name in used if name.startswith("low/")} == {"low/one0", "low/one1", "low/one2"}


def test_own_clips_are_stretched_among_computed_noise_alike_every_time(own_clips: Path, tmp_path: Path) -> None:
    corpus = own(own_clips, stretch=(0.8, 1.25), semitones=(-2.0, 2.0), background=None)
    recordings = corpus.prepare(tmp_path / "staged")
    assert contents(recordings) == contents(corpus.prepare(tmp_path / "again"))
    assert not {row["noise"] for row in table(recordings, "noises")} & set(NEAR_MISSES)
    lengths = [event.offset_seconds - event.onset_seconds for r in recordings for event in r.events]
    assert max(lengths) - min(lengths) > 0.05


def test_a_changed_clip_makes_another_corpus(own_clips: Path, tmp_path: Path) -> None:
    before = own(own_clips).prepare(tmp_path / "staged")[0].source.parent
    write_clip(own_clips / "foreground/high/0.wav", tone_clip(3100.0, 0.5))
    assert own(own_clips).prepare(tmp_path / "staged")[0].source.parent != before


def test_without_the_synthesiser_all_but_speech_is_staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    hours = {**NO_HOURS, "test_hours": {"busy": HOUR}}
    arguments: dict[str, Any] = {**hours, "stream_seconds": 30.0, "num_workers": 1}
    assert Soundscapes(["bark", "knock"], **arguments).prepare(tmp_path)[0].events
    with pytest.raises(SynthesisError, match="espeakng-loader"):
        Soundscapes(["bark", "speech"], **arguments).prepare(tmp_path)


def test_a_recipe_can_name_the_corpus_and_its_ranges() -> None:
    changes = [("corpus", "pipelines.corpora.Soundscapes"), ("corpus.init_args.snr_db", "[3, 15]")]
    corpus = load_recipe(RECIPES / "kws.yaml", changes).corpus.build()
    assert corpus.snr_db == (3, 15)
    assert corpus.labels == (*SOURCES, "speech")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["bell", "gong"]}, "the label 'gong' is no sound that is computed"),
        ({"labels": []}, r"labels=\[\] must name at least one label"),
        ({"labels": ["bell", "bell"]}, "none twice"),
        ({"train_hours": {"noisy": 1.0}}, "train_hours names the kind 'noisy'; the kinds are practice, busy, quiet"),
        ({"test_hours": {"practice": 1.0}}, "test_hours names the kind 'practice', which is for training only"),
        ({"test_hours": {"quiet": -1.0}}, "test_hours has -1.0 hours of 'quiet'"),
        ({"event_shares": {"busy": 0.9}}, "event_shares has 0.9 for 'busy'; it must be above 0 and at most 0.6"),
        ({"event_shares": {"loud": 0.1}}, "event_shares names the kind 'loud'"),
        ({"noises": ["rian"]}, "noises names 'rian'; did you mean rain"),
        ({"stream_seconds": 1.0}, "stream_seconds=1.0 must be from 10 to 3600"),
        ({"num_workers": 0}, "num_workers=0 must be at least 1"),
        ({"snr_db": (20.0, 0.0)}, r"snr_db=\[20.0, 0.0\] must be the lowest and the highest, from -10 to 60"),
        ({"stretch": (0.1, 1.0)}, "stretch="),
        ({"foreground": "nowhere"}, "foreground='nowhere' is no folder; it must hold a folder of clips for each label"),
    ],
)
def test_mistake_in_an_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Soundscapes(**arguments)


def test_bad_folders_of_clips_are_named(own_clips: Path, tmp_path: Path) -> None:
    (own_clips / "empty").mkdir()
    with pytest.raises(UserError, match=r"background=.* holds no folders; put clips into background/LABEL/"):
        own(own_clips, background=str(own_clips / "empty"))
    with pytest.raises(UserError, match="the label 'middle' has no folder in foreground; there are high, low"):
        own(own_clips, labels=["high", "middle"])
    (own_clips / "foreground/none").mkdir()
    with pytest.raises(UserError, match=r"foreground: the label 'none' has no clips in .*none; put some there, or"):
        own(own_clips)
    write_clip(own_clips / "foreground/none/only.wav", tone_clip(500.0, 0.4))
    with pytest.raises(
        UserError, match=r"label 'none' has 1 clips .* at least one for each of train, validation, test"
    ):
        own(own_clips).prepare(tmp_path / "staged")


def test_bad_clips_are_named(own_clips: Path, tmp_path: Path) -> None:
    (own_clips / "foreground/high/0.wav").write_bytes(b"this is no sound")
    with pytest.raises(UserError, match=r"high/0\.wav cannot be read: .*; repair it, or take it out"):
        own(own_clips).prepare(tmp_path / "staged")
    write_clip(own_clips / "foreground/high/0.wav", np.zeros(16000, dtype=np.float32))
    with pytest.raises(UserError, match=r"high/0\.wav is silent"):
        own(own_clips).prepare(tmp_path / "staged")


def test_events_that_find_no_place_are_refused(own_clips: Path, tmp_path: Path) -> None:
    quiet = {**NO_HOURS, "test_hours": {"quiet": HOUR}}
    with pytest.raises(
        UserError, match=r"a 'siren' lasts at least 2 s, but events may take 0\.48 s of a stream of 60 s"
    ):
        Soundscapes(["siren"], **quiet, stream_seconds=60.0, num_workers=1).prepare(tmp_path)
    for number in range(3):  # so short that the gaps between them are most of the time
        write_clip(own_clips / f"short/tick/{number}.wav", tone_clip(2000.0, 0.1))
    crowded = own(own_clips, foreground=str(own_clips / "short"), event_shares={"busy": 0.6})
    with pytest.raises(UserError, match=r"but event_shares asks for 60 %: .* lower the share, or give more labels"):
        crowded.prepare(tmp_path / "staged")


def test_card_tells_where_the_sound_comes_from(own_clips: Path) -> None:
    card = Soundscapes().card()
    for fact in ("espeak-ng", "GPL-3.0", "dishes", "Trained without recordings"):
        assert fact in card
    assert "espeak" not in Soundscapes(["bell"]).card()
    assert "12 clips of high, low, recorded backgrounds" in own(own_clips).card()
