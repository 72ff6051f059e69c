"""Tasks that a recipe can name: what is looked for, and how it is scored."""

from pipelines.tasks.actions import ActionRecognition
from pipelines.tasks.contract import Judged, Moment, Targets, Task
from pipelines.tasks.keywords import KeywordSpotting
from pipelines.tasks.sounds import SoundEventDetection

__all__ = ["ActionRecognition", "Judged", "KeywordSpotting", "Moment", "SoundEventDetection", "Targets", "Task"]
