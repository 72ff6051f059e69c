"""An exported model says of a recording what the model says."""

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from small_line import LABELS, RATE_HZ, RECIPE, noise, set_switch
from torch import Tensor, nn

from featurizers import array_blocks
from pipelines import export_onnx
from pipelines.errors import UserError
from pipelines.line import Line
from pipelines.model import Model, build_line
from pipelines.recipe import load_recipe
from surnn import Open

TOLERANCE = {"rtol": 0, "atol": 1e-4}  # levels are of size 10; rounding of float32 is 1e-6 of it


def run(path: Path, **inputs: Tensor) -> dict[str, Tensor]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {name: values.numpy() for name, values in inputs.items()})
    return {output.name: torch.as_tensor(part) for output, part in zip(session.get_outputs(), found, strict=True)}


def agrees(line: Line, path: Path) -> None:
    """A whole recording, and the same in two blocks, beside the line's own walk."""
    glance, features = line.all_frames(array_blocks(noise(12.0), RATE_HZ, RATE_HZ))
    track = line.follow(array_blocks(noise(12.0), RATE_HZ, RATE_HZ))
    features = torch.where(track.is_open[:, None], features, torch.nan)  # closed frames are not read
    found = run(path, features=features, glance=glance)
    assert torch.equal(found["is_open"], track.is_open)
    assert 10 < len(found["index"]) < len(features)
    assert torch.equal(found["index"], track.held.index)
    torch.testing.assert_close(found["level"], track.held.level, **TOLERANCE)
    torch.testing.assert_close(found["decay"], track.held.decay, **TOLERANCE)
    cut, left, right = 70, line.gate.lookback_frames, line.gate.lookahead_frames
    none = torch.zeros(1, dtype=torch.int64)
    one = run(path, features=features[:cut], glance=glance[: cut + right], pad_right=none)
    carried = {name.removeprefix("next_"): part for name, part in one.items() if name.startswith("next_")}
    two = run(path, features=features[cut:], glance=glance[cut - left :], pad_left=none, **carried)
    torch.testing.assert_close(torch.cat([one["level"], two["level"]]), track.held.level, **TOLERANCE)
    assert torch.equal(torch.cat([one["index"], two["index"] + cut]), track.held.index)


@pytest.mark.parametrize("encoder", ["{hidden: 8}", "{hidden: 8, num_layers: 2, projection: 6, cell: lstm}"])
def test_an_exported_line_says_what_the_line_says(encoder: str, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE.replace("{hidden: 8}", encoder))
    torch.manual_seed(3)
    line = build_line(load_recipe(tmp_path / "small.yaml"), len(LABELS)).eval()
    set_switch(line, noise(12.0))
    export_onnx.export_line(line, tmp_path / "line.onnx")
    agrees(line, tmp_path / "line.onnx")


def test_the_command_exports_a_model_folder(
    model: Model, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export_onnx.main([str(model_folder), str(tmp_path / "small.onnx")]) == 0
    assert "small.onnx holds switch, encoder and head" in capsys.readouterr().out
    agrees(model.line, tmp_path / "small.onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a model folder and the file to write"),
        (["nowhere", "a.onnx"], "nowhere is no model folder"),
        (["a", "b", "c"], "unrecognized arguments: c"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert export_onnx.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_help_names_inputs_and_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    assert export_onnx.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("features", "glance", "index", "level", "decay", "--trust"))


def line_with(line: Line, **parts: Any) -> Line:
    own = {name: getattr(line, name) for name in ("grid", "glance", "gate", "featurizer", "encoder", "head")}
    return Line(**(own | parts))


class OtherHead(nn.Module):
    num_labels = 2


def test_other_switches_heads_and_folders_are_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        export_onnx.export_line(model.line, tmp_path / "nowhere" / "a.onnx")
    for parts, message in (({"gate": Open(8)}, "switch is a Open"), ({"head": OtherHead()}, "head is a OtherHead")):
        with pytest.raises(UserError, match=message):
            export_onnx.export_line(line_with(model.line, **parts), tmp_path / "a.onnx")
