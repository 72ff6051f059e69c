"""ListOps: nested lists of digits under MIN, MAX, MED and SM, to be worked out; made by code."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Literal

import torch

from .contract import Batch, Split, split_seed
from .padding import padded

OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
SYMBOLS = (*OPERATORS, "]", *map(str, range(10)))


class ListOps:
    """Nested lists such as [MAX 2 9 [MIN 4 7 ] 0 ]: which digit comes out? Ten classes.

    Expressions are drawn by a random walk from the root: an argument is a list with probability `nest` (fewer as
    depth runs out), otherwise a digit; those of other lengths are thrown away. MED is the median, its half cut off; SM
    the sum modulo 10.

    Args:
        min_length: shortest expression, in symbols.
        max_length: longest.
        max_depth: lists within lists, the outermost counted.
        max_arguments: most arguments of a list; there are at least 2.
        nest: probability that an argument is a list.
        num_train: expressions to train on.
        num_test: expressions in each of the validation and test splits.
        seed: of the expressions.

    Raises:
        ValueError: if no expression could be of these lengths.

    Source: Nangia and Bowman 2018, arXiv:1804.06028; published sizes of Long Range Arena, arXiv:2011.04006: 500 to
    2,000 symbols, depth 10, up to 10 arguments, 96,000 expressions to train on, 2,000 in each other split.
    """

    title = "ListOps"
    input_size = len(SYMBOLS) + 1  # and the padding
    reads_symbols = True
    num_outputs = 10
    answers: Literal["sequence", "frame"] = "sequence"
    must_be_causal = False

    def __init__(
        self,
        *,
        min_length: int = 20,
        max_length: int = 64,
        max_depth: int = 4,
        max_arguments: int = 5,
        nest: float = 0.25,
        num_train: int = 20_000,
        num_test: int = 1_000,
        seed: int = 0,
    ) -> None:
        longest = 10**9 if nest > 0 and max_depth > 1 else max_arguments + 2
        if not 4 <= min_length <= max_length or max_arguments < 2 or not 0 <= nest < 1 or min_length > longest:
            raise ValueError(
                f"min_length={min_length}, max_length={max_length}, max_arguments={max_arguments}, nest={nest}, "
                f"max_depth={max_depth}; the rule is 4 <= min_length <= max_length, 2 arguments or more, nest in [0, 1)"
                ", and lists that can get so long: allow more arguments or depth"
            )
        self.min_length, self.max_length, self.max_depth = min_length, max_length, max_depth
        self.max_arguments, self.nest = max_arguments, nest
        self.num_train, self.num_test, self.seed = num_train, num_test, seed
        self._train: list[tuple[list[int], int]] = []

    def draw(self, num_sequences: int, generator: torch.Generator) -> Batch:
        """Of the training expressions, which are made when first needed."""
        if not self._train:
            self._train = self._make(self.num_train, torch.Generator().manual_seed(7_919 * self.seed + 11))
        chosen = torch.randint(len(self._train), (num_sequences,), generator=generator).tolist()
        return _batch([self._train[index] for index in chosen])

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        made = self._make(self.num_test, split_seed(split))
        for first in range(0, len(made), batch_size):
            yield _batch(made[first : first + batch_size])

    def _make(self, number: int, generator: torch.Generator) -> list[tuple[list[int], int]]:
        numbers = _Numbers(generator)
        made: list[tuple[list[int], int]] = []
        while len(made) < number:
            symbols: list[str] = []
            value = self._list(numbers, 1, symbols)
            if value is not None and self.min_length <= len(symbols):
                made.append(([SYMBOLS.index(symbol) for symbol in symbols], value))
        return made

    def _list(self, numbers: "_Numbers", depth: int, symbols: list[str]) -> int | None:
        """Write one list; its value, or None if the expression has become too long."""
        operator = OPERATORS[numbers.below(len(OPERATORS))]
        symbols.append(operator)
        arguments: list[int] = []
        for _ in range(2 + numbers.below(self.max_arguments - 1)):
            if depth < self.max_depth and numbers.uniform() < self.nest:
                value = self._list(numbers, depth + 1, symbols)
                if value is None:
                    return None
            else:
                value = numbers.below(10)
                symbols.append(str(value))
            arguments.append(value)
            if len(symbols) + depth > self.max_length:
                return None
        symbols.append("]")
        return applied(operator, arguments)


def applied(operator: str, arguments: Sequence[int]) -> int:
    """What an operator makes of digits."""
    if operator == "[MIN":
        return min(arguments)
    if operator == "[MAX":
        return max(arguments)
    if operator == "[MED":
        return int(statistics.median(arguments))
    return sum(arguments) % 10


def text_of(symbols: Sequence[int]) -> str:
    """An expression as it is written."""
    return " ".join(SYMBOLS[symbol] for symbol in symbols)


class _Numbers:
    """Random numbers one at a time, drawn from torch in blocks: single draws would take most of the time."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._block: list[float] = []

    def uniform(self) -> float:
        if not self._block:
            self._block = torch.rand(100_000, generator=self._generator, dtype=torch.float64).tolist()
        return self._block.pop()

    def below(self, bound: int) -> int:
        return int(self.uniform() * bound)


def _batch(expressions: Sequence[tuple[list[int], int]]) -> Batch:
    frames, lengths = padded([torch.tensor(symbols) for symbols, _ in expressions], len(SYMBOLS))
    return Batch(frames, torch.tensor([value for _, value in expressions]), lengths)
