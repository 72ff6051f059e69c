"""Corpora: where training and test recordings come from."""

from pipelines.corpora.spoken_words import SpokenWords
from pipelines.corpora.staging import speech_spans

__all__ = ["SpokenWords", "speech_spans"]
