"""Classes named in a recipe: found by dotted path, checked against their own signature, built later by the pipeline.

The pipeline gives a component's leading arguments when it builds it (a glance gets the grid, a head its sizes); a
recipe gives the others. What they are, their types, defaults and explanations come from the class itself, through
jsonargparse.
"""

import argparse
import functools
import inspect
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import jsonargparse
from jsonargparse import Namespace

from .class_paths import Place, foreign_class_paths, import_class
from .yaml_text import describe, did_you_mean

# Text for a parameter without a type stays text; jsonargparse's own modes read "yes" as true and "1" as 1.
# What it hands to itself between nested classes is JSON.
jsonargparse.set_loader("as_written", lambda text: json.loads(text) if text.startswith("{") else text, (ValueError,))
jsonargparse.set_dumper("as_written", json.dumps)
# A mapping with a class_path is built only where a signature asks for a class, and names that run programs are refused.
jsonargparse.set_parsing_settings(instantiate_subclass_spec_in_any=False, import_path_denylist=[])


class Role(NamedTuple):
    """What the pipeline asks of the class in one section of a recipe.

    Args:
        given: names of the leading arguments that the pipeline gives.
        offered: names of keyword arguments that the pipeline gives to classes that take them.
        protocol: the Protocol that instances keep; None: only the constructor is checked.
    """

    given: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    protocol: type | None = None


NO_ROLE = Role()


class Key(NamedTuple):
    """One key that a recipe can give: its name, type as text, whether it must be given, default, explanation."""

    name: str
    type: str
    is_required: bool
    default: Any
    doc: str


Locate = Callable[[str], Place]  # from a dotted key below the section ("" for the section) to its place


@dataclass(frozen=True)
class Component:
    """A class and its arguments, complete and checked; the pipeline builds it when it knows the leading arguments.

    Args:
        class_path: dotted path of the class.
        init_args: every argument the recipe can give, defaults filled in, as plain data.
        role: what the pipeline gives and asks.
        place: where the recipe names the class.
    """

    class_path: str
    init_args: dict[str, Any]
    role: Role = field(default=NO_ROLE, compare=False, repr=False)
    place: Place = field(default=Place("recipe", None, ""), compare=False, repr=False)

    def load(self) -> type:
        """The class itself."""
        loaded: type = import_class(self.class_path, self.place)
        return loaded

    def build(self, *given: Any, **offered: Any) -> Any:
        """The object: leading arguments by position, `offered` ones only if its constructor takes them.

        Raises:
            RecipeError: if the constructor refuses its arguments, needs a package that is not installed, or builds
                something without the attributes that the pipeline reads.
        """
        built_class = self.load()
        parser = _parser(built_class, self.role)
        arguments = parser.instantiate(parser.parse_object(dict(self.init_args)))
        taken = inspect.signature(built_class).parameters
        try:
            built = built_class(
                *given,
                **{name: value for name, value in offered.items() if name in taken},
                **{name: arguments[name] for name in self.init_args},
            )
        except (ValueError, ImportError, OSError) as error:
            raise self.place.error(f"{self.class_path} cannot be built: {error}") from error
        _check_attributes(built, self.role, self.class_path, self.place)
        return built


def read_component(value: Any, role: Role, locate: Locate, trust: Collection[str] | None = None) -> Component:
    """A checked, complete component from a class path or a mapping with class_path and init_args.

    Args:
        value: what the recipe holds for the section.
        role: what the pipeline gives and asks.
        locate: place of a key below the section.
        trust: None: any class; otherwise only our packages and the classes named here may be imported.
    Raises:
        RecipeError: for anything that does not fit the class.
    """
    if isinstance(value, str):
        value = {"class_path": value}
    if not isinstance(value, dict) or not isinstance(value.get("class_path"), str):
        example = "'class_path: package.module.Class' and, if it takes any, 'init_args: {name: value}'"
        raise locate("").error(f"expected the dotted path of a class, or {example}; got {describe(value)}")
    for name in value.keys() - {"class_path", "init_args"}:
        near = did_you_mean(name, ["class_path", "init_args"]) or f"; arguments of the class go under init_args: {name}"
        raise locate(name).error(f"no such key{near}")
    named_class = import_class(value["class_path"], locate("class_path"), trust)
    _check_methods(named_class, role, locate("class_path"))
    init_args = value.get("init_args") or {}
    if not isinstance(init_args, dict):
        raise locate("init_args").error(f"expected a mapping of arguments; got {describe(init_args)}")
    place = locate("class_path")
    complete = read_arguments(named_class, role, init_args, lambda key: locate(f"init_args.{key}"), place, trust)
    return Component(value["class_path"], complete, role, place)


