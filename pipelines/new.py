"""Begin a recipe of your own from one that is there: python -m pipelines.new my_word.yaml --like kws"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from .console import EXIT_OK, leave
from .errors import UsageError, UserError
from .overrides import split_overrides
from .runfolder import disk_message
from .yaml_text import did_you_mean, read_document, read_value, write_yaml

PROGRAM = "python -m pipelines.new"
EXAMPLES = f"""\
examples:
  {PROGRAM} my_word.yaml --like kws
  {PROGRAM} my_word.yaml --like kws --corpus.init_args.words '[red, green]' --train.max_epochs 4
  {PROGRAM} second.yaml --like my_word.yaml --switch surnn.Open

exit codes: 0 done, 1 failed, 2 wrong usage or recipe

The copy keeps the comments. Any key of the recipe is an option, as in python -m pipelines.run.
"""


HERE = Path(__file__).resolve().parent


class _Options(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {PROGRAM} --help explains")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 done, 1 failed, 2 usage or recipe)."""
    try:
        arguments, overrides = split_overrides(sys.argv[1:] if argv is None else argv, _parser())
        options = _parser().parse_args(arguments)
        if options.help:
            print(f"{_parser().format_help()}\n{EXAMPLES}", end="")
            return EXIT_OK
        if options.recipe is None:
            raise UsageError(f"name the recipe to write, such as my_word.yaml; {PROGRAM} --help explains")
        like = find_recipe(options.like)
        write_recipe(Path(options.recipe), like, overrides)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"Wrote {options.recipe}, like {like.name}. Change it, then:")
    print(f"  python -m pipelines.check {options.recipe}\n  python -m pipelines.run {options.recipe}")
    return EXIT_OK


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the project, by name without suffix."""
    return {path.stem: path for path in sorted(recipes_folder().glob("*.yaml"))}


def recipes_folder(package: Path = HERE) -> Path:
    """Where the recipes lie: within the package where it is installed from a wheel, beside it in a checkout."""
    within = package / "recipes"
    return within if within.is_dir() else package.parent / "recipes"


def find_recipe(name: str) -> Path:
    """A shipped recipe by its name, or any recipe by its path.

    Raises:
        UsageError: if there is none.
    """
    shipped = shipped_recipes()
    if name in shipped:
        return shipped[name]
    if Path(name).is_file():
        return Path(name)
    near = did_you_mean(name, shipped)
    raise UsageError(f"--like {name}: no such recipe{near}; the shipped ones are {', '.join(sorted(shipped))}")


def write_recipe(target: Path, like: Path, overrides: Sequence[tuple[str, str]] = ()) -> None:
    """Copy a recipe with its comments, values put in; nothing is written if the result is no recipe.

    Args:
        target: a new YAML file.
        like: the recipe to copy.
        overrides: (dotted key, YAML text), as `load_recipe` takes them.

    Raises:
        UsageError: if the target is there, or is no YAML file's name.
        RecipeError: if recipe and overrides do not fit.
    """
    from .recipe import load_recipe  # takes a second: usage is answered before

    if target.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{target}: a recipe's name ends in .yaml")
    if target.exists():
        raise UsageError(f"{target}: is there already, and nothing is written over it; choose another name")
    wanted = load_recipe(like, overrides)
    read_document(like)  # a recipe that is read is UTF-8 text
    text = like.read_text(encoding="utf-8-sig")
    for key, value in overrides:
        text = with_value(text, key, read_value(value, "command line", key))
    text = "".join(
        line.replace(f"recipes/{like.name}", str(target)) if line.startswith("#") else line
        for line in text.splitlines(keepends=True)
    )
    try:
        with open(target, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(disk_message(error, target)) from error
    assert load_recipe(target) == wanted, f"{target} says something else than {like} with {overrides}"


def with_value(text: str, key: str, value: Any) -> str:
    """YAML text with one value changed or added; every other line and its comments stay.

    What stands in several lines is replaced as a whole, its own comments included; a mapping in braces stays one.
    """
    path = key.split(".")
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    node, data, indent, end = yaml.compose(text, Loader=yaml.BaseLoader), read_value(text, "recipe", ""), 0, len(lines)
    for depth, name in enumerate(path):
        assert isinstance(node, yaml.MappingNode)
        entry = next(((k, v) for k, v in node.value if k.value == name), None)
        if entry is None:  # a new key, after the last line of its mapping
            return "".join([*lines[:end], *_block(path[depth:], value, indent), *lines[end:]])
        first = entry[0].start_mark.line
        end = _end_of_block(lines, first, indent)
        node, data = entry[1], data[name]
        is_last = depth == len(path) - 1
        if is_last or not isinstance(node, yaml.MappingNode) or node.flow_style or not node.value:
            rest = path[depth + 1 :]
            whole = value if is_last else _merged(data, rest, value)
            comment = _comment_behind(lines[first], node) if end == first + 1 else ""
            block = _block([name], whole, indent)
            block[0] = block[0].rstrip("\n") + comment + "\n"
            return "".join([*lines[:first], *block, *lines[end:]])
        indent = node.value[0][0].start_mark.column
    raise AssertionError(f"{key} has no parts")


def _end_of_block(lines: list[str], first: int, indent: int) -> int:
    """Line behind the last one of the key in line `first`: what follows it further in, or as a list."""
    end = first + 1
    for number in range(first + 1, len(lines)):
        content = lines[number].strip()
        if not content or content.startswith("#"):
            continue
        column = len(lines[number]) - len(lines[number].lstrip(" "))
        if column < indent or (column == indent and not content.startswith("- ")):
            break
        end = number + 1
    return end


def _block(path: Sequence[str], value: Any, indent: int) -> list[str]:
    """Lines of a key (or keys below each other) and its value."""
    *outer, last = path
    data: Any = {last: value}
    for name in reversed(outer):
        data = {name: data}
    return [" " * indent + line + "\n" for line in write_yaml(data).splitlines()]


def _merged(data: Any, path: Sequence[str], value: Any) -> Any:
    """A mapping with one value put in; the short form of a section, a class path, is spelled out."""
    if isinstance(data, str) and data:
        data = {"class_path": data}
    first, *rest = path
    held = data if isinstance(data, dict) else {}
    return held | {first: _merged(held.get(first), rest, value) if rest else value}


def _comment_behind(line: str, node: yaml.Node) -> str:
    """The comment behind a value on its line, with the spaces before it."""
    behind = line.rstrip("\n")[node.end_mark.column :] if node.end_mark.line == node.start_mark.line else ""
    return behind if behind.lstrip().startswith("#") else ""


def _parser() -> argparse.ArgumentParser:
    parser = _Options(prog=PROGRAM, description=__doc__, add_help=False, allow_abbrev=False)
    known = ", ".join(sorted(shipped_recipes()))
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="the YAML file to write; it must not be there yet")
    parser.add_argument("--like", default="kws", help=f"a shipped recipe ({known}) or a recipe's path; default: kws")
    parser.add_argument("-h", "--help", action="store_true", help="show this")
    return parser


if __name__ == "__main__":
    leave(main())
