"""Speech as an event: short sentences said by a synthesiser, the voices of a split."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr  # type: ignore[import-untyped]

from pipelines.corpora.acoustics import RATE_HZ
from pipelines.corpora.espeak import Request, Synthesiser, voices
from pipelines.corpora.sound_sources import SPLITS
from pipelines.corpora.texts import compose_sentence
from pipelines.runfolder import write_atomic

SPEECH = "speech"
UTTERANCES_PER_HOUR = 160  # at 30 % of the time with events of eleven labels, each is heard about once
LONGEST_SECONDS = 4.0


class Utterance(NamedTuple):
    """Something said: who, what, and the .npy file of it."""

    variant: str
    text: str
    file: str


def speak(folder: Path, split: str, hours: float, seed: int) -> None:
    """Say sentences for so many hours of a split into `folder`; speech-SPLIT.json, written last, lists them.

    Raises:
        SynthesisError: if the synthesiser's package is missing.
    """
    generator = np.random.default_rng([seed, SPLITS.index(split), 5])
    everyone = voices(split)
    requests = [
        Request(
            compose_sentence(generator),
            everyone[int(generator.integers(len(everyone)))],
            rate_wpm=int(generator.integers(130, 231)),
            pitch=int(generator.integers(25, 76)),
            pitch_range=int(generator.integers(20, 90)),
        )
        for _ in range(max(40, min(800, round(UTTERANCES_PER_HOUR * hours))))
    ]
    speeds = generator.uniform(0.9, 1.12, len(requests))
    with Synthesiser() as synthesiser:
        said = synthesiser.say_all(requests)
    listed: list[Utterance] = []
    for number, (request, utterance, speed) in enumerate(zip(requests, said, speeds, strict=True)):
        samples = soxr.resample(utterance.samples, utterance.rate_hz * float(speed), RATE_HZ, quality="MQ")
        peak = float(np.abs(samples).max(initial=0.0))
        if peak < 0.01 or len(samples) > LONGEST_SECONDS * RATE_HZ:
            continue
        file = f"speech-{split}-{number:03d}.npy"
        np.save(folder / file, np.round(samples * (32000.0 / peak)).astype(np.int16))
        listed.append(Utterance(request.voice.variant, request.text, file))
    write_atomic(folder / f"speech-{split}.json", json.dumps(listed))


def spoken(folder: Path, split: str) -> dict[str, list[Path]]:
    """Files of what each voice of a split has said."""
    files: dict[str, list[Path]] = {}
    for fields in json.loads((folder / f"speech-{split}.json").read_text()):
        utterance = Utterance(*fields)
        files.setdefault(utterance.variant, []).append(folder / utterance.file)
    return files
