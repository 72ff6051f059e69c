"""Options of a command that are keys of a recipe: --train.max_epochs 3, --switch surnn.Open."""

import argparse
from collections.abc import Sequence

from .errors import UsageError
from .yaml_text import did_you_mean


def split_overrides(
    arguments: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[list[str], list[tuple[str, str]]]:
    """The command's own arguments, and (dotted key, YAML text) for every option that names a key of the recipe.

    Args:
        arguments: as typed.
        parser: knows the command's own options.

    Raises:
        UsageError: if such an option has no value, or an option names nothing.
    """
    own_options = {option: action for action in parser._actions for option in action.option_strings}
    own: list[str] = []
    overrides: list[tuple[str, str]] = []
    words = iter(arguments)
    for word in words:
        name, equals, text = word.partition("=")
        if not name.startswith("--") or name in own_options:
            own.append(word)
            if name in own_options and own_options[name].nargs != 0 and not equals:
                own += [value for value in [next(words, None)] if value is not None]
            continue
        if "." not in name:
            from .recipe import SECTIONS  # takes a second; options without keys are answered before
            from .research.recipe import RESEARCH_SECTIONS

            sections = [f"--{section}" for section in dict.fromkeys([*SECTIONS, *RESEARCH_SECTIONS])]
            if name not in sections:
                raise UsageError(f"no such option: {name}{did_you_mean(name, [*own_options, *sections])}")
        value = text if equals else next(words, "--")
        if value.startswith("--"):
            raise UsageError(f"{name} needs a value, such as {name} 3")
        overrides.append((name.removeprefix("--"), value))
    return own, overrides
