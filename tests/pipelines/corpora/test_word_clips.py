"""Own clips in long streams: where words end up, who says what, and the test clips by themselves."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]

from pipelines.corpora import WordClips
from pipelines.corpora.clip_stock import OwnClip, OwnClips, word_limits
from pipelines.corpora.texts import Lexicon
from pipelines.corpora.utterances import Stock, speak_chunk
from pipelines.errors import UserError
from pipelines.events import Recording

RATE_HZ = 16_000
SPEAKERS = ("ann", "bob", "cy")
PITCHES_HZ = {"red": 1_000.0, "blue": 3_000.0}
SPLITS = {"validation": ["bob"], "test": ["cy"]}
HOURS = {"train_hours": {"dry": 0.01}, "validation_hours": {"talkative": 0.001}, "test_hours": {"talkative": 0.001}}
SMALL: dict[str, Any] = {"num_workers": 1, "stream_seconds": 12.0, "pad_seconds": 0.5, **HOURS}


def tone(seconds: float, pitch_hz: float, level: float = 0.3) -> np.ndarray:
    return level * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two "words", tones trimmed to their very ends, two takes by each of three speakers."""
    root = tmp_path_factory.mktemp("own")
    for label, pitch_hz in PITCHES_HZ.items():
        for speaker in SPEAKERS:
            for take in range(2):
                path = root / "clips" / label / speaker / f"{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, tone(0.4, pitch_hz), RATE_HZ)
    return root / "clips"


