"""One small corpus and one stock of takes, made once for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.corpora.espeak import Synthesiser
from pipelines.corpora.texts import Lexicon
from pipelines.corpora.utterances import Stock, speak_chunk

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")


@pytest.fixture(scope="session")
def synthesiser() -> Iterator[Synthesiser]:
    with Synthesiser() as synthesiser:
        yield synthesiser


@pytest.fixture(scope="session")
def lexicon(synthesiser: Synthesiser) -> Lexicon:
    return Lexicon(WORDS, synthesiser)


@pytest.fixture(scope="session")
def stock(lexicon: Lexicon, tmp_path_factory: pytest.TempPathFactory) -> Stock:
    folder: Path = tmp_path_factory.mktemp("stock")
    speak_chunk(folder, "train", 0, WORDS, lexicon, seed=7)
    return Stock(folder, "train", 1)
