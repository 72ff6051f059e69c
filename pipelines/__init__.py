"""From raw media to events: recipes, training, evaluation, models. The only room that knows surnn and featurizers.

model = pipelines.load("runs/kws/model")
print(model.tag("recording.flac"))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Model, ModelError, load
    from .results import Events, Scores

__all__ = ["Events", "Model", "ModelError", "Scores", "load"]


def __getattr__(name: str) -> Any:
    # Imported when asked for, because it brings torch: commands answer Ctrl-C and typing mistakes before that.
    if name not in __all__:
        raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
    from . import model, results

    return getattr(results if name in ("Events", "Scores") else model, name)
