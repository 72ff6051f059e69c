"""Pathfinder: do the two dots lie on one dashed path? Pictures made by code, read pixel by pixel."""

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from .contract import Batch, Split

Pixels = NDArray[np.bool_]
MOST_TRIALS = 200


class Pathfinder:
    """Two dashed paths, and shorter ones that distract. In half of the pictures both dots end one path.

    Otherwise each long path has a dot at one end. Paths never come nearer to each other than two pixels. Pictures are
    drawn anew by the rules of the source, not taken from it: figures compare with its own roughly.

    Args:
        size: pixels per side; a frame per pixel.
        num_dashes: of a long path.
        num_distractors: shorter paths, of a third as many dashes.
        dash: length of a dash in pixels.
        gap: pixels between dashes.
        num_train: pictures to train on.
        num_test: pictures in each of the validation and test splits.
        seed: of the pictures.

    Raises:
        ValueError: if a number is out of range.

    Source: Linsley et al. 2018, arXiv:1805.08315; 32 pixels per side in Long Range Arena, arXiv:2011.04006 (160,000
    pictures to train on, 20,000 in each other split).
    """

    title = "Pathfinder"
    input_size = 1
    reads_symbols = False
    num_outputs = 2
    answers: Literal["sequence", "frame"] = "sequence"
    must_be_causal = False

    def __init__(
        self,
        *,
        size: int = 16,
        num_dashes: int = 3,
        num_distractors: int = 1,
        dash: float = 3.0,
        gap: float = 1.5,
        num_train: int = 2_000,
        num_test: int = 300,
        seed: int = 0,
    ) -> None:
        longest = num_dashes * (dash + gap)
        if size < 12 or num_dashes < 2 or num_distractors < 0 or dash < 1 or gap < 0 or longest > 2 * size:
            raise ValueError(
                f"size={size}, num_dashes={num_dashes}, num_distractors={num_distractors}, dash={dash}, gap={gap}; the "
                "rule is size >= 12, num_dashes >= 2, dash >= 1, gap >= 0, and a path no longer than twice the size"
            )
        self.size, self.num_dashes, self.num_distractors, self.dash, self.gap = (
            size,
            num_dashes,
            num_distractors,
            dash,
            gap,
        )
        self.num_train, self.num_test, self.seed = num_train, num_test, seed
        self._made: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def draw(self, num_sequences: int, generator: torch.Generator) -> Batch:
        """Of the training pictures, which are made when first needed."""
        pictures, labels = self._pictures("train", self.num_train)
        chosen = torch.randint(len(labels), (num_sequences,), generator=generator)
        return Batch(pictures[chosen], labels[chosen])

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        pictures, labels = self._pictures(split, self.num_test)
        for first in range(0, len(labels), batch_size):
            yield Batch(pictures[first : first + batch_size], labels[first : first + batch_size])

    def picture(self, rng: np.random.Generator, is_connected: bool) -> Pixels:
        """(size, size) pixels of one picture.

        Raises:
            ValueError: if there seems to be no room for all paths.
        """
        for _ in range(MOST_TRIALS):
            paths: list[Pixels] = []
            taken = np.zeros((self.size, self.size), bool)
            dots = ((True, True), (False, False)) if is_connected else ((True, False), (True, False))
            shorts = [(False, False)] * self.num_distractors
            for number, ends in enumerate((*dots, *shorts)):
                dashes = self.num_dashes if number < 2 else max(1, self.num_dashes // 3)
                found = self._place(rng, dashes, ends, taken)
                if found is None:
                    break  # no room left: begin anew, so that every picture has all its paths
                paths.append(found)
                taken |= _grown(found, 2)
            else:
                return sum(paths, start=np.zeros_like(taken))
        raise ValueError(
            f"no room for {2 + self.num_distractors} paths in {self.size} x {self.size} pixels; ask for fewer"
        )

    def _place(
        self, rng: np.random.Generator, num_dashes: int, dots: tuple[bool, bool], taken: Pixels
    ) -> Pixels | None:
        for _ in range(30):
            path = self._walk(rng, num_dashes, dots)
            if path is not None and not (path & taken).any():
                return path
        return None

    def _walk(self, rng: np.random.Generator, num_dashes: int, dots: tuple[bool, bool]) -> Pixels | None:
        """A path that turns a little from dash to dash; None if it does not fit into the picture."""
        turns = rng.normal(0, 0.35, num_dashes)
        turns[0] = rng.uniform(0, 2 * math.pi)
        angles = turns.cumsum()
        headings = np.stack((np.sin(angles), np.cos(angles)), 1)
        steps = (self.dash + self.gap) * headings
        starts = steps.cumsum(0) - steps
        ends = starts + self.dash * headings
        corners = np.stack((np.minimum(starts, ends).min(0), np.maximum(starts, ends).max(0)))
        room = self.size - 3 - (corners[1] - corners[0])
        if room.min() < 0:
            return None
        shift = 1 + rng.uniform(0, room) - corners[0]
        starts, ends = starts + shift, ends + shift
        shares = np.linspace(0, 1, int(4 * self.dash) + 1)[:, None]
        along = starts[:, None] + shares * (ends - starts)[:, None]
        rows, columns = np.rint(along).astype(int).reshape(-1, 2).T
        pixels = np.zeros((self.size, self.size), bool)
        pixels[rows, columns] = True
        for is_dotted, (row, column) in zip(dots, (starts[0], ends[-1]), strict=True):
            if is_dotted:
                row, column = round(float(row)), round(float(column))
                pixels[row - 1 : row + 2, column - 1 : column + 2] = True
        return pixels

    def _pictures(self, split: str, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if split not in self._made:
            order = ("train", "validation", "test").index(split)
            rng = np.random.default_rng((self.seed, order))
            labels = rng.permutation(np.arange(number) % 2)
            pictures = np.stack([self.picture(rng, bool(label)) for label in labels])
            frames = torch.from_numpy(pictures.reshape(number, -1, 1)).float()
            self._made[split] = frames, torch.from_numpy(labels)
        return self._made[split]


def _grown(pixels: Pixels, by: int) -> Pixels:
    """Pixels and all around them up to a distance, diagonals included."""
    padded = np.pad(pixels, by)
    height, width = pixels.shape
    grown = np.zeros_like(pixels)
    for row in range(2 * by + 1):
        for column in range(2 * by + 1):
            grown |= padded[row : row + height, column : column + width]
    return grown
