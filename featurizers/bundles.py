"""Large speech models by torchaudio's names (wav2vec 2.0, HuBERT, WavLM), evaluated in fixed windows of frames."""

import os
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import torchaudio  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn.utils import parametrize

from featurizers.grid import Grid, Needs, Stretch

STEP_SAMPLES, FIELD_SAMPLES = 320, 400  # of the convolutions in front: a step every 20 ms hears 25 ms
RATE_HZ = 16_000
SECONDS_PER_PASS = 30.0  # of sound, so that many windows at once do not fill the memory
MODELS = {"Wav2Vec2": torchaudio.models.wav2vec2_model, "WavLM": torchaudio.models.wavlm_model}


class TorchaudioBundle:
    """A frozen transformer over speech, read out at one of its layers; its 20 ms steps averaged into frames.

    Attention hears all that it is given, so a run cannot be cut anywhere: windows of `window_seconds` lie fixed from
    time zero on, each is computed by itself with `context_seconds` on either side, and one open frame opens its whole
    window. Shorter windows save more where little is open; longer ones give the model more to go by.

    The weights are no part of a saved model: who loads it needs the same file, or the network.

    Args:
        grid: the model's frames; the hop must be a whole number of 20 ms.
        name: of a bundle in torchaudio.pipelines, such as WAV2VEC2_BASE, HUBERT_BASE, HUBERT_LARGE or WAVLM_BASE.
        weights: "network": fetched by torchaudio at first use, and kept in torch's cache; the path of a file: a state
            dict by torch.save (read without running code) or .safetensors; None: random ones by `seed`, for tests and
            timing.
        layer: read out after so many transformer layers, from 1; None: after the last.
        window_seconds: length of a window, a whole number of frames.
        context_seconds: sound on either side of a window that is given to the model as well, a whole number of 20 ms.
        seed: of random weights.

    Raises:
        ValueError: if the name, the layer, the grid or the window do not fit, or the file holds other weights.
        FileNotFoundError: if there is no such file.
        ConnectionError: if the network does not answer.
    Source: Baevski et al., wav2vec 2.0, NeurIPS 2020; Hsu et al., HuBERT, IEEE/ACM TASLP 29, 2021; Chen et al., WavLM,
        IEEE JSTSP 16(6), 2022.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        name: str = "WAV2VEC2_BASE",
        weights: str | None = "network",
        layer: int | None = None,
        window_seconds: float = 1.6,
        context_seconds: float = 0.4,
        seed: int = 0,
    ) -> None:
        bundle = _bundle(name)
        self._samples_per_frame = grid.elements_per_frame(RATE_HZ)
        if self._samples_per_frame % STEP_SAMPLES:
            raise ValueError(f"hop_seconds={grid.hop_seconds} must be a whole number of 0.02 s, {name}'s own step")
        block_frames = round(window_seconds / grid.hop_seconds)
        if block_frames < 1 or abs(block_frames * grid.hop_seconds - window_seconds) > 1e-6:
            raise ValueError(
                f"window_seconds={window_seconds} must be a whole number of frames of {grid.hop_seconds} s, at least 1"
            )
        context = round(context_seconds * RATE_HZ)
        if context < 0 or context % STEP_SAMPLES:
            raise ValueError(f"context_seconds={context_seconds} must be a whole number of 0.02 s, or 0")
        num_layers = bundle._params["encoder_num_layers"]
        self._layer = num_layers if layer is None else layer
        if not 1 <= self._layer <= num_layers:
            raise ValueError(f"layer={layer} must be from 1 to {num_layers}, the layers of {name}")
        self.size: int = bundle._params["encoder_embed_dim"]
        right = context + FIELD_SAMPLES - STEP_SAMPLES
        self.needs = Needs("audio", RATE_HZ, context / RATE_HZ, right / RATE_HZ, block_frames)
        self._context_steps = context // STEP_SAMPLES
        self._around = context + right
        self._normalises: bool = bundle._normalize_waveform
        self._model = _model(bundle, name, weights, seed)

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        """(R, context + samples + context) of whole windows to (R, num_frames, size)."""
        data = stretch.data
        if next(self._model.parameters()).device != data.device:
            self._model.to(data.device)
        window = self.needs.block_frames * self._samples_per_frame
        windows = data.unfold(1, window + self._around, window).flatten(0, 1)  # (R * windows, samples)
        most = max(1, int(SECONDS_PER_PASS * RATE_HZ) // windows.shape[1])
        with torch.no_grad():
            frames = torch.cat([self._pass(part) for part in torch.split(windows, most)])
        return frames.reshape(len(data), num_frames, self.size)

    def _pass(self, windows: Tensor) -> Tensor:
        """Frames (W, frames per window, size) of W windows."""
        if self._normalises:
            windows = torch.nn.functional.layer_norm(windows, windows.shape[1:])
        steps = self._model.extract_features(windows, num_layers=self._layer)[0][-1]
        steps = steps[:, self._context_steps : steps.shape[1] - self._context_steps]
        per_frame = self._samples_per_frame // STEP_SAMPLES
        pooled: Tensor = steps.reshape(len(steps), -1, per_frame, self.size).mean(2)
        return pooled


def _bundle(name: str) -> Any:
    """torchaudio's bundle of this name, if it is one of these models."""
    known = type(torchaudio.pipelines.WAV2VEC2_BASE)
    names = [other for other in dir(torchaudio.pipelines) if isinstance(getattr(torchaudio.pipelines, other), known)]
    if name not in names:
        raise ValueError(f"name={name!r} must be one of torchaudio's bundles: {', '.join(names)}")
    return getattr(torchaudio.pipelines, name)


def _model(bundle: Any, name: str, weights: str | None, seed: int) -> Any:
    """The model in the state that it stays in; what only speech recognition needs (aux) is left out."""
    if weights == "network":
        model = _fetched(bundle, name)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = MODELS[bundle._model_type](**bundle._params | {"aux_num_out": None})
        if weights is not None:
            _load(model, Path(os.path.expanduser(weights)), name)
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):  # a frozen product: once is enough, and it can be pickled
            parametrize.remove_parametrizations(module, "weight")
            module._load_state_dict_pre_hooks.clear()  # which read older files, and cannot be pickled
    return model.eval().requires_grad_(False)


def _fetched(bundle: Any, name: str) -> Any:
    try:
        model = bundle.get_model()
    except OSError as error:  # urllib's errors, and a full disk, are among them
        raise ConnectionError(
            f"the weights of {name} cannot be fetched ({error}); give a file: `weights: PATH` of the state dict "
            f"{Path(bundle._path).name}, saved where there is a network, or `weights: null` for random ones"
        ) from error
    return model.model if bundle._normalize_waveform else model  # the wrapper normalises all windows as one


def _load(model: torch.nn.Module, path: Path, name: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"weights={str(path)!r} is no file; give the state dict of torchaudio's {name}")
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        state = {key.removeprefix("model."): tensor for key, tensor in state.items()}
        model.load_state_dict({key: tensor for key, tensor in state.items() if not key.startswith("aux.")})
    except safetensors.SafetensorError as error:
        raise ValueError(f"weights={str(path)!r} is no safetensors file ({error})") from error
    except Exception as error:  # torch tells a damaged file, refused code and other weights by half a dozen classes
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"weights={str(path)!r} does not hold a state dict of torchaudio's {name}: {reason}; weights of Hugging "
            "Face's models are brought into that form by torchaudio.models.wav2vec2.utils.import_huggingface_model"
        ) from error
