"""The ways that are timed on a GPU are one function; without one nothing is claimed."""

import math

import pytest
import torch

from benchmarks.gpu_kernels import AUTO, DENSE, PACKED, Density, Size, line_of, main, setting_of, ways_of
from surnn import Switch
from surnn.kernels import reference
from surnn.kernels.triton_launch import interpreted
from surnn.network import Network

pytest.importorskip("triton")


@pytest.mark.parametrize("density", [Density(1.0, None, 1.0), Density(0.5, None, 1.0), Density(0.5, 0.4, 1.0)], ids=str)
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_every_way_is_the_gated_layer_and_gives_the_same_gradients(name: str, density: Density) -> None:
    torch.manual_seed(0)
    setting = setting_of(name, Size(2, 4, 3, 5), density, torch.device("cpu"), torch.float32)
    network = Network(setting.cell, ((setting.weights,),), (None,), False, None)
    state = tuple(part[None] for part in setting.state)
    switch = Switch(setting.is_open, setting.neurons)
    expected = reference.scan(setting.frames, state, network, switch)[0]
    with interpreted():
        found = {way: scan() for way, scan in ways_of(setting, learns=True).items()}
        found |= {f"{way} alone": scan() for way, scan in ways_of(setting, learns=False).items()}
    assert {f"Triton, {way}" for way in ("on chip", "gathered", "grouped")} < found.keys()
    is_whole = density.frames == 1
    assert (PACKED in found) is is_whole
    for way, (output, *gradients) in found.items():
        if DENSE in way and not is_whole:
            continue
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
        if gradients:
            for one, other in zip(gradients, found[AUTO][1:], strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_says_so_and_measures_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick"]) == 2
    said = capsys.readouterr()
    assert "no CUDA GPU" in said.err
    assert said.out == ""


def test_the_best_way_is_held_against_the_bar_and_dense_is_no_way_of_ours() -> None:
    columns = [DENSE, "a", "b"]
    assert line_of({DENSE: 6.0, "a": 2.0, "b": 1.0}, columns, 6.0) == [
        "6.00",
        "2.00",
        "1.00",
        "b",
        "6.00",
        "met (6.00)",
    ]
    assert line_of({DENSE: 1.0, "a": 2.0}, columns, 1.0)[3:] == ["a", "0.50", "NOT met (1.00)"]
    assert line_of({DENSE: 1.0, "a": math.nan}, columns, 1.0)[-1] == "no memory"
