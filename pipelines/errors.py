"""Messages for the person at the keyboard: each is shown as it stands, without a traceback."""


class UserError(ValueError):
    """Something the user can put right; the message names the thing, the value, the rule and the way out."""

    exit_code = 1


class UsageError(UserError):
    """The command was given something it cannot use: an option, an output folder, a device."""

    exit_code = 2


class RecipeError(UsageError):
    """A mistake in a recipe, with its place.

    Args:
        message: what is wrong, and what would be right.
        source: the recipe's file, or "command line".
        line: line of the key in that file, counted from 1; None where there is none.
        key: dotted key, such as "train.max_epochs"; "" for the recipe as a whole.
    """

    def __init__(self, message: str, *, source: str, line: int | None = None, key: str = "") -> None:
        self.message, self.source, self.line, self.key = message, source, line, key
        place = source if line is None else f"{source}, line {line}"
        super().__init__(": ".join(part for part in (place, key, message) if part))
