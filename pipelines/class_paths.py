"""Classes by dotted path: finding them, saying what is wrong with them, and importing nothing that is not trusted."""

import importlib
import inspect
import traceback
from collections.abc import Collection
from typing import Any, NamedTuple

from .errors import RecipeError
from .yaml_text import did_you_mean

OUR_PACKAGES = ("surnn", "featurizers", "pipelines")
_TRUST_ADVICE = "importing it runs its code: read it first, then trust it by its full name"


class Place(NamedTuple):
    """Where something stands in a recipe, for messages."""

    source: str
    line: int | None
    key: str

    def error(self, message: str) -> RecipeError:
        return RecipeError(message, source=self.source, line=self.line, key=self.key)


def foreign_class_paths(data: Any, trust: Collection[str] = ()) -> list[str]:
    """Dotted paths under any `class_path` in plain data that lie outside our packages and are not trusted by name."""
    found: list[str] = []
    if isinstance(data, dict):
        path = data.get("class_path")
        if isinstance(path, str) and path.split(".")[0] not in OUR_PACKAGES and path not in trust:
            found.append(path)
    for value in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        found += foreign_class_paths(value, trust)
    return sorted(set(found))


def import_class(path: str, place: Place, trust: Collection[str] | None = None, kind: str = "class") -> Any:
    """The class at a dotted path.

    Args:
        path: such as "featurizers.LogMel".
        place: where the recipe names it.
        trust: None: anything may be imported; otherwise our packages (and what they define) and the paths named here.
        kind: "class", or "" if a function will do.
    Raises:
        RecipeError: if it does not exist, is not a class, is not trusted, or its module fails while it is imported.
    """
    parts = path.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise place.error(f"{path!r} is not the dotted path of a class, such as featurizers.LogMel")
    may_import = trust is None or path in trust
    if not may_import and parts[0] not in OUR_PACKAGES:
        raise place.error(f"names {path}, which is outside {', '.join(OUR_PACKAGES)} and not trusted; {_TRUST_ADVICE}")
    module, rest = _import_longest(parts, place)
    found: Any = module
    for n, part in enumerate(rest):
        if not hasattr(found, part):
            owner = ".".join(parts[: len(parts) - len(rest) + n])
            known = [name for name, value in vars(found).items() if inspect.isclass(value)]
            raise place.error(f"{owner} has no {part}{did_you_mean(part, known)}")
        found = getattr(found, part)
    if kind and not inspect.isclass(found):
        raise place.error(f"{path} is not a class but {found!r:.80}")
    home = getattr(found, "__module__", "")
    if not may_import and home.split(".")[0] not in OUR_PACKAGES:
        raise place.error(f"{path} leads to {home}.{parts[-1]}, which is not trusted; {_TRUST_ADVICE}")
    return found


def _import_longest(parts: list[str], place: Place) -> tuple[Any, list[str]]:
    """The innermost module of a dotted path, and the names below it."""
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            return importlib.import_module(name), parts[length:]
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                continue  # no such module: perhaps the name is a class
            raise place.error(
                f"{name} needs the package {error.name}, which is not installed ({_where(error)})"
            ) from error
        except (Exception, SystemExit) as error:
            message = f"{name} fails while it is imported ({_where(error)}): {type(error).__name__}: {error}"
            raise place.error(message) from error
    raise place.error(f"no module {parts[0]} on the Python path, which begins in the current folder")


def _where(error: BaseException) -> str:
    """File and line of the user's code that raised: the innermost frame outside Python's import machinery."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    return f"{frames[-1].filename}, line {frames[-1].lineno}"
