"""The kinds of sounds that are computed, and who makes them: `SOURCES` by label, `individual` draws one."""

import zlib
from typing import Any, Protocol

import numpy as np

from pipelines.corpora.acoustics import Samples
from pipelines.corpora.sound_sources_animals import Bark, Chirp, Cough
from pipelines.corpora.sound_sources_machines import Alarm, Engine, Phone, Siren
from pipelines.corpora.sound_sources_struck import Bell, Dishes, Knock

SPLITS = ("train", "validation", "test")
NUM_INDIVIDUALS = {"train": 48, "validation": 16, "test": 24}


class Source(Protocol):
    """One individual that sounds: a certain bell, dog, door.

    Attributes:
        seconds: shortest and longest take that makes sense.
    """

    seconds: tuple[float, float]

    def take(self, generator: np.random.Generator, seconds: float) -> Samples:
        """One sound of about so many seconds, never the same twice, of any level."""
        ...


SOURCES: dict[str, Any] = {
    "alarm": Alarm,
    "bark": Bark,
    "bell": Bell,
    "chirp": Chirp,
    "cough": Cough,
    "dishes": Dishes,
    "engine": Engine,
    "knock": Knock,
    "phone": Phone,
    "siren": Siren,
}


def individual(label: str, split: str, number: int, seed: int) -> Source:
    """An individual of a split: always the same one, and none of another split."""
    stream = [seed, SPLITS.index(split), 3, zlib.crc32(label.encode()), number]
    made: Source = SOURCES[label](np.random.default_rng(stream))
    return made
