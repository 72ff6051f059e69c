"""Problems made of random numbers: selective copy, adding, Mackey-Glass."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from .contract import IGNORED, Batch, Split, split_seed


def drawn_batches(
    draw: Callable[[int, torch.Generator], Batch], num_sequences: int, split: Split, batch_size: int
) -> Iterator[Batch]:
    """A split of so many drawn sequences, always the same."""
    generator = split_seed(split)
    for first in range(0, num_sequences, batch_size):
        yield draw(min(batch_size, num_sequences - first), generator)


class SelectiveCopy:
    """A few symbols lie among blanks, at random places; at the end they are to be named in order.

    blank . . 3 . . . 1 . . 4 .  then one query per symbol:  ? ? ?   answers  3 1 4

    Args:
        length: frames before the queries.
        num_tokens: symbols to remember.
        num_symbols: different ones; chance is 1 / num_symbols.
        num_test: sequences in each of the validation and test splits.

    Raises:
        ValueError: if there are fewer frames than symbols to remember, or fewer than 2 different ones.

    Source: Gu and Dao 2023, arXiv:2312.00752, section 4.1.1 (length 4,096, 16 tokens, 16 symbols); the "selective" form
    of the copying task of Arjovsky et al. 2016.
    """

    title = "Selective copy"
    reads_symbols = True
    answers: Literal["sequence", "frame"] = "frame"
    must_be_causal = False

    def __init__(self, *, length: int = 256, num_tokens: int = 4, num_symbols: int = 8, num_test: int = 500) -> None:
        if not 1 <= num_tokens <= length or num_symbols < 2:
            raise ValueError(
                f"length={length}, num_tokens={num_tokens}, num_symbols={num_symbols}; the rule is "
                "1 <= num_tokens <= length, and at least 2 different symbols"
            )
        self.length, self.num_tokens, self.num_symbols, self.num_test = length, num_tokens, num_symbols, num_test
        self.input_size, self.num_outputs = num_symbols + 2, num_symbols

    def draw(self, num_sequences: int, generator: torch.Generator) -> Batch:
        """Symbols 0 to num_symbols - 1, the blank, the query."""
        blank, query = self.num_symbols, self.num_symbols + 1
        tokens = torch.randint(self.num_symbols, (num_sequences, self.num_tokens), generator=generator)
        places = torch.rand(num_sequences, self.length, generator=generator).argsort(1)[:, : self.num_tokens].sort(1)
        frames = torch.full((num_sequences, self.length + self.num_tokens), blank)
        frames.scatter_(1, places.values, tokens)
        frames[:, self.length :] = query
        targets = torch.full_like(frames, IGNORED)
        targets[:, self.length :] = tokens
        return Batch(frames, targets, events=frames != blank)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        return drawn_batches(self.draw, self.num_test, split, batch_size)


class Adding:
    """Two of many random numbers are marked; their sum is asked for at the end.

    Each frame holds a number in [0, 1] and a mark; one mark lies in each half. Answering 1 gives an error of 1/6.

    Args:
        length: frames.
        num_test: sequences in each of the validation and test splits.

    Raises:
        ValueError: if there are fewer than 2 frames.

    Source: Hochreiter and Schmidhuber 1997, in the form of Le et al. 2015, arXiv:1504.00941.
    """

    title = "Adding problem"
    input_size = 2
    reads_symbols = False
    num_outputs = 1
    answers: Literal["sequence", "frame"] = "sequence"
    must_be_causal = False

    def __init__(self, *, length: int = 100, num_test: int = 500) -> None:
        if length < 2:
            raise ValueError(f"length={length} must be at least 2: two numbers are added")
        self.length, self.num_test = length, num_test

    def draw(self, num_sequences: int, generator: torch.Generator) -> Batch:
        """Frames (B, T, 2): number, mark."""
        half = self.length // 2
        numbers = torch.rand(num_sequences, self.length, generator=generator)
        first = torch.randint(half, (num_sequences, 1), generator=generator)
        second = torch.randint(half, self.length, (num_sequences, 1), generator=generator)
        marks = torch.zeros_like(numbers).scatter_(1, torch.cat((first, second), 1), 1.0)
        return Batch(torch.stack((numbers, marks), -1), (numbers * marks).sum(1), events=marks > 0)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        return drawn_batches(self.draw, self.num_test, split, batch_size)


class MackeyGlass:
    """A chaotic series; its value some time ahead is asked for at every frame.

    dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t), one frame per unit of time, started at random.

    Args:
        length: frames.
        delay: tau; 17 is mildly chaotic.
        ahead_frames: how far ahead the value is asked for.
        num_test: sequences in each of the validation and test splits.

    Source: Mackey and Glass 1977; the constants, and the question 15 frames ahead, as in Voelker et al. 2019 (Legendre
    memory units, length 5,000).
    """

    title = "Mackey-Glass"
    input_size = 1
    reads_symbols = False
    num_outputs = 1
    answers: Literal["sequence", "frame"] = "frame"
    must_be_causal = True

    def __init__(self, *, length: int = 300, delay: int = 17, ahead_frames: int = 15, num_test: int = 64) -> None:
        for name, value in (("length", length), ("delay", delay), ("ahead_frames", ahead_frames)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.length, self.delay, self.ahead_frames, self.num_test = length, delay, ahead_frames, num_test

    def draw(self, num_sequences: int, generator: torch.Generator) -> Batch:
        """Frames (B, T, 1) around 0; targets (B, T), the same series ahead."""
        history = 1.2 + 0.2 * (torch.rand(num_sequences, self.delay + 1, generator=generator).double() - 0.5)
        series = mackey_glass(history, 100 + self.length + self.ahead_frames)[:, 100:] - 1.0
        series = series.float()
        return Batch(series[:, : self.length, None], series[:, self.ahead_frames :])

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        return drawn_batches(self.draw, self.num_test, split, batch_size)


def mackey_glass(history: Tensor, num_frames: int, *, steps_per_frame: int = 10) -> Tensor:
    """Integrate the Mackey-Glass equation by the midpoint rule (Runge-Kutta, second order).

    Args:
        history: (B, tau + 1), one value per unit of time; between them it is taken as linear.
        num_frames: units of time to integrate.
        steps_per_frame: steps per unit of time.

    Returns:
        (B, num_frames), the values after each unit.
    """
    delay = (history.shape[1] - 1) * steps_per_frame
    places = torch.arange(delay + 1, dtype=torch.float64) / steps_per_frame
    below = places.floor().long().clamp_max(history.shape[1] - 2)
    share = places - below
    line = [history[:, low] * (1 - part) + history[:, low + 1] * part for low, part in zip(below, share, strict=True)]
    step = 1 / steps_per_frame

    def slope(value: Tensor, delayed: Tensor) -> Tensor:
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * value

    for _ in range(num_frames * steps_per_frame):
        now, late, next_late = line[-1], line[-1 - delay], line[-delay]
        middle = now + step / 2 * slope(now, late)
        line.append(now + step * slope(middle, (late + next_late) / 2))
    return torch.stack(line[delay + steps_per_frame :: steps_per_frame], 1)
