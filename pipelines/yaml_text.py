"""YAML in and out as recipes use it: YAML 1.2 scalars, every key with its line, no surprises.

PyYAML follows YAML 1.1, where a bare yes, no, on or off is a truth value and 1e-3 is text. Here, as in YAML 1.2's core
schema (yaml.org/spec/1.2.2, chapter 10.3), only true and false are truth values and 1e-3 is a number.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .errors import RecipeError

KeyPath = tuple[str, ...]

_SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}


class _Reader(yaml.SafeLoader):
    """SafeLoader that knows YAML 1.2's scalars and no others."""


class _Writer(yaml.SafeDumper):
    """SafeDumper that quotes whatever YAML 1.1 or 1.2 would read as something else than text."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        """Mappings over several lines; lists of words stay on one."""
        return super().represent_mapping(tag, mapping, flow_style=bool(flow_style))

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Text; with escapes where a character would not show (PyYAML loses a bare U+0085)."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Writer.add_representer(str, _Writer.represent_text)
_Reader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _SCALARS.items():
    for _class in (_Reader, _Writer):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), list(_first))


class Document(NamedTuple):
    """A YAML mapping and where its keys stand.

    Args:
        data: plain dicts, lists, str, int, float, bool, None.
        source: the file's name, for messages.
        lines: line (from 1) of every key, by its path.
    """

    data: dict[str, Any]
    source: str
    lines: dict[KeyPath, int]

    def line(self, key: KeyPath) -> int | None:
        """Line of this key or of the nearest key around it."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key)


def read_document(path: Path) -> Document:
    """The mapping in a YAML file.

    Raises:
        RecipeError: if the file is missing, unreadable, not text, empty, not YAML or not a mapping.
    """
    source = str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        here = [str(other) for other in sorted(path.parent.glob("*.y*ml"))]
        raise RecipeError(f"no such file{did_you_mean(source, here)}", source=source) from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"is not UTF-8 text (byte {error.start}); a recipe is a YAML file", source=source) from None
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", source=source) from None
    lines: dict[KeyPath, int] = {}
    data = _parse(text, source, lines)
    if data is None:
        raise RecipeError("is empty; recipes/kws.yaml shows what a recipe holds", source=source)
    if not isinstance(data, dict):
        raise RecipeError(
            f"holds {describe(data)}; a recipe is a mapping such as 'train: {{max_epochs: 20}}'", source=source, line=1
        )
    return Document(data, source, lines)


def read_value(text: str, source: str, key: str) -> Any:
    """A value given as YAML text on the command line, such as "3" or "[yes, no]"."""
    if not text.strip():
        return text
    try:
        return _parse(text, source, {})
    except RecipeError as error:
        raise RecipeError(error.message, source=source, key=key) from None


def write_yaml(data: Any) -> str:
    """YAML text that `read_document` and `read_value` read back as the same plain data."""
    return yaml.dump(
        data, Dumper=_Writer, default_flow_style=None, sort_keys=False, allow_unicode=True, width=110, indent=2
    )


def describe(value: Any) -> str:
    """How a value looks to its author: "the number 3", "the truth value true (in quotes it is text)"."""
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()} (in quotes it is text)"
    if value is None:
        return "nothing"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) < 60 else f"the text {value[:57]!r}..."
    return "a list" if isinstance(value, list) else "a mapping"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Words to append to a message: "; did you mean max_epochs?", or "" if nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _parse(text: str, source: str, lines: dict[KeyPath, int]) -> Any:
    try:
        node = yaml.compose(text, Loader=_Reader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise RecipeError(f"is not YAML: {error.problem or error.context}", source=source, line=line) from None
    except yaml.YAMLError as error:
        raise RecipeError(f"is not YAML: {str(error).splitlines()[0]}", source=source) from None
    return None if node is None else _plain(node, (), source, lines, ())


def _plain(
    node: yaml.Node, path: KeyPath, source: str, lines: dict[KeyPath, int], parents: tuple[yaml.Node, ...]
) -> Any:
    line = node.start_mark.line + 1
    if node in parents:
        raise RecipeError("contains itself through an alias", source=source, line=line, key=".".join(path))
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, source, line)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, str(n)), source, lines, (*parents, node)) for n, item in enumerate(node.value)]
    assert isinstance(node, yaml.MappingNode)
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key_line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise RecipeError("a key must be a single word", source=source, line=key_line, key=".".join(path))
        key_path = (*path, key_node.value)
        if key_node.value in mapping:
            message = f"is given twice (first in line {lines[key_path]}); keep one of the two"
            raise RecipeError(message, source=source, line=key_line, key=".".join(key_path))
        lines[key_path] = key_line
        mapping[key_node.value] = _plain(value_node, key_path, source, lines, (*parents, node))
    return mapping


def _scalar(node: yaml.ScalarNode, source: str, line: int) -> Any:
    text, tag = node.value, node.tag.removeprefix("tag:yaml.org,2002:")
    if tag == "str":
        return text
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if tag == "int":
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if tag == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    raise RecipeError(f"the tag {node.tag} has no meaning in a recipe; write plain values", source=source, line=line)
