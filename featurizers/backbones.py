"""Frozen torchvision backbones: one vector per picture, or per clip of pictures, at the frames of the grid."""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from featurizers.grid import Grid, Needs, PictureFormat, Stretch

PICTURES_PER_PASS = {"cpu": 4, "cuda": 64}  # what a processor's cache holds; what fills a GPU
CLIPS_PER_PASS = {"cpu": 1, "cuda": 8}
SHOWN_NAMES = 5


class TorchvisionImage:
    """An image classifier of torchvision, read out before its classifier: the mean over each frame's pictures.

    The network is frozen and in evaluation mode. Pictures are stretched to the size that the published weights were
    evaluated with (nothing is cut off, unlike in torchvision, which resizes and crops), then normalised with their mean
    and standard deviation.

    Args:
        grid: the model's frames.
        name: a name of torchvision.models.list_models(torchvision.models), of a network with one classifier at its end.
        weights: None for random ones from `seed` (tests, speed); a name of torchvision's ("DEFAULT", "IMAGENET1K_V1"),
            fetched from the network and kept in torch's cache; or the path of a file with a state_dict (.safetensors,
            or what torch.save wrote), whose classifier is ignored.
        rate_hz: pictures per second, a multiple of the frames'; None: one per frame.
        width, height: of the pictures; None: as the published weights want them.
        seed: of random weights.

    Raises:
        ValueError: if there is no such network, weights or size, or a file holds other weights.
        OSError: if the weights cannot be fetched.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        name: str = "resnet18",
        weights: str | os.PathLike[str] | None = "DEFAULT",
        rate_hz: float | None = None,
        width: int | None = None,
        height: int | None = None,
        seed: int = 0,
    ) -> None:
        rate_hz = rate_hz or 1 / grid.hop_seconds
        self._per_frame = grid.elements_per_frame(rate_hz)
        self._backbone = _Backbone(name, "torchvision.models", weights, width, height, seed)
        self.size = self._backbone.size
        self.needs = Needs("pictures", rate_hz, picture=self._backbone.picture)

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, pictures, 3, height, width) to (R, num_frames, size)."""
        pictures = torch.split(stretch.data.flatten(0, 1), PICTURES_PER_PASS.get(stretch.data.device.type, 16))
        vectors = torch.cat([self._backbone(part) for part in pictures])
        return vectors.reshape(len(stretch.data), num_frames, self._per_frame, self.size).mean(dim=2)


class TorchvisionClip:
    """A video classifier of torchvision, read out before its classifier: one vector per clip, one clip per frame.

    A frame's clip has its pictures in the middle and the pictures around it as declared context, so that one step of
    the grid is the hop from clip to clip:

        grid    |.......|frame k|.......|
        clip       [left|.......|right]         clip_pictures in all

    Frozen, in evaluation mode; size and normalisation as in `TorchvisionImage`.

    Args:
        grid: the model's frames.
        name: "r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b".
        weights: as in `TorchvisionImage` ("DEFAULT", "KINETICS400_V1").
        clip_pictures: pictures of a clip; the published weights of most were trained on 16.
        rate_hz: pictures per second, a multiple of the frames'; the published weights of most were trained at 15.
        width, height: of the pictures; None: as the published weights want them.
        seed: of random weights.

    Raises:
        ValueError: as `TorchvisionImage`, or if a clip is shorter than a frame.
        OSError: if the weights cannot be fetched.
    Source: Tran et al., "A closer look at spatiotemporal convolutions for action recognition", CVPR 2018.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        name: str = "r3d_18",
        weights: str | os.PathLike[str] | None = "DEFAULT",
        clip_pictures: int = 16,
        rate_hz: float = 15.0,
        width: int | None = None,
        height: int | None = None,
        seed: int = 0,
    ) -> None:
        self._per_frame = grid.elements_per_frame(rate_hz)
        if clip_pictures < self._per_frame:
            raise ValueError(
                f"clip_pictures={clip_pictures} must hold a frame's {self._per_frame} pictures (hop_seconds="
                f"{grid.hop_seconds} at rate_hz={rate_hz:g}); raise clip_pictures, or lower rate_hz"
            )
        self._clip_pictures = clip_pictures
        self._backbone = _Backbone(name, "torchvision.models.video", weights, width, height, seed)
        self.size = self._backbone.size
        left = (clip_pictures - self._per_frame) // 2
        right = clip_pictures - self._per_frame - left
        self.needs = Needs("pictures", rate_hz, left / rate_hz, right / rate_hz, picture=self._backbone.picture)

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, left + pictures + right, 3, height, width) to (R, num_frames, size)."""
        clips = stretch.data.unfold(1, self._clip_pictures, self._per_frame)[:, :num_frames]  # clip's pictures last
        per_pass = CLIPS_PER_PASS.get(stretch.data.device.type, 1)
        features = []
        for run in clips:
            parts = torch.split(run.movedim(-1, 2), per_pass)  # (frames, channels, pictures, height, width)
            features.append(torch.cat([self._backbone(part) for part in parts]))
        return torch.stack(features)


