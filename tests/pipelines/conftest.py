"""A small model of random weights, in memory and as a folder."""

from pathlib import Path

import pytest
import torch
from small_line import LABELS, RECIPE, noise, set_switch

from pipelines.keywords import Decision
from pipelines.model import Model, build_line
from pipelines.recipe import Recipe, load_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return load_recipe(path)


@pytest.fixture
def model(recipe: Recipe) -> Model:
    torch.manual_seed(3)
    line = build_line(recipe, len(LABELS))
    set_switch(line, noise(12.0))
    decisions = {"yes": Decision(0.02, 0.5, 0.1), "no": Decision(0.015, 0.4, 0.2)}
    return Model(recipe, line, LABELS, decisions, {"frames_open": 0.3, "recall": float("nan")}, "A small model.\n")


@pytest.fixture
def model_folder(model: Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"
