"""Answers requests to speak, in a process of its own: libespeak-ng (GPL-3) is loaded here and nowhere else.

Started by `pipelines.corpora.espeak` as a script; imports nothing but the standard library.
A message, in both directions, is a little-endian uint32 length and so many bytes. A request is a JSON list of
{"do": "say" | "phonemes", ...}; the answer is a JSON list of as many objects, and one more message for each, with its
16-bit samples (none for phonemes). Ends when its standard input closes.
"""

import ctypes
import json
import signal
import struct
import sys
from typing import Any, BinaryIO

AUDIO_SYNCHRONOUS = 2
CHARS_UTF8 = 1
EVENT_LIST_END, EVENT_WORD = 0, 1
RATE, VOLUME, PITCH, PITCH_RANGE = 1, 2, 3, 4
IPA_WITH_SEPARATOR = 0x02 | (ord("_") << 8)


class EspeakEvent(ctypes.Structure):
    """One entry of the list that espeak-ng passes along with samples (speak_lib.h, espeak_EVENT)."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(EspeakEvent)
)


class Speaker:
    """The library with its callback: text in, 16-bit samples and word starts out."""

    def __init__(self, library_path: str, data_path: str) -> None:
        self.library = ctypes.CDLL(library_path)
        self.library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self.samples = bytearray()
        self.word_starts: list[tuple[int, int]] = []  # (character, milliseconds)
        self.voice = ""
        self.callback = SynthCallback(self._receive)  # must live as long as the library calls it
        self.rate_hz = self.library.espeak_Initialize(AUDIO_SYNCHRONOUS, 0, data_path.encode(), 1 << 15)
        if self.rate_hz <= 0:
            raise OSError(f"espeak-ng found no data in {data_path}")
        self.library.espeak_SetSynthCallback(self.callback)

    def _receive(self, samples: Any, num_samples: int, events: Any) -> int:
        if samples and num_samples > 0:
            self.samples += ctypes.string_at(samples, 2 * num_samples)
        position = 0
        while events[position].type != EVENT_LIST_END:
            if events[position].type == EVENT_WORD:
                self.word_starts.append((events[position].text_position - 1, events[position].audio_position))
            position += 1
        return 0

    def _choose_voice(self, voice: str) -> str | None:
        if voice != self.voice and self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            return f"unknown voice {voice!r}"
        self.voice = voice
        return None

    def say(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        error = self._choose_voice(request["voice"])
        if error:
            return {"error": error}, b""
        for parameter, name in ((RATE, "rate_wpm"), (PITCH, "pitch"), (PITCH_RANGE, "pitch_range"), (VOLUME, "volume")):
            self.library.espeak_SetParameter(parameter, request[name], 0)
        self.library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self.samples.clear()
        self.word_starts.clear()
        text = request["text"].encode() + b"\0"
        status = self.library.espeak_Synth(text, len(text), 0, 0, 0, CHARS_UTF8, None, None)
        if status != 0:
            return {"error": f"espeak_Synth answered {status}"}, b""
        return {"rate_hz": self.rate_hz, "word_starts": list(self.word_starts)}, bytes(self.samples)

    def phonemes(self, request: dict[str, Any]) -> dict[str, Any]:
        error = self._choose_voice(request["voice"])
        if error:
            return {"error": error}
        text = ctypes.c_char_p(request["text"].encode())
        clauses = []
        while text.value is not None:  # one clause a call; the pointer ends as NULL
            clauses.append(self.library.espeak_TextToPhonemes(ctypes.byref(text), CHARS_UTF8, IPA_WITH_SEPARATOR))
        return {"phonemes": b" ".join(clause for clause in clauses if clause).decode()}


def read_message(stream: BinaryIO) -> bytes | None:
    """The next message, or None once the stream has ended."""
    header = stream.read(4)
    if len(header) < 4:
        return None
    (num_bytes,) = struct.unpack("<I", header)
    body = stream.read(num_bytes)
    return body if len(body) == num_bytes else None


def write_message(stream: BinaryIO, body: bytes) -> None:
    """Send one message."""
    stream.write(struct.pack("<I", len(body)))
    stream.write(body)


def main(library_path: str, data_path: str) -> None:
    """Answer until standard input closes."""
    for name in ("SIGINT", "SIGPIPE"):  # Ctrl-C, and nobody listening any more, end the process without a traceback
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    speaker = Speaker(library_path, data_path)
    while (message := read_message(sys.stdin.buffer)) is not None:
        answers: list[dict[str, Any]] = []
        sounds: list[bytes] = []
        for request in json.loads(message):
            if request["do"] == "say":
                answer, sound = speaker.say(request)
                answers.append(answer)
                sounds.append(sound)
            else:
                answers.append(speaker.phonemes(request))
                sounds.append(b"")
        write_message(sys.stdout.buffer, json.dumps(answers).encode())
        for sound in sounds:
            write_message(sys.stdout.buffer, sound)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
