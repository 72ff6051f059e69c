"""Text to speech in a process of its own: voices, word times, crashes, hangs."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.corpora.espeak import ACCENTS, Request, Synthesiser, SynthesisError, Voice, voices

VOICE = Voice("en-us", "f3")

# Answers like espeak_worker.py with 100 samples a text, but ends at the text "boom" and sleeps at the text "hang".
FAKE_WORKER = """
import json, struct, sys, time
while len(head := sys.stdin.buffer.read(4)) == 4:
    requests = json.loads(sys.stdin.buffer.read(struct.unpack("<I", head)[0]))
    if any(request["text"] == "boom" for request in requests):
        sys.exit(3)
    if any(request["text"] == "hang" for request in requests):
        time.sleep(60)
    head = json.dumps([{"rate_hz": 22050, "word_starts": []} for _ in requests]).encode()
    for body in [head, *[bytes(200) for _ in requests]]:
        sys.stdout.buffer.write(struct.pack("<I", len(body)) + body)
    sys.stdout.buffer.flush()
"""


class FakeSynthesiser(Synthesiser):
    """A synthesiser whose process is FAKE_WORKER."""

    num_started = 0

    def _start(self) -> "subprocess.Popen[bytes]":
        self.num_started += 1
        self._process = subprocess.Popen(
            [sys.executable, "-c", FAKE_WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self._process


def test_speaks_at_the_rate_that_it_names_and_faster_when_asked(synthesiser: Synthesiser) -> None:
    slow = synthesiser.say("the weather will be better tomorrow", VOICE, rate_wpm=120)
    fast = synthesiser.say("the weather will be better tomorrow", VOICE, rate_wpm=240)
    assert slow.rate_hz == 22050
    assert slow.samples.dtype == np.float32
    assert 0.05 < np.abs(slow.samples).max() < 1.0
    assert 1.5 < len(slow.samples) / len(fast.samples) < 2.6
    assert 2.0 < len(slow.samples) / slow.rate_hz < 6.0  # six words at 120 a minute take three seconds


def test_word_starts_name_the_characters_of_the_text(synthesiser: Synthesiser) -> None:
    text = "please say stop now"
    utterance = synthesiser.say(text, VOICE)
    assert [text[start.character :].split()[0] for start in utterance.word_starts] == text.split()
    seconds = [start.seconds for start in utterance.word_starts]
    assert seconds == sorted(seconds)
    assert seconds[-1] < len(utterance.samples) / utterance.rate_hz


def test_stop_consonant_silence_lies_within_the_word_that_has_it(synthesiser: Synthesiser) -> None:
    # In "ma stop ma" only "stop" has closures: the quietest 10 ms between the vowels must lie within its times.
    utterance = synthesiser.say("ma stop ma", VOICE, rate_wpm=120)
    begin, end = (round(start.seconds * utterance.rate_hz) for start in utterance.word_starts[1:3])
    frames = utterance.samples[: len(utterance.samples) // 220 * 220].reshape(-1, 220)
    inner = slice(10, len(frames) - 15)
    quietest = (int(np.argmin(np.square(frames).mean(axis=1)[inner])) + 10) * 220
    assert begin <= quietest < end


def test_splits_share_no_variant_and_each_has_every_accent() -> None:
    members = {split: voices(split) for split in ("train", "validation", "test")}
    variants = {split: {voice.variant for voice in found} for split, found in members.items()}
    assert sum(len(found) for found in variants.values()) == len(set().union(*variants.values())) >= 60
    for found in members.values():
        assert {voice.accent for voice in found} == set(ACCENTS)
    with pytest.raises(ValueError, match="split='dev' must be one of train, validation, test"):
        voices("dev")


def test_every_voice_exists(synthesiser: Synthesiser) -> None:
    spec = importlib.util.find_spec("espeakng_loader")
    assert spec is not None
    assert spec.origin is not None
    variant_files = {path.name for path in (Path(spec.origin).parent / "espeak-ng-data/voices/!v").iterdir()}
    for split in ("train", "validation", "test"):
        assert {voice.name.partition("+")[2] for voice in voices(split)} <= variant_files
        synthesiser.say_all(
            [Request("a", voice) for voice in voices(split)[:8]]
        )  # all accents; raises if one is unknown
    with pytest.raises(SynthesisError, match=r"cannot say 'hello': unknown voice 'en-xx\+f1'"):
        synthesiser.say("hello", Voice("en-xx", "f1"))


def test_new_synthesiser_gives_the_same_samples() -> None:
    requests = [Request(text, Voice("en-gb", "grandma")) for text in ("good morning", "see you soon")]
    with Synthesiser() as one, Synthesiser() as other:
        for left, right in zip(one.say_all(requests), other.say_all(requests), strict=True):
            assert np.array_equal(left.samples, right.samples)


def test_phonemes_tell_words_apart_and_homophones_not(synthesiser: Synthesiser) -> None:
    assert (
        synthesiser.phonemes("no", VOICE) == synthesiser.phonemes("know", VOICE) != synthesiser.phonemes("now", VOICE)
    )
    assert synthesiser.phonemes("stop, go", VOICE).split() == [
        *synthesiser.phonemes("stop", VOICE).split(),
        *synthesiser.phonemes("go", VOICE).split(),
    ]


def test_speaks_on_after_its_process_died() -> None:
    with Synthesiser() as synthesiser:
        before = synthesiser.say("hello", VOICE)
        assert synthesiser._process is not None
        synthesiser._process.kill()
        synthesiser._process.wait()
        assert np.array_equal(synthesiser.say("hello", VOICE).samples, before.samples)


def test_text_that_brings_the_process_down_twice_is_named() -> None:
    with FakeSynthesiser() as synthesiser:
        requests = [Request(text, VOICE) for text in ("fine", "boom", "good")]
        with pytest.raises(SynthesisError, match=r"crashed or hung twice on 'boom' \(voice en-us\+f3\)"):
            synthesiser.say_all(requests)
        assert len(synthesiser.say("fine", VOICE).samples) == 100


def test_hung_process_is_replaced_once_and_then_given_up() -> None:
    with FakeSynthesiser(timeout_seconds=0.5) as synthesiser:
        with pytest.raises(SynthesisError, match="crashed or hung twice on 'hang'"):
            synthesiser.say("hang", VOICE)
        assert synthesiser.num_started == 2


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SynthesisError, match=r"uv sync --group recipes.*pip install espeakng-loader"):
        Synthesiser()


def test_library_stays_out_of_this_process(synthesiser: Synthesiser) -> None:
    synthesiser.say("hello", VOICE)
    assert "espeakng_loader" not in sys.modules
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert "espeak" not in maps.read_text()
