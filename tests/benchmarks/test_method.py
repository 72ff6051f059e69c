"""What the measurements of the method promise: cells are kept, probes measure what they say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import method, method_cells
from benchmarks.method_cells import ABLATIONS, MODELS_AND_MORE, TASKS, Cell, mean_and_spread, recipe_of
from benchmarks.method_probes import (
    costs_over_length,
    encoders_of_equal_size,
    gradients_over_distance,
    hold_by_learning,
    hold_exactly,
    rates_of_neurons,
    stream,
)
from pipelines.research import DenseRecurrent, SelectiveCopy, SelectiveUpdate
from pipelines.research.contract import Encoded
from pipelines.research.model import SequenceModel, num_parameters
from pipelines.runfolder import held_alone

PROBLEM = SelectiveCopy(length=20, num_tokens=2)


def model_of(encoder: Any) -> SequenceModel:
    return SequenceModel(PROBLEM, encoder, 6).eval()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", MODELS_AND_MORE)
def test_every_cell_has_a_recipe_and_a_folder_of_its_own(task: str, name: str) -> None:
    assert recipe_of(Cell(task, name, MODELS_AND_MORE[name], 0)).train.batch_size == 32
    names = {Cell(task, other, [], seed).folder_name for other in MODELS_AND_MORE for seed in range(3)}
    assert len(names) == 3 * len(MODELS_AND_MORE)


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_changes_the_recipe(name: str) -> None:
    plain = recipe_of(Cell("copy", "suGRU, event", [], 0))
    changed = recipe_of(Cell("copy", name, ABLATIONS[name], 0))
    assert (changed == plain) == (name == "as it is")


def test_a_second_call_trains_nothing_and_shows_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [("problem.init_args.length", "10"), ("problem.init_args.num_test", "8"), ("train.max_epochs", "1")]
    small += [("size.num_parameters", "1500"), ("size.embedding", "4")]
    longer = {"10": [], "20": [("problem.init_args.length", "20")]}
    monkeypatch.setitem(method_cells.TASKS, "copy", TASKS["copy"]._replace(overrides=small, longer=longer))
    wanted = ["--quick", "--parts", "core", "--tasks", "copy", "--models", "GRU"]
    wanted += ["--output", str(tmp_path), "--learning-rates", "0.003", "0.01"]
    assert method.main(wanted) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(method_cells, "run_job", None)
    assert method.main(wanted) == 0
    second = capsys.readouterr().out
    assert first[first.index("copy  ") :].splitlines()[:2] == second.splitlines()[:2]
    cells = json.loads((tmp_path / "core" / "results.json").read_text())["cells"]
    assert {cell["model"] for cell in cells} == {"GRU"}
    assert all(0 <= cell["lengths"]["20"]["accuracy"] <= 1 for cell in cells)
    assert (tmp_path / "method_length.png").stat().st_size < 150_000
    tuned = [json.loads(path.read_text()) for path in (tmp_path / "tuning").glob("*/result.json")]
    assert len(tuned) == 1
    assert all(each["learning_rate"] in (0.003, 0.01) for each in tuned)


def test_a_cell_that_another_process_holds_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cells" / Cell("digits", "GRU", [], 0).folder_name
    folder.mkdir(parents=True)
    wanted = ["--quick", "--parts", "core", "--tasks", "digits", "--models", "GRU", "--output", str(tmp_path)]
    with held_alone(folder, "--output"):
        assert method.main(wanted) == 0
    assert "0 of 1 cells are done" in capsys.readouterr().out


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_closed_frames_change_no_bit(cell: str) -> None:
    held = hold_exactly(cell, 45_000)
    assert held.is_equal
    assert held.relative_change == 0


def test_a_dense_gru_does_not_hold() -> None:
    torch.manual_seed(0)
    held = hold_by_learning(model_of(DenseRecurrent(6, 8)), PROBLEM, 500)
    assert not held.is_equal
    assert held.relative_change > 0.01


def test_a_gradient_passes_closed_frames_unchanged_and_fades_over_open_ones() -> None:
    """Only frames with a symbol or a query are open: the gate's bias is below 0, and it reads the embedding."""
    torch.manual_seed(0)
    gate = {"gate_args": {"dilations": [], "channels": 4}}
    model = model_of(SelectiveUpdate(6, 8, **gate))  # type: ignore[arg-type]
    entry = model.get_submodule("entry")
    decision = model.encoder.layer.gate  # type: ignore[attr-defined]
    with torch.no_grad():
        assert isinstance(entry, nn.Embedding)
        entry.weight[:, 0] = 1.0
        entry.weight[PROBLEM.num_symbols, 0] = -1.0  # the blank
        decision.entry.weight.zero_()
        decision.entry.bias.zero_()
        decision.entry.weight[0, 0] = 1.0
        decision.decision.weight.fill_(1.0)
        decision.decision.bias.fill_(-0.5)
    near, far = gradients_over_distance(model, PROBLEM, [4, 200])
    assert near.num_open_between == far.num_open_between == 1
    assert far.at_event == pytest.approx(near.at_event, rel=1e-5)
    dense = gradients_over_distance(model_of(DenseRecurrent(6, 8)), PROBLEM, [4, 200])
    assert dense[1].at_event < 1e-3 * dense[0].at_event


def test_rates_are_those_of_the_clock() -> None:
    clock = {"gate": "surnn.Clockwork", "gate_args": {"periods": [1, 4]}, "switches": "both"}
    rates = rates_of_neurons(model_of(SelectiveUpdate(6, 8, **clock)), PROBLEM)  # type: ignore[arg-type]
    assert rates.tolist() == pytest.approx([1.0] * 4 + [6 / 22] * 4)  # 22 frames hold 6 multiples of 4
    with pytest.raises(ValueError, match="has no gate"):
        rates_of_neurons(model_of(DenseRecurrent(6, 8)), PROBLEM)


def test_kept_bytes_are_counted_once() -> None:
    class Squares(nn.Module):
        def forward(self, frames: torch.Tensor) -> Encoded:
            leaf = frames.clone().requires_grad_()
            return Encoded(leaf * leaf)

    (cost,) = costs_over_length(Squares(), [8], turns=1)
    assert cost.kept_bytes == 4 * 8 * 16 * 4  # (4, 8, 16) float32, kept for both factors


def test_encoders_are_of_equal_size_and_only_attention_carries_more_and_more() -> None:
    encoders = encoders_of_equal_size()
    sizes = [num_parameters(encoder) for encoder in encoders.values()]
    assert max(sizes) <= 1.1 * min(sizes)
    for name, encoder in encoders.items():
        first, last = stream(encoder, [256, 512])
        assert (last.state_bytes > first.state_bytes) == (name == "Transformer")


def test_mean_and_spread() -> None:
    assert mean_and_spread([0.5]) == "50.0"
    assert mean_and_spread([0.5, 0.6]) == "55.0 ± 7.1"
