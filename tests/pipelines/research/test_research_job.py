"""Research recipes by the command: a short run end to end, resuming, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipelines import run
from pipelines.console import Progress
from pipelines.research import train
from pipelines.research.recipe import ResearchRecipe, job_of, load_any_recipe
from pipelines.research.train import is_better, rate_at

ROOT = Path(__file__).resolve().parents[3]
RECIPES = sorted((ROOT / "recipes" / "research").glob("*.yaml"))
RECIPE = """
problem:
  class_path: pipelines.research.SelectiveCopy
  init_args: {length: 12, num_tokens: 2, num_symbols: 3, num_test: 20}
model:
  class_path: pipelines.research.SelectiveUpdate
  init_args: {gate_args: {channels: 4, dilations: []}, switches: both}
size: {num_parameters: 1500, embedding: 4}
train: {max_epochs: 4, steps_per_epoch: 5, batch_size: 4}
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "small.yaml").write_text(RECIPE)
    return tmp_path


def test_a_short_run_leaves_recipe_weights_metrics_picture_and_report(small: Path) -> None:
    assert run.main(["small.yaml", "--output", "a", "--device", "cpu", "--quiet"]) == 0
    metrics = json.loads((small / "a" / "metrics.json").read_text())
    assert metrics["num_answers"] == 40
    assert 0 <= metrics["accuracy"] <= 1
    assert metrics["parameters"] == pytest.approx(1500, rel=0.05)
    assert metrics["updates"] <= metrics["frames_open"]
    assert load_any_recipe(small / "a" / "recipe.yaml") == load_any_recipe(small / "small.yaml")
    page = (small / "a" / "report.html").read_text()
    assert "Selective copy: SelectiveUpdate" in page
    assert "data:image/png" in page
    assert (small / "a" / "plots" / "training.png").stat().st_size < 150_000


def test_a_resumed_run_has_the_weights_of_an_uninterrupted_one(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["small.yaml", "--output", "whole", "--device", "cpu", "--seed", "3"]) == 0
    save, calls = train._save, []

    def save_then_stop(*arguments: Any) -> None:
        save(*arguments)
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(train, "_save", save_then_stop)
    with pytest.raises(KeyboardInterrupt):
        run.main(["small.yaml", "--output", "cut", "--device", "cpu", "--seed", "3"])
    assert not (small / "cut" / "metrics.json").exists()
    capsys.readouterr()
    assert run.main(["small.yaml", "--output", "cut", "--device", "cpu", "--resume"]) == 0
    assert len(calls) == 4  # two epochs before, two after
    whole, cut = (load_file(small / name / "weights.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    first, second = (json.loads((small / name / "metrics.json").read_text()) for name in ("whole", "cut"))
    timed = "training_seconds"
    assert first | {timed: 0} == second | {timed: 0}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_research_recipe_is_complete_and_says_how_to_get_the_published_size(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([str(path), "--print_config"]) == 0
    shown = capsys.readouterr().out
    for section in ("problem", "model", "size", "train"):
        assert f"\n{section}:\n" in shown
    text = path.read_text()
    assert f"python -m pipelines.run recipes/research/{path.name}" in text
    assert "ublished size" in text
    assert isinstance(load_any_recipe(path), ResearchRecipe)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_published_sizes_are_accepted_overrides(path: Path) -> None:
    words = " ".join(line.removeprefix("#") for line in path.read_text().splitlines() if line.startswith("#")).split()
    pairs = [(word[2:], words[n + 1]) for n, word in enumerate(words) if word.startswith("--") and word != "--help"]
    assert load_any_recipe(path, pairs) is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--problem.init_args.lenght", "9"], "did you mean length?"),
        (["--train.max_epoch", "9"], "did you mean max_epochs?"),
        (["--head", "pipelines.heads.LevelDecay"], "no such key"),
        (["--size.num_parameters", "7"], "the rule is within 5 %"),
        (["--model.init_args.gate", "surnn.NoGate"], "has no NoGate"),
    ],
)
def test_mistakes_are_named(
    small: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert small.exists()
    assert run.main(["small.yaml", "--output", "a", "--device", "cpu", *arguments]) in (1, 2)
    assert message in capsys.readouterr().err


def test_a_recipe_of_media_keeps_its_job() -> None:
    from pipelines import job

    assert job_of(load_any_recipe(ROOT / "recipes" / "kws.yaml")) is job.run_job


def test_the_learning_rate_warms_up_and_falls_to_a_tenth() -> None:
    assert [rate_at(step, 100) for step in (0, 9)] == pytest.approx([0.1, 1.0])
    assert rate_at(55, 100) == pytest.approx(0.55)  # half of the way down: the middle of 1 and 0.1
    assert rate_at(100, 100) == pytest.approx(0.1)


def test_the_best_epoch_has_most_right_answers_or_the_least_loss() -> None:
    nan = float("nan")
    assert is_better({"accuracy": 0.5, "validation_loss": 9.0}, {"accuracy": 0.4, "validation_loss": 1.0})
    assert is_better({"accuracy": nan, "validation_loss": 0.1}, {"accuracy": nan, "validation_loss": 0.2})
    assert not is_better({"accuracy": nan, "validation_loss": 0.2}, {"accuracy": nan, "validation_loss": 0.2})


def test_the_bar_counts_steps(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.research.job import run_job

    recipe = load_any_recipe(small / "small.yaml")
    assert isinstance(recipe, ResearchRecipe)
    run_job(recipe, run_folder=small, cache=small, seed=0, device="cpu", report=Progress())
    assert "Selective copy" in capsys.readouterr().err


SMALLER = {
    "adding.yaml": ["--problem.init_args.num_test", "8"],
    "characters.yaml": ["--problem.init_args.length", "512", "--size.num_parameters", "12000"],
    "digits.yaml": [],
    "listops.yaml": ["--problem.init_args.num_test", "8", "--problem.init_args.num_train", "40"],
    "mackey_glass.yaml": ["--problem.init_args.num_test", "4", "--problem.init_args.length", "30"],
    "pathfinder.yaml": ["--problem.init_args.num_test", "4", "--problem.init_args.num_train", "8"],
    "permuted_digits.yaml": [],
    "selective_copy.yaml": ["--problem.init_args.num_test", "8"],
    "words.yaml": [
        "--problem.init_args.length",
        "256",
        "--problem.init_args.num_words",
        "100",
        "--size.num_parameters",
        "12000",
    ],
}
NEED_FILES = {"mnist.yaml", "lra_image.yaml", "lra_text.yaml", "lra_retrieval.yaml"}


def test_recipes_run_or_are_known_to_need_files() -> None:
    assert {path.name for path in RECIPES} == SMALLER.keys() | NEED_FILES


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", SMALLER)
def test_a_recipe_runs_from_start_to_report(name: str) -> None:
    few = ["--train.max_epochs", "1", "--train.steps_per_epoch", "2", "--train.batch_size", "4"]
    recipe = str(ROOT / "recipes" / "research" / name)
    assert run.main([recipe, "--output", "a", "--device", "cpu", "--quiet", *few, *SMALLER[name]]) == 0
    assert Path("a/report.html").exists()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["lra_text.yaml", "lra_retrieval.yaml"])
def test_a_recipe_of_local_files_names_the_file_that_is_missing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(ROOT / "recipes" / "research" / name)
    assert run.main([recipe, "--output", "a", "--device", "cpu"]) == 2
    assert "train.tsv cannot be read" in capsys.readouterr().err
