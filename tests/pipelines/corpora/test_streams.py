"""Mixed streams: shares of keywords, speech and noise, signal-to-noise ratios, and levels, from stems."""

import itertools

import numpy as np
import pytest

from pipelines.corpora.acoustics import RATE_HZ, room_response
from pipelines.corpora.streams import KINDS, Stream, compose
from pipelines.corpora.utterances import Stock


@pytest.fixture(scope="module")
def streams(stock: Stock) -> dict[str, Stream]:
    generator = np.random.default_rng(5)
    rooms = [room_response(generator) for _ in range(8)]
    seconds = {"practice": 40, "talkative": 90, "quiet": 120, "sparse": 240, "dry": 40}
    return {kind: compose(generator, KINDS[kind], stock, rooms, seconds[kind] * RATE_HZ) for kind in KINDS}


def spoken_seconds(stream: Stream, keywords: bool) -> float:
    """Time of keywords, or of all speech, from 10 ms marks."""
    marks = np.zeros(len(stream.speech) // 160 + 1, dtype=bool)
    for item in stream.placed:
        if not keywords:
            marks[item.onset // 160 : item.offset // 160] = True
        elif item.take.label:
            marks[item.label_onset // 160 : item.label_offset // 160] = True
    return float(marks.sum()) / 100.0


def test_shares_of_keywords_and_other_speech_hold(streams: dict[str, Stream]) -> None:
    shares = {}
    for kind, stream in streams.items():
        seconds = len(stream.speech) / RATE_HZ
        keywords, speech = spoken_seconds(stream, True) / seconds, spoken_seconds(stream, False) / seconds
        shares[kind] = keywords, (speech - keywords) / (1.0 - keywords)
    assert 0.03 < shares["talkative"][0] <= 0.10
    assert shares["talkative"][1] >= 0.40
    assert 0.01 < shares["quiet"][0] < 0.03
    assert sum(shares["quiet"]) < 0.12
    assert shares["sparse"][0] > 0.0
    assert sum(shares["sparse"]) <= 0.01
    assert 0.2 < shares["practice"][0] < 0.3


@pytest.mark.parametrize("kind", list(KINDS))
def test_speech_stem_is_silent_where_nobody_speaks_and_sounds_where_somebody_does(
    kind: str, streams: dict[str, Stream]
) -> None:
    stream = streams[kind]
    is_near = np.zeros(len(stream.speech), dtype=bool)
    for item in stream.placed:
        is_near[max(item.place, 0) : item.offset + RATE_HZ] = True  # the longest room rings for 0.6 s
        assert np.abs(stream.speech[item.onset : item.offset]).max() > 0.0
    assert np.abs(stream.speech[~is_near]).max(initial=0.0) == 0.0


@pytest.mark.parametrize("kind", list(KINDS))
def test_things_said_follow_one_another_within_the_stream(kind: str, streams: dict[str, Stream]) -> None:
    placed = streams[kind].placed
    for before, after in itertools.pairwise(placed):
        assert before.offset <= after.onset
    for item in placed:
        assert 0 <= item.onset < item.offset <= len(streams[kind].speech)
        if item.take.label:
            assert item.onset <= item.label_onset < item.label_offset <= item.offset + 1


@pytest.mark.parametrize("kind", ["talkative", "quiet"])
def test_unsteady_noise_fills_its_share(kind: str, streams: dict[str, Stream]) -> None:
    # Steady noise alone keeps within 3 dB of the floor (the quietest fifth) in 100 ms stretches.
    noise = streams[kind].noise
    power = np.square(noise[: len(noise) // 1600 * 1600], dtype=np.float64).reshape(-1, 1600).mean(axis=1)
    floor = np.quantile(power, 0.2)
    assert np.mean(power > 2.0 * floor) >= 0.30
    assert streams[kind].noise_share >= 0.30


def test_keywords_stand_above_the_noise_around_them_as_drawn(streams: dict[str, Stream]) -> None:
    # Only in quiet streams are there keywords without another voice's room within their time.
    stream = streams["quiet"]
    errors_db = []
    ends = [0, *[item.offset for item in stream.placed]]
    for item, end_before in zip(stream.placed, ends, strict=False):
        if item.take.label and item.onset - end_before > RATE_HZ:
            speech = stream.speech[item.label_onset : item.label_offset]
            noise = stream.noise[item.label_onset - 3200 : item.label_offset + 3200]
            ratio_db = 10 * np.log10(np.mean(np.square(speech)) / np.mean(np.square(noise)))
            errors_db.append(ratio_db - item.snr_db)
    assert len(errors_db) >= 3
    assert errors_db == pytest.approx([0.0] * len(errors_db), abs=0.1)


def test_ratios_spread_over_the_whole_range(streams: dict[str, Stream]) -> None:
    ratios = [item.snr_db for kind in ("talkative", "quiet") for item in streams[kind].placed]
    assert min(ratios) >= 0.0
    assert max(ratios) <= 20.0
    assert 7.0 < np.mean(ratios) < 13.0


@pytest.mark.parametrize("kind", list(KINDS))
def test_nothing_clips_and_nothing_is_lost_in_silence(kind: str, streams: dict[str, Stream]) -> None:
    mixture = streams[kind].speech + streams[kind].noise
    assert mixture.dtype == np.float32
    assert 0.09 < np.abs(mixture).max() < 0.96


def test_keywords_stand_alone_beside_other_speech_and_within_sentences(streams: dict[str, Stream]) -> None:
    placed = [item for stream in (streams["practice"], streams["talkative"]) for item in stream.placed]
    keywords = [item.take for item in placed if item.take.label]
    assert {take.sort for take in keywords} == {"keyword", "carrier"}
    gaps = [
        (after.onset - before.offset) / RATE_HZ
        for stream in (streams["practice"], streams["talkative"])
        for before, after in itertools.pairwise(stream.placed)
        if before.take.label or after.take.label
    ]
    assert min(gaps) < 0.15
    assert max(gaps) > 0.5
    assert len({take.label for take in keywords}) == 10
    assert len({take.variant for take in keywords}) >= 15
