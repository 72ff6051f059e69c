"""Corpora: where training and test recordings come from."""

from pipelines.corpora.action_folder import ActionFolder
from pipelines.corpora.clip_folder import ClipFolder
from pipelines.corpora.desed import DESED
from pipelines.corpora.event_table import EventTable
from pipelines.corpora.soundscapes import Soundscapes
from pipelines.corpora.speech_commands import SpeechCommands
from pipelines.corpora.spoken_words import SpokenWords
from pipelines.corpora.staged_actions import StagedActions
from pipelines.corpora.staging import speech_spans
from pipelines.corpora.word_clips import WordClips

__all__ = [
    "DESED",
    "ActionFolder",
    "ClipFolder",
    "EventTable",
    "Soundscapes",
    "SpeechCommands",
    "SpokenWords",
    "StagedActions",
    "WordClips",
    "speech_spans",
]
