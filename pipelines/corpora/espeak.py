"""Text to speech without recordings: `Synthesiser` says a text in one of many English voices.

espeak-ng is GPL-3, so it runs in a process of its own (espeak_worker.py), which also survives its crashes and hangs.
"""

import contextlib
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.corpora.espeak_worker import read_message, write_message
from pipelines.errors import UserError

ACCENTS = (
    "en-us",
    "en-us-nyc",
    "en-gb",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
)

# Variants that sound like a person: no whispers, robots, echo chambers. Those made from one another (steph, steph2)
# stay within one split.
VARIANTS = {
    "train": (
        "Alex", "Alicia", "Andy", "AnxiousAndy", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo", "Lee",
        "Mario", "Michael", "Mike", "Mr_Serious", "Storm", "Tweaky", "adam", "aunty", "belinda", "benjamin",
        "croak", "edward", "edward2", "f3", "f4", "f5", "grandma", "ian", "iven", "iven2", "iven3", "iven4", "john",
        "kaukovalta", "klatt", "klatt2", "klatt4", "klatt6", "m2", "m4", "m5", "m6", "m8", "marcelo", "max",
        "michel", "miguel", "mike2", "norbert", "pablo", "quincy", "robert", "sandro", "steph", "steph2", "steph3",
        "travis",
    ),
    "validation": (
        "Annie", "Marco", "Nguyen", "antonio", "ed", "f2", "gustave", "klatt3", "linda", "m3", "paul", "shelby",
    ),
    "test": (
        "Andrea", "Jacky", "Reed", "anika", "boris", "david", "f1", "grandpa", "klatt5", "m1", "m7", "pedro", "rob",
        "victor", "zac",
    ),
}  # fmt: skip
_FILE_OF_VARIANT = {"Mr_Serious": "Mr serious"}
_NAME_OF_ACCENT = {"en-gb": "en"}


class Voice(NamedTuple):
    """Who speaks: an accent of English and a variant (the person). Splits are disjoint by variant."""

    accent: str
    variant: str

    @property
    def name(self) -> str:
        """How espeak-ng calls it."""
        return f"{_NAME_OF_ACCENT.get(self.accent, self.accent)}+{_FILE_OF_VARIANT.get(self.variant, self.variant)}"


class Request(NamedTuple):
    """One text to say.

    Args:
        rate_wpm: words per minute, 80 to 450.
        pitch: base pitch, 0 to 99; 50 is the voice's own.
        pitch_range: liveliness of the melody, 0 (monotone) to 99; 50 is the voice's own.
    """

    text: str
    voice: Voice
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50


class WordStart(NamedTuple):
    """When a word begins, and at which character of the text. Short words may be spoken as one: "was the"."""

    character: int
    seconds: float


class Utterance(NamedTuple):
    """What was said.

    Args:
        samples: (N,) float32 in [-1, 1).
        rate_hz: sample rate, espeak-ng's own (22050).
        word_starts: when each word begins.
    """

    samples: NDArray[np.float32]
    rate_hz: int
    word_starts: tuple[WordStart, ...]


class SynthesisError(UserError):
    """The synthesiser is missing, or failed on a text."""


def voices(split: str) -> tuple[Voice, ...]:
    """Every voice of a split, always in the same order; no two splits share a variant, each split has every accent.

    Raises:
        ValueError: if the split is not "train", "validation" or "test".
    """
    if split not in VARIANTS:
        raise ValueError(f"split={split!r} must be one of {', '.join(VARIANTS)}")
    return tuple(Voice(accent, variant) for variant in VARIANTS[split] for accent in ACCENTS)


