"""From raw media to events: recipes, training, evaluation, models, archives. The only room that knows the other two.

model = pipelines.load("runs/kws/model")
print(model.tag("recording.flac"))
pipelines.tag_archive("runs/kws/model", "archive/", "results/", workers=4)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .archive import JobProgress, Summary, merge_shards, tag_archive
    from .model import Model, ModelError, load
    from .results import Events, Scores

__all__ = [
    "Events",
    "JobProgress",
    "Model",
    "ModelError",
    "Scores",
    "Summary",
    "load",
    "merge_shards",
    "tag_archive",
]

_HOMES = {
    "archive": ("JobProgress", "Summary", "merge_shards", "tag_archive"),
    "model": ("Model", "ModelError", "load"),
    "results": ("Events", "Scores"),
}


def __getattr__(name: str) -> Any:
    # Imported when asked for, because most of it brings torch: commands answer Ctrl-C and typing mistakes before that.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{home}", __name__), name)
    raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