def read_arguments(
    named_class: type,
    role: Role,
    values: dict[str, Any],
    locate: Locate,
    place: Place,
    trust: Collection[str] | None = None,
) -> dict[str, Any]:
    """Every argument of a class as plain data: values checked against its signature, defaults filled in."""
    name = named_class.__name__
    parser = _parser(named_class, role)
    keys = {key.name: key for key in keys_of(named_class, role)}
    for key in values:
        if key in (*role.given, *role.offered):
            raise locate(key).error(f"is given by the pipeline; leave it out (the recipe gives: {', '.join(keys)})")
        if key not in keys:
            raise locate(key).error(
                f"no such key{did_you_mean(key, keys)} ({name} takes: {', '.join(keys) or 'nothing'})"
            )
    for wanted in keys.values():
        if wanted.is_required and wanted.name not in values:
            doc = f": {wanted.doc}" if wanted.doc else ""
            raise place.error(f"{name} needs {wanted.name}, of type {wanted.type}{doc}")
    hints = {action.dest: getattr(action, "_typehint", str) for action in parser._actions}
    for key, value in values.items():
        if trust is not None and not _is_plain(hints.get(key)):
            for path in _dotted_texts(value):
                import_class(path, locate(key), trust, kind="")
        try:
            parser.validate(Namespace(**{key: value}), skip_required=True)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise locate(key).error(_type_message(keys[key], value, error)) from None
    try:
        complete = json.loads(parser.dump(parser.parse_object(dict(values)), format="json", skip_unset=False))
    except jsonargparse.ArgumentError as error:
        raise place.error(f"{name} does not take these arguments: {_telling_lines(error)}") from None
    for path in foreign_class_paths(complete, trust) if trust is not None else ():
        raise place.error(f"names {path}, which is not trusted")
    assert isinstance(complete, dict)
    return complete


def keys_of(named_class: type, role: Role = NO_ROLE) -> list[Key]:
    """What a recipe can give to a class, in the order of its signature, explained by its docstring."""
    keys: dict[str, Key] = {}
    parameters = inspect.signature(named_class).parameters
    for action in _parser(named_class, role)._actions:
        name, _, below = action.dest.partition(".")
        if below or action.default == argparse.SUPPRESS:  # a nested dataclass shows as one key
            keys.setdefault(name, Key(name, "mapping", False, {}, ""))
            keys[name].default.update({below: action.default} if below else {})
            continue
        hint = type_text(getattr(action, "_typehint", Any))
        # jsonargparse takes a parameter that has neither type nor default for an optional one
        is_required = action.required or (name in parameters and parameters[name].default is inspect.Parameter.empty)
        keys[name] = Key(name, hint, is_required, action.default, " ".join((action.help or "").split()))
    return list(keys.values())


def type_text(hint: Any) -> str:
    """A type as a person writes it: "int or None", "one of gru, lstm", "list[str]"."""
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) in (Union, UnionType):
        texts = [type_text(arg) for arg in get_args(hint)]
        return "any value" if "any value" in texts else " or ".join(dict.fromkeys(texts))
    if hint is type(None):
        return "None"
    text = inspect.formatannotation(hint).replace("collections.abc.", "").replace("typing.", "")
    return "any value" if text in ("Any", "Untyped") else text


@functools.lru_cache(maxsize=64)
def _parser(named_class: type, role: Role) -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(exit_on_error=False, add_help=False, parser_mode="as_written")
    parser.add_class_arguments(named_class, skip={len(role.given), *role.offered}, fail_untyped=False)
    parser._actions[:] = [action for action in parser._actions if not action.dest.endswith(".help")]
    return parser


def _check_methods(named_class: type, role: Role, place: Place) -> None:
    """The constructor takes what the pipeline gives, and every method of the protocol is there with its arguments."""
    name = named_class.__name__
    if role.given:
        try:
            inspect.signature(named_class).bind_partial(*role.given)
        except TypeError:
            expected = f"__init__(self, {', '.join(role.given)}, ...)"
            raise place.error(f"{name} must take what the pipeline gives first: expected {expected}") from None
    for method, wanted in _methods(role.protocol):
        expected = f"expected {method}{wanted}"
        if not callable(getattr(named_class, method, None)):
            raise place.error(f"{name} has no method {method}; {expected}")
        actual = inspect.signature(getattr(named_class, method))
        placeholders = [None] * len(wanted.parameters)
        try:
            actual.bind(*placeholders)
        except TypeError:
            raise place.error(f"{name}.{method}{actual} does not fit; {expected}") from None


def _check_attributes(built: object, role: Role, class_path: str, place: Place) -> None:
    for name, hint in getattr(role.protocol, "__annotations__", {}).items():
        if not hasattr(built, name):
            assert role.protocol is not None
            raise place.error(
                f"{class_path} sets no attribute {name}; {role.protocol.__name__} asks for {name}: {type_text(hint)}"
            )


def _methods(protocol: type | None) -> Iterator[tuple[str, inspect.Signature]]:
    for name, member in vars(protocol).items() if protocol else ():
        if inspect.isfunction(member) and not name.startswith("_"):
            yield name, inspect.signature(member)


def _is_plain(hint: Any) -> bool:
    """Whether values of this type can name nothing to import: text, numbers, and collections of them."""
    if get_origin(hint) is Literal or hint is type(None) or hint is Ellipsis:
        return True
    arguments = get_args(hint)
    if arguments and get_origin(hint) not in (Callable, type):
        return all(map(_is_plain, arguments))
    return hint in (str, int, float, bool, Path)


def _dotted_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and "." in value and all(part.isidentifier() for part in value.split(".")):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dotted_texts(item)


def _type_message(key: Key, value: Any, error: Exception) -> str:
    """Expected type and given value; for a list or mapping, what jsonargparse found inside it."""
    inside = f": {_telling_lines(error)}" if isinstance(value, list | dict) else ""
    if isinstance(value, list) and "str" in key.type:
        odd = next((item for item in value if not isinstance(item, str)), None)
        inside = f" with {describe(odd)} in it"
    return f"expected {key.type}; got {describe(value)}{inside}"


def _telling_lines(error: Exception) -> str:
    """The telling part of jsonargparse's report, which lists every alternative of a union."""
    alternatives = ("Does not validate against", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>")
    frame = ("Parser key", "Given value", *alternatives)
    lines = [line.strip().removeprefix("- ") for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(frame)]
    return " ".join(telling[:2])