class Synthesiser:
    """Says texts through espeak-ng in a process of its own; use it in a `with` statement.

    Args:
        timeout_seconds: how long one batch may take before the process counts as hung and is replaced.

    Raises:
        SynthesisError: if the package espeakng-loader is missing.
    """

    def __init__(self, *, timeout_seconds: float = 60.0) -> None:
        spec = importlib.util.find_spec("espeakng_loader")  # found, not imported: the library stays out of this process
        if spec is None or spec.origin is None:
            raise SynthesisError(
                "the speech synthesiser is missing: package espeakng-loader; install it with "
                "`uv sync --group recipes` or `pip install espeakng-loader`"
            )
        self._package = Path(spec.origin).parent
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):  # what was still to be sent has no reader any more
                        pipe.close()
            self._process = None

    def say(self, text: str, voice: Voice, rate_wpm: int = 175, pitch: int = 50, pitch_range: int = 50) -> Utterance:
        """The samples of a text; see `say_all`."""
        return self.say_all([Request(text, voice, rate_wpm, pitch, pitch_range)])[0]

    def say_all(self, requests: Sequence[Request]) -> list[Utterance]:
        """The samples of many texts in one round trip.

        The same requests to a new `Synthesiser` give the same samples. Within one, some voices waver (flutter, breath)
        differently each time they speak.

        Raises:
            SynthesisError: if a text cannot be said, or brings the synthesiser down twice.
        """
        messages = [
            {
                "do": "say",
                "text": request.text,
                "voice": request.voice.name,
                "rate_wpm": request.rate_wpm,
                "pitch": request.pitch,
                "pitch_range": request.pitch_range,
                "volume": 60,
            }
            for request in requests
        ]
        return [
            Utterance(
                np.frombuffer(sound, dtype="<i2").astype(np.float32) / 32768.0,
                answer["rate_hz"],
                tuple(WordStart(character, start_ms / 1000.0) for character, start_ms in answer["word_starts"]),
            )
            for answer, sound in self._ask(messages)
        ]

    def phonemes(self, text: str, voice: Voice) -> str:
        """The International Phonetic Alphabet of a text: "_" between phonemes, " " between words, stress marked."""
        return self.phonemes_all([text], voice)[0]

    def phonemes_all(self, texts: Sequence[str], voice: Voice) -> list[str]:
        """The phonemes of many texts in one round trip; see `phonemes`."""
        messages = [{"do": "phonemes", "text": text, "voice": voice.name} for text in texts]
        return [answer["phonemes"] for answer, _ in self._ask(messages)]

    def _ask(self, messages: list[dict[str, Any]]) -> list[tuple[dict[str, Any], bytes]]:
        """Answers to all messages. A batch that brings the process down is repeated message by message."""
        answers = self._try(messages) if messages else []
        if answers is None and len(messages) > 1:
            return [self._ask([message])[0] for message in messages]
        if answers is None:
            answers = self._try(messages)
        if answers is None:
            raise SynthesisError(
                f"espeak-ng crashed or hung twice on {messages[0]['text']!r} (voice {messages[0]['voice']}); "
                "leave out or respell this text"
            )
        for message, (answer, _) in zip(messages, answers, strict=True):
            if "error" in answer:
                raise SynthesisError(f"espeak-ng cannot say {message['text']!r}: {answer['error']}")
        return answers

    def _try(self, messages: list[dict[str, Any]]) -> list[tuple[dict[str, Any], bytes]] | None:
        """Answers to all messages, or None if the process died or had to be killed on the way."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        watchdog = threading.Timer(self._timeout_seconds, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            write_message(process.stdin, json.dumps(messages).encode())  # type: ignore[arg-type]
            process.stdin.flush()
            head = read_message(process.stdout)  # type: ignore[arg-type]
            sounds = [read_message(process.stdout) for _ in messages] if head is not None else []  # type: ignore[arg-type]
        except (BrokenPipeError, ConnectionResetError):
            head, sounds = None, []
        finally:
            watchdog.cancel()
        if head is None or any(sound is None for sound in sounds):
            self.close()
            return None
        return [(answer, sound or b"") for answer, sound in zip(json.loads(head), sounds, strict=True)]

    def _start(self) -> subprocess.Popen[bytes]:
        library = {"win32": "espeak-ng.dll", "darwin": "libespeak-ng.dylib"}.get(sys.platform, "libespeak-ng.so")
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                str(Path(__file__).with_name("espeak_worker.py")),
                str(self._package / library),
                str(self._package / "espeak-ng-data"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self._process
