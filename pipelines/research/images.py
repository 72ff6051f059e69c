"""Pictures read pixel by pixel: scikit-learn's digits; MNIST and CIFAR-10 through torchvision."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from .contract import Batch, Split, seeded


class Pictures(NamedTuple):
    """Labelled pictures, split.

    Args:
        pixels: by split, (N, T, F) in [0, 1], pixels in reading order.
        classes: by split, (N,).
    """

    pixels: dict[str, Tensor]
    classes: dict[str, Tensor]


class SequentialImages:
    """What pixel problems share: pictures read one pixel a frame, in order or permuted, then named.

    Args:
        pictures: split and labelled.
        permuted: pixels come in one fixed random order.
        delay_frames: frames of noise after the picture, before the answer.
        seed: of the order and of the noise.
    """

    reads_symbols = False
    answers: Literal["sequence", "frame"] = "sequence"
    must_be_causal = False

    def __init__(self, pictures: Pictures, *, permuted: bool, delay_frames: int, seed: int) -> None:
        if delay_frames < 0:
            raise ValueError(f"delay_frames={delay_frames} must be at least 0")
        num_pixels, channels = pictures.pixels["train"].shape[1:]
        self.input_size = channels + 1  # and the mark of a pixel
        self.num_outputs = int(max(classes.max() for classes in pictures.classes.values())) + 1
        order = torch.randperm(num_pixels, generator=seeded(seed, 5)) if permuted else torch.arange(num_pixels)
        self.delay_frames = delay_frames
        self._pixels = {split: pixels[:, order] for split, pixels in pictures.pixels.items()}
        self._classes = pictures.classes

    def draw(self, num_sequences: int, generator: torch.Generator) -> Batch:
        """Of the training pictures."""
        chosen = torch.randint(len(self._classes["train"]), (num_sequences,), generator=generator)
        return self._batch("train", chosen, generator)

    def batches(self, split: Split, batch_size: int) -> Iterator[Batch]:
        for first in range(0, len(self._classes[split]), batch_size):
            chosen = torch.arange(first, min(first + batch_size, len(self._classes[split])))
            yield self._batch(split, chosen, seeded(first, 6))

    def _batch(self, split: str, chosen: Tensor, generator: torch.Generator) -> Batch:
        pixels = self._pixels[split][chosen]
        frames = torch.cat((pixels, torch.ones(*pixels.shape[:2], 1)), -1)
        noise = torch.rand(len(chosen), self.delay_frames, self.input_size, generator=generator)
        noise[..., -1] = 0
        frames = torch.cat((frames, noise), 1)
        return Batch(frames, self._classes[split][chosen], events=frames[..., -1] > 0)


class SequentialDigits(SequentialImages):
    """Handwritten digits of 8 x 8 pixels, one pixel a frame: 64 frames, ten classes.

    Of 1,797 pictures the last 360 are the test split, and the 180 before them the validation split. Each frame holds
    the pixel and a 1; frames of a delay hold noise and a 0.

    Args:
        permuted: pixels come in one fixed random order.
        delay_frames: frames of noise after the picture, before the answer.
        seed: of the order and of the noise.

    Raises:
        UserError: if scikit-learn is not installed.

    Source: Alpaydin and Kaynak 1998, optical recognition of handwritten digits (UCI), as scikit-learn ships it.
    """

    title = "Sequential digits"

    def __init__(self, *, permuted: bool = False, delay_frames: int = 0, seed: int = 0) -> None:
        pixels, classes = _digits()
        parts = {"train": slice(0, 1257), "validation": slice(1257, 1437), "test": slice(1437, 1797)}
        pictures = Pictures(
            {split: pixels[part] for split, part in parts.items()},
            {split: classes[part] for split, part in parts.items()},
        )
        super().__init__(pictures, permuted=permuted, delay_frames=delay_frames, seed=seed)


class TorchvisionImages(SequentialImages):
    """MNIST (784 frames) or CIFAR-10 (1,024 frames), downloaded by torchvision where there is a network.

    Args:
        name: MNIST or CIFAR10.
        folder: where the data set lies, or is downloaded to.
        is_grey: one number per pixel in place of three, as in Long Range Arena's Image.
        permuted: pixels come in one fixed random order.
        delay_frames: frames of noise after the picture, before the answer.
        num_train: pictures to train on, the first ones; the 5,000 last of the training set are the validation split.
        seed: of the order and of the noise.

    Raises:
        UserError: if the data set is not there and cannot be had.

    Source: sequential and permuted MNIST: Le et al. 2015, arXiv:1504.00941; sequential CIFAR-10 and Image:
    Tay et al. 2020, arXiv:2011.04006.
    """

    title = "Sequential pictures"

    def __init__(
        self,
        *,
        name: Literal["MNIST", "CIFAR10"] = "MNIST",
        folder: str = "data",
        is_grey: bool = False,
        permuted: bool = False,
        delay_frames: int = 0,
        num_train: int = 55_000,
        seed: int = 0,
    ) -> None:
        datasets = importlib.import_module("torchvision.datasets")
        pixels: dict[str, Tensor] = {}
        classes: dict[str, Tensor] = {}
        for split, is_train in (("train", True), ("test", False)):
            try:
                held: Any = getattr(datasets, name)(Path(folder), train=is_train, download=True)
            except (OSError, RuntimeError) as error:
                raise UserError(
                    f"{name} is not in {folder} and cannot be downloaded ({error}); run where there is a network, put "
                    "torchvision's files there, or use pipelines.research.SequentialDigits"
                ) from error
            data = torch.as_tensor(held.data).float() / 255
            pixels[split] = data.flatten(1, 2) if data.dim() == 4 else data.flatten(1)[..., None]
            if is_grey and data.dim() == 4:  # luma, ITU-R BT.601
                pixels[split] = pixels[split] @ torch.tensor([[0.299], [0.587], [0.114]])
            classes[split] = torch.as_tensor(held.targets)
        for part in (pixels, classes):
            part["validation"], part["train"] = part["train"][-5_000:], part["train"][:-5_000][:num_train]
        super().__init__(Pictures(pixels, classes), permuted=permuted, delay_frames=delay_frames, seed=seed)


def _digits() -> tuple[Tensor, Tensor]:
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise UserError(
            "SequentialDigits needs the package scikit-learn, which is not installed; add it: uv add scikit-learn"
        ) from error
    pixels, classes = datasets.load_digits(return_X_y=True)
    return torch.as_tensor(pixels).float()[..., None] / 16, torch.as_tensor(classes).long()