@pytest.fixture(scope="module")
def recordings(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    return WordClips(str(folder), splits=SPLITS, **SMALL).prepare(tmp_path_factory.mktemp("cache"))


def loudest_hz(path: Path, onset_seconds: float, offset_seconds: float) -> float:
    samples, rate_hz = soundfile.read(path)
    part = samples[round(onset_seconds * rate_hz) : round(offset_seconds * rate_hz)]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return float(spectrum.argmax()) * rate_hz / len(part)


def test_words_are_mixed_into_streams_where_the_events_say(recordings: list[Recording]) -> None:
    events = [(r.source, e) for r in recordings if r.kind == "dry" for e in r.events]
    assert len(events) >= 20
    assert {e.label for _, e in events} == {"red", "blue"}
    for path, event in events:
        length = event.offset_seconds - event.onset_seconds
        speed = 0.4 / length
        assert 0.80 * 0.92 < speed < 1.25 * 1.08  # of takes, times that of a stream
        # the whole take is faster and higher by the same factor
        heard = loudest_hz(path, event.onset_seconds, event.offset_seconds)
        assert heard == pytest.approx(PITCHES_HZ[event.label] * speed, rel=0.08)


def test_test_clips_come_again_with_silence_around_them(recordings: list[Recording]) -> None:
    clips = [r for r in recordings if r.kind == "clip"]
    assert [r.clip_labels for r in clips] == [("blue",)] * 2 + [("red",)] * 2
    for clip in clips:
        assert clip.split == "test"
        (event,) = clip.events
        assert event[:2] == pytest.approx((0.5, 0.9), abs=0.011)
        assert (event.label,) == clip.clip_labels
        samples, _ = soundfile.read(clip.source)
        assert len(samples) == round(1.4 * RATE_HZ)
        assert not samples[: round(0.5 * RATE_HZ)].any()
        assert not samples[round(0.9 * RATE_HZ) :].any()


def test_a_table_says_where_words_are_and_a_recording_of_several_is_no_test_clip(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "one.wav", np.concatenate([np.zeros(8000), tone(0.4, 1_000.0), np.zeros(1600)]), RATE_HZ)
    two = np.concatenate([tone(0.4, 1_000.0), np.zeros(8000), tone(0.4, 3_000.0)])
    soundfile.write(clips / "two.wav", two, RATE_HZ)
    rows = ["one.wav,0.55,0.85,red,test,ann", "two.wav,0.0,0.4,red,test,ann", "two.wav,0.9,1.3,blue,test,ann"]
    table = tmp_path / "words.csv"
    table.write_text("\n".join(["file,onset,offset,label,split,speaker", *rows]) + "\n")
    corpus = WordClips(str(clips), table=str(table), **SMALL)
    recordings = corpus.prepare(tmp_path / "cache")
    (only,) = [r for r in recordings if r.kind == "clip"]
    assert only.events[0][:3] == (pytest.approx(1.05), pytest.approx(1.35), "red")  # as told, not as measured
    assert len(corpus._own_clips(corpus.clips.prepare(tmp_path / "cache"))) == 3


@pytest.mark.slow
def test_the_same_clips_and_arguments_give_the_same_streams_and_others_do_not(folder: Path, tmp_path: Path) -> None:
    def staged(cache: str, **changed: int) -> list[bytes]:
        corpus = WordClips(str(folder), splits=SPLITS, **(SMALL | changed))
        return [r.source.read_bytes() for r in corpus.prepare(tmp_path / cache) if r.split == "train"]

    first = staged("a")
    assert staged("b", num_workers=2) == first
    assert staged("a", seed=8) != first


def test_a_split_without_clips_has_its_words_said_by_the_synthesiser_and_the_card_tells(
    folder: Path, tmp_path: Path
) -> None:
    corpus = WordClips(str(folder), splits={}, **SMALL)
    recordings = corpus.prepare(tmp_path / "cache")
    assert {r.kind for r in recordings} == {"dry", "talkative"}  # no clip is left to test with
    assert any(r.events for r in recordings if r.split == "train")
    assert "the synthesiser says the words (validation: blue, red; test: blue, red)" in corpus.card()
    with pytest.raises(UserError, match=r"the validation split has no clip of 'blue', and said_as says that nobody"):
        WordClips(str(folder), splits={}, said_as={"blue": None}, **SMALL).prepare(tmp_path / "c")


def test_labels_that_are_no_english_need_a_spelling(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "red", tmp_path / "clips" / "7")
    shutil.copytree(folder / "blue", tmp_path / "clips" / "blue")
    folder = tmp_path / "clips"
    with pytest.raises(UserError, match=r"label '7'.*Say in said_as how it is spelled"):
        WordClips(str(folder), splits={}, **SMALL).prepare(tmp_path / "cache")
    with pytest.raises(UserError, match=r"said_as names '8', which is no label; they are 7, blue"):
        WordClips(str(folder), said_as={"8": "eight"}, **SMALL).prepare(tmp_path / "cache")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"synthesised": 1.0}, r"synthesised=1\.0 must be from 0 to below 1"),
        ({"train_hours": {"practise": 1.0}}, r"train_hours names the kind 'practise'; the kinds are practice"),
        ({"pad_seconds": -1.0}, r"pad_seconds=-1\.0 must be from 0 to 10"),
    ],
)
def test_numbers_out_of_range_are_refused_before_any_file_is_read(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        WordClips("nowhere", **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def chunk(lexicon: Lexicon, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chunk")
    speak_chunk(folder, "train", 0, ("yes", "no"), lexicon, seed=3)
    return folder


@pytest.mark.parametrize("synthesised", [0.0, 0.3, 0.8])
def test_the_wanted_share_of_training_takes_is_synthesised(chunk: Path, folder: Path, synthesised: float) -> None:
    paths = sorted(folder.glob("red/*/*.wav"))
    clips = [OwnClip(path, "jawohl", "train", path.parent.name, 0.0, 0.4) for path in paths]
    stock = OwnClips(tuple(clips), {"yes": "jawohl", "no": "no"}, synthesised, 7).open(chunk, "train", 1)
    takes = stock.keywords_by_label["jawohl"]
    assert {take.label for take in takes} == {"jawohl"}
    share = sum(take.accent != "own" for take in takes) / len(takes)
    assert share == pytest.approx(synthesised, abs=0.06)
    assert all(take.accent != "own" for take in stock.keywords_by_label["no"])  # of which there is no clip
    speeds = [0.4 * RATE_HZ / (take.offset - take.onset) for take in takes if take.accent == "own"]
    assert min(speeds) >= 0.79
    assert max(speeds) <= 1.26
    assert np.std(speeds) > 0.05
    for take in takes[:5]:
        assert len(stock.samples(take)) == pytest.approx(take.length, abs=2)


def test_recordings_without_words_are_heard_as_other_speech(chunk: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", tone(9.0, 500.0), RATE_HZ)
    spoken = Stock(chunk, "train", 1)
    stock = OwnClips((OwnClip(tmp_path / "noise.wav", "", "train", "noise"),), {"yes": "yes", "no": "no"}, 0.0, 7).open(
        chunk, "train", 1
    )
    assert [take.length for take in stock.sentences_of["noise"]] == [4 * RATE_HZ, 4 * RATE_HZ]
    added = [take for take in stock.by_sort["word"] if take.variant == "noise"]
    assert [take.length for take in added] == [RATE_HZ]
    assert len(stock.by_sort["sentence"]) == len(spoken.by_sort["sentence"]) + 2


def test_a_words_limits_leave_out_the_noise_of_its_clip_and_a_click_before_it() -> None:
    generator = np.random.default_rng(0)
    samples = generator.normal(0, 0.003, round(1.5 * RATE_HZ))  # a word at 0.6 to 1 s, noise 37 dB below its peak
    samples[round(0.6 * RATE_HZ) : round(1.0 * RATE_HZ)] += tone(0.4, 700.0, 0.3)
    samples[round(0.1 * RATE_HZ) : round(0.11 * RATE_HZ)] += tone(0.01, 2_000.0, 0.4)
    onset, offset = word_limits(samples.astype(np.float32))
    assert onset / RATE_HZ == pytest.approx(0.6, abs=0.011)
    assert offset / RATE_HZ == pytest.approx(1.0, abs=0.011)


def test_a_trimmed_clip_is_a_word_from_end_to_end() -> None:
    samples = (tone(0.5, 300.0) * np.hanning(round(0.5 * RATE_HZ)) ** 0.5).astype(np.float32)
    onset, offset = word_limits(samples)
    assert onset <= 0.02 * RATE_HZ
    assert offset >= 0.48 * RATE_HZ