class _Backbone:
    """A frozen network without its classifier: (N, 3, ..., height, width) uint8 to (N, size)."""

    def __init__(
        self,
        name: str,
        module: str,
        weights: str | os.PathLike[str] | None,
        width: int | None,
        height: int | None,
        seed: int,
    ) -> None:
        models = _torchvision_models()
        known = models.list_models(models.video if module.endswith("video") else models)
        if name not in known:
            raise ValueError(f"name={name!r} is no model of {module}; it has {', '.join(known)}")
        published = models.get_model_weights(name)
        transform = published.DEFAULT.transforms()
        crop_height, crop_width = (list(transform.crop_size) * 2)[:2]
        self.picture = PictureFormat(width or crop_width, height or crop_height, "rgb")
        self._name, self._mean, self._std = name, transform.mean, transform.std
        self._network = _network(models, name, published, weights, seed).eval().requires_grad_(False)
        last, classifier = list(self._network.named_children())[-1]
        inputs = [getattr(part, "in_features", getattr(part, "in_channels", 0)) for part in classifier.modules()]
        self.size: int = next((number for number in inputs if number), 0)
        setattr(self._network, last, nn.Identity())
        if not module.endswith("video"):
            for weight in self._network.parameters():
                if weight.ndim == 4:  # a tenth faster on a processor
                    weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        shape = (3, *[1] * (pictures.ndim - 2))
        mean, std = (pictures.new_tensor(list(v), dtype=torch.float32).reshape(shape) for v in (self._mean, self._std))
        network = self._network.to(pictures.device)
        vectors: Tensor = network((pictures.float() / 255 - mean) / std).flatten(1)
        if vectors.shape[1] != self.size:
            raise ValueError(
                f"name={self._name!r} gives {vectors.shape[1]} numbers where its classifier reads {self.size}; the "
                "rule is a network with one linear classifier at its end; choose another"
            )
        return vectors


def _torchvision_models() -> Any:
    import torchvision.models  # type: ignore[import-untyped]  # here, because it takes a second that most never need

    return torchvision.models


def _network(models: Any, name: str, published: Any, weights: str | os.PathLike[str] | None, seed: int) -> nn.Module:
    if weights is not None and str(weights) in published.__members__:
        try:
            fetched: nn.Module = models.get_model(name, weights=published[str(weights)])
        except OSError as error:
            raise OSError(
                f"weights={str(weights)!r} of {name} could not be fetched ({error}); fetch "
                f"{published[str(weights)].url} where there is a network, and give the file's path as weights"
            ) from error
        return fetched
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = models.get_model(name, weights=None)
    if weights is not None:
        _load(network, name, Path(weights), list(published.__members__))
    return network


def _load(network: nn.Module, name: str, path: Path, names: Sequence[str]) -> None:
    """A state_dict from a file into everything but the classifier."""
    if not path.is_file():
        raise ValueError(f"weights={str(path)!r} is neither a file nor one of {name}'s: {', '.join(names)}")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError) as error:
        raise ValueError(f"weights={str(path)!r} cannot be read as weights without running code: {error}") from error
    if not isinstance(state, dict):
        raise ValueError(f"weights={str(path)!r} holds a {type(state).__name__}; the rule is a state_dict")
    last = f"{list(network.named_children())[-1][0]}."
    own = {key: value for key, value in network.state_dict().items() if not key.startswith(last)}
    given = {key: value for key, value in state.items() if not key.startswith(last)}
    wrong = [key for key in own if key not in given or given[key].shape != own[key].shape]
    wrong += [key for key in given if key not in own]
    if wrong:
        raise ValueError(
            f"weights={str(path)!r} are not those of {name}: {len(wrong)} tensors are missing, too many or of another "
            f"shape: {', '.join(wrong[:SHOWN_NAMES])}; give the state_dict of torchvision's {name}"
        )
    network.load_state_dict(given, strict=False)
