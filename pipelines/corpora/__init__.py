"""Corpora: where training and test recordings come from."""

from pipelines.corpora.desed import DESED
from pipelines.corpora.event_table import EventTable
from pipelines.corpora.soundscapes import Soundscapes
from pipelines.corpora.spoken_words import SpokenWords
from pipelines.corpora.staging import speech_spans

__all__ = ["DESED", "EventTable", "Soundscapes", "SpokenWords", "speech_spans"]
