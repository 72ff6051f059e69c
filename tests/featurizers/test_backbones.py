"""torchvision's networks as featurizers: what they give equals a pass through torchvision; wrong weights are named."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision.models  # type: ignore[import-untyped]
from safetensors.torch import save_file
from torch import Tensor

from featurizers import Grid, Run, TorchvisionClip, TorchvisionImage, check_featurizer, evaluate_runs
from featurizers.testing import PictureArray

torch.set_num_threads(1)
GRID = Grid(0.2)


def pictures(count: int, width: int, height: int, rate_hz: float) -> PictureArray:
    data = torch.randint(
        0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return PictureArray(data, torch.arange(count).double() / rate_hz)


def without_classifier(name: str, state: dict[str, Tensor]) -> torch.nn.Module:
    network: torch.nn.Module = torchvision.models.get_model(name)
    network.load_state_dict(state)
    network.fc = torch.nn.Identity()
    return network.eval()


@pytest.fixture(scope="module")
def resnet_state() -> dict[str, Tensor]:
    torch.manual_seed(7)
    state: dict[str, Tensor] = torchvision.models.resnet18().state_dict()
    return state


def test_they_keep_the_promises_of_a_featurizer() -> None:
    image = TorchvisionImage(GRID, name="resnet18", weights=None, width=32, height=32)
    check_featurizer(image, GRID, seconds=2.4)
    check_featurizer(TorchvisionImage(GRID, weights=None, rate_hz=10, width=32, height=32), GRID, seconds=1.2)


def test_clips_keep_the_promises_of_a_featurizer() -> None:
    clip = TorchvisionClip(GRID, name="mc3_18", weights=None, clip_pictures=4, width=16, height=16)
    check_featurizer(clip, GRID, seconds=1.2)


@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pt"])
def test_an_image_gives_what_the_network_of_the_file_gives(
    file: str, tmp_path: Path, resnet_state: dict[str, Tensor]
) -> None:
    if file.endswith("pt"):
        torch.save(resnet_state, tmp_path / file)
    else:
        save_file(resnet_state, tmp_path / file)
    featurizer = TorchvisionImage(GRID, weights=tmp_path / file, rate_hz=10.0, width=48, height=32)
    source = pictures(8, 48, 32, 10.0)
    found = evaluate_runs(featurizer, GRID, [Run(1, 2)], source).features
    transform = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    normalised = torchvision.transforms.functional.normalize(source.data[2:6] / 255, transform.mean, transform.std)
    with torch.no_grad():
        each = without_classifier("resnet18", resnet_state)(normalised)
    torch.testing.assert_close(found, each.reshape(2, 2, 512).mean(dim=1), atol=1e-4, rtol=1e-4)


def test_a_clip_has_its_frame_in_the_middle(tmp_path: Path) -> None:
    torch.manual_seed(8)
    state = torchvision.models.get_model("mc3_18").state_dict()
    save_file(state, tmp_path / "clip.safetensors")
    featurizer = TorchvisionClip(
        GRID, name="mc3_18", weights=tmp_path / "clip.safetensors", clip_pictures=7, width=16, height=16
    )
    source = pictures(15, 16, 16, 15.0)
    found = evaluate_runs(featurizer, GRID, [Run(1, 2)], source).features  # pictures 3 to 5, 6 to 8; 2 on either side
    transform = torchvision.models.video.MC3_18_Weights.DEFAULT.transforms()
    normalised = torchvision.transforms.functional.normalize(source.data / 255, transform.mean, transform.std)
    clips = torch.stack([normalised[1:8], normalised[4:11]]).transpose(1, 2)
    with torch.no_grad():
        expected = without_classifier("mc3_18", state)(clips)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_sizes_are_those_the_published_weights_want() -> None:
    assert TorchvisionImage(GRID, weights=None).needs.picture == (224, 224, "rgb")
    clip = TorchvisionClip(GRID, weights=None)
    assert clip.needs.picture == (112, 112, "rgb")
    assert (clip.size, clip.needs.left_seconds, clip.needs.right_seconds) == (512, 6 / 15, 7 / 15)


@pytest.mark.parametrize(
    ("name", "size", "side"),
    [("mobilenet_v3_small", 576, 32), ("efficientnet_b0", 1280, 32), ("convnext_tiny", 768, 32)],
)
def test_other_networks_have_their_own_size(name: str, size: int, side: int) -> None:
    featurizer = TorchvisionImage(GRID, name=name, weights=None, width=side, height=side)
    assert featurizer.size == size
    assert evaluate_runs(featurizer, GRID, [Run(0, 1)], pictures(1, side, side, 5.0)).features.shape == (1, size)


def test_random_weights_come_from_the_seed_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    vectors = [
        evaluate_runs(
            TorchvisionImage(GRID, weights=None, width=32, height=32, seed=seed),
            GRID,
            [Run(0, 1)],
            pictures(1, 32, 32, 5),
        ).features
        for seed in (0, 0, 1)
    ]
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_wrong_weights_are_named(tmp_path: Path, resnet_state: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"neither a file nor one of resnet18's: IMAGENET1K_V1"):
        TorchvisionImage(GRID, weights="IMAGENET22K")
    lacking = {key: value for key, value in resnet_state.items() if not key.startswith("conv1")}
    save_file(lacking, tmp_path / "lacking.safetensors")
    with pytest.raises(ValueError, match=r"1 tensors are missing, .* conv1\.weight"):
        TorchvisionImage(GRID, weights=tmp_path / "lacking.safetensors")
    torch.save(torchvision.models.resnet18(), tmp_path / "whole.pt")
    with pytest.raises(ValueError, match="cannot be read as weights without running code"):
        TorchvisionImage(GRID, weights=tmp_path / "whole.pt")
    (tmp_path / "text.safetensors").write_text("none")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        TorchvisionImage(GRID, weights=tmp_path / "text.safetensors")


def test_without_a_network_the_error_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OSError, match=r"fetch https://.*resnet18.* give the file's path as weights"):
        TorchvisionImage(GRID, weights="DEFAULT")


def test_networks_and_clips_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"name='r3d_18' is no model of torchvision\.models"):
        TorchvisionImage(GRID, name="r3d_18", weights=None)
    with pytest.raises(ValueError, match="clip_pictures=2 must hold a frame's 3 pictures"):
        TorchvisionClip(GRID, weights=None, clip_pictures=2)
    odd = TorchvisionImage(GRID, name="squeezenet1_1", weights=None, width=64, height=64)
    with pytest.raises(ValueError, match="one linear classifier"):
        evaluate_runs(odd, GRID, [Run(0, 1)], pictures(1, 64, 64, 5.0))
