"""Text for formats of lines and columns that quote nothing."""

import re

# Whatever some reader takes for a line end or a column, what no terminal shows, and halves of characters.
UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def on_one_line(text: str) -> str:
    r"""The text with control characters and line ends as escapes, such as \t and \n."""
    return UNFIT.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
