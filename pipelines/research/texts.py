"""Problems made of text: language modelling, and texts or pairs of texts to be classified byte by byte."""

import pydoc_data.topics
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..errors import UserError
from .contract import Batch, Split
from .padding import padded

_WORD = re.compile(r"\w+|[^\w\s]|\n")
SHARES = {"train": (0.0, 0.9), "validation": (0.9, 0.95), "test": (0.95, 1.0)}


class Language:
    """The next character, or the next word, at every frame.

    The text is cut at 90 % and 95 % into the three splits. Test figures are of windows of `length` one after the other,
    each from an empty state.

    Args:
        text: path of a text in UTF-8; "": the topics of Python's own help, 460,000 characters of technical English.
        unit: what a frame is.
        length: frames of a window.
        num_words: most frequent words kept; others are one symbol. Without effect for characters.

    Raises:
        UserError: if the text cannot be read, or is shorter than twenty windows.

    Source: WikiText-103, Merity et al. 2016, arXiv:1609.07843, is the published text: give its file and 45 million
    parameters. Its figures are of the tokeniser used, which arXiv:2603.02226 does not name.
    """

    title = "Language modelling"
    reads_symbols = True
    answers: Literal["sequence", "frame"] = "frame"
    must_be_causal = True

    def __init__(
        self,
        *,
        text: str = "",
        unit: Literal["characters", "words"] = "characters",
        length: int = 128,
        num_words: int = 2_000,
    ) -> None:
        written = read_text(Path(text)) if text else "\n".join(pydoc_data.topics.topics.values())
        units = list(written) if unit == "characters" else _WORD.findall(written)
        if len(units) < 20 * (length + 1):
            raise UserError(f"text={text!r} has {len(units)} {unit}; length={length} needs {20 * (length + 1)}")
        known = Counter(units[: int(0.9 * len(units))])
        kept = sorted(known) if unit == "characters" else [word for word, _ in known.most_common(num_words)]
        self.symbols: tuple[str, ...] = ("", *kept)  # the first stands for all others
        number = {symbol: index for index, symbol in enumerate(self.symbols)}
        self._stream = torch.tensor([number.get(each, 0) for each in units])
        self.length = length
        self.input_size = self.num_outputs = len(self.symbols)

    def draw(self, num_sequences: int, generator: torch.Generator) -> Batch:
        """Windows from anywhere in the training split."""
        stream = self._part("train")
        starts = torch.randint(len(stream) - self.length, (num_sequences,), generator=generator)
        return self._windows(stream, starts)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        stream = self._part(split)
        starts = torch.arange(0, len(stream) - self.length, self.length)
        for first in range(0, len(starts), batch_size):
            yield self._windows(stream, starts[first : first + batch_size])

    def _part(self, split: str) -> Tensor:
        first, last = (int(share * len(self._stream)) for share in SHARES[split])
        return self._stream[first:last]

    def _windows(self, stream: Tensor, starts: Tensor) -> Batch:
        places = starts[:, None] + torch.arange(self.length + 1)
        return Batch(stream[places[:, :-1]], stream[places[:, 1:]])


class LabelledTexts:
    """Texts of a local file, read byte by byte, and named: Long Range Arena's Text and Retrieval.

    A folder holds train.tsv, validation.tsv and test.tsv: a line per example, a label, then one text (Text), or two
    identifiers and two texts (Retrieval, as Long Range Arena's files of AAN have it), separated by tabs. Two texts are
    read one after the other with a mark between them; Long Range Arena encodes each by itself, so figures differ.

    Args:
        folder: of the three files.
        length: bytes of a text that are read; what follows is left out.
        num_classes: labels run from 0 to num_classes - 1.

    Raises:
        UserError: if a file is missing or a line does not fit.

    Source: Long Range Arena, arXiv:2011.04006: IMDb reviews of 4,000 bytes; AAN pairs of 4,000 bytes each.
    """

    title = "Labelled texts"
    input_size = 258  # padding, 256 bytes, the mark between two texts
    reads_symbols = True
    answers: Literal["sequence", "frame"] = "sequence"
    must_be_causal = False

    def __init__(self, *, folder: str = "data/texts", length: int = 1_000, num_classes: int = 2) -> None:
        self.num_outputs = num_classes
        self._texts = {split: self._read(Path(folder) / f"{split}.tsv", length) for split in SHARES}

    def draw(self, num_sequences: int, generator: torch.Generator) -> Batch:
        """Of the training texts."""
        chosen = torch.randint(len(self._texts["train"]), (num_sequences,), generator=generator).tolist()
        return _batch([self._texts["train"][index] for index in chosen])

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        texts = self._texts[split]
        for first in range(0, len(texts), batch_size):
            yield _batch(texts[first : first + batch_size])

    def _read(self, path: Path, length: int) -> list[tuple[Tensor, int]]:
        examples = []
        for number, line in enumerate(read_text(path).splitlines(), 1):
            fields = line.split("\t")
            if len(fields) not in (2, 5) or not fields[0].strip().removesuffix(".0").isdigit():
                raise UserError(
                    f"{path}, line {number}: {len(fields)} fields, beginning {line[:30]!r}; the rule is label, text, "
                    "or label, identifier, identifier, text, text, separated by tabs"
                )
            label = int(float(fields[0]))
            if label >= self.num_outputs:
                raise UserError(f"{path}, line {number}: label {label}; num_classes={self.num_outputs} allows fewer")
            symbols: list[int] = []
            for text in fields[1:] if len(fields) == 2 else fields[3:]:
                symbols += [257] if symbols else []
                symbols += [1 + byte for byte in text.encode()[:length]]
            examples.append((torch.tensor(symbols or [0]), label))
        if not examples:
            raise UserError(f"{path} holds no examples; the rule is a line for each")
        return examples


def read_text(path: Path) -> str:
    """A text in UTF-8.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text ({error}); name a file in UTF-8") from error


def _batch(texts: Sequence[tuple[Tensor, int]]) -> Batch:
    frames, lengths = padded([symbols for symbols, _ in texts], 0)
    return Batch(frames, torch.tensor([label for _, label in texts]), lengths)
