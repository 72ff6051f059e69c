"""The benchmark of kernels compares equal functions, and counts what it says."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.kernels import BARS, Shape, in_turns, main, switches
from benchmarks.kernels_latency import main as latency_main
from benchmarks.kernels_limits import Machine, least_seconds
from benchmarks.kernels_rivals import LAYERS, onnx_call, torch_call
from benchmarks.kernels_training import kept_bytes
from benchmarks.kernels_training import main as training_main


@pytest.mark.parametrize("cell", LAYERS)
@torch.no_grad()
def test_rivals_are_the_same_function(cell: str) -> None:
    layer, frames = LAYERS[cell][0](5, 7, batch_first=True), torch.randn(2, 9, 5)
    for call in (torch_call(cell, layer, frames), onnx_call(cell, layer, frames, num_threads=1)):
        torch.testing.assert_close(call(), layer(frames, backend="reference").output, rtol=0, atol=1e-5)


def test_shares_of_open_frames_and_neurons_are_exact() -> None:
    found = switches(Shape("gru", 40, 3, 50, 1))
    assert list(found) == list(BARS)
    tenth, halves, few = found["10 % frames"], found["10 % frames, 50 % neurons"], found["5 % neurons"]
    assert tenth is not None
    assert halves is not None
    assert halves.neurons is not None
    assert few is not None
    assert few.neurons is not None
    assert (tenth.frames.sum(dim=1) == 5).all()
    assert (halves.neurons.sum(dim=2) == 20).all()
    assert (few.neurons.sum(dim=2) == 2).all()
    assert few.frames.all()


def test_calls_take_turns_and_their_first_runs_do_not_count() -> None:
    now, log = [0.0], []

    def call(name: str, seconds: float) -> None:
        log.append(name)
        now[0] += 100 if len(log) <= 2 else seconds

    calls = {"a": lambda: call("a", 1), "b": lambda: call("b", 3)}
    found = in_turns(calls, at_least_runs=3, seconds=0, clock=lambda: now[0])
    assert log == ["a", "b"] * 4
    assert [(spread.median, spread.num_runs) for spread in found.values()] == [(1, 3), (3, 3)]


def test_the_limit_is_arithmetic_or_reading_whichever_is_longer() -> None:
    size = {"num_blocks": 3, "input_size": 2, "hidden_size": 4, "num_rows": 10}
    # A row: 2 * 3 * 4 * (4 + 2) = 144 operations; a step reads 4 * 3 * 4 * 4 = 192 bytes.
    assert least_seconds(Machine(1440.0, {192: 1e9}), num_steps=10, **size) == pytest.approx(1.0)
    assert least_seconds(Machine(1e9, {192: 192.0}), num_steps=5, **size) == pytest.approx(5.0)


def test_a_table_and_json_come_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = ["--cells", "gru", "--hidden", "16", "--batch", "1", "--frames", "20", "--threads", "1"]
    assert main([*shape, "--seconds", "0", "--json", str(tmp_path / "kernels.json")]) == 0
    assert "5 % neurons" in capsys.readouterr().out
    found = json.loads((tmp_path / "kernels.json").read_text())
    assert {"torch", "onnxruntime", "numba"} <= set(found["versions"])
    assert [row["density"] for row in found["rows"]] == list(BARS)
    assert all(row["max_difference"] < 1e-5 for row in found["rows"])
    assert latency_main(["--hours", "0.001", "--hidden", "16", "--json", str(tmp_path / "latency.json")]) == 0
    rows = json.loads((tmp_path / "latency.json").read_text())["rows"]
    assert {row["num_blocks"] for row in rows} == {180, 45, 18}


def test_training_steps_are_timed_and_what_they_keep_is_counted_once(tmp_path: Path) -> None:
    weights = torch.ones(10, requires_grad=True)
    assert kept_bytes(lambda: weights.exp()) == 40
    assert kept_bytes(lambda: weights * weights) == 40
    shape = ["--cells", "gru", "--hidden", "16", "--batch", "2", "--frames", "40", "--seconds", "0"]
    assert training_main([*shape, "--json", str(tmp_path / "training.json")]) == 0
    (step,) = json.loads((tmp_path / "training.json").read_text())["steps"]
    assert set(step["seconds"]) == {"torch", "ours", "ours, fixed switch"}
