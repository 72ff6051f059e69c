"""A recipe of one's own from a shipped one: the same comments, the values asked for, nothing written over."""

import itertools
import os
from pathlib import Path

import pytest

from pipelines import new
from pipelines.overrides import split_overrides
from pipelines.recipe import load_recipe

TEXT = """\
# Run it: python -m pipelines.run recipes/like.yaml
# What is looked for.
task: pipelines.tasks.KeywordSpotting  # words
corpus:
  class_path: pipelines.corpora.SpokenWords
  init_args:
    # Words.
    words:
      - yes
      - no
    # Hours.
    train_hours: {practice: 4.0, quiet: 0.5}  # of streams

# Frames.
grid: {hop_seconds: 0.08}
glance:
    class_path: featurizers.LogMel
    init_args:
        num_mels: 32
switch: surnn.EventGate
featurizer: featurizers.GlanceFrames
encoder:
head: pipelines.heads.LevelDecay
# How it is trained.
train:
  # Passes.
  max_epochs: 8   # over everything
  # Crops.
  batch_size: 32
"""
OVERRIDES = [
    ("train.max_epochs", "3"),
    ("train.dropout", "0.5"),
    ("train", "{max_epochs: 2}"),
    ("corpus.init_args.words", "[red, green, 'on']"),
    ("corpus.init_args.train_hours.practice", "1.5"),
    ("corpus.init_args.train_hours", "{quiet: 1.0}"),
    ("corpus.init_args.seed", "9"),
    ("grid.hop_seconds", "0.16"),
    ("glance.init_args.floor_db", "-70.0"),
    ("glance.init_args.num_mels", "40"),
    ("switch", "surnn.Open"),
    ("switch.init_args.channels", "8"),
    ("task.init_args.after_seconds", "0.2"),
    ("encoder.hidden", "24"),
    ("evaluate.thresholds_on", "talkative"),
    ("featurizer", "{class_path: featurizers.ConvFeaturizer, init_args: {num_mels: 32, channels: [4, 8]}}"),
]


@pytest.fixture(autouse=True)
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("like.yaml").write_text(TEXT)
    return tmp_path


def comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.lstrip().startswith("#")]


def test_without_overrides_it_is_the_shipped_recipe_with_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert new.main(["my_word.yaml", "--like", "kws"]) == 0
    shipped = new.shipped_recipes()["kws"].read_text()
    assert Path("my_word.yaml").read_text() == shipped.replace(
        "pipelines.run recipes/kws.yaml", "pipelines.run my_word.yaml"
    )
    assert "python -m pipelines.check my_word.yaml" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(new.shipped_recipes()))
def test_every_shipped_recipe_can_be_begun_from(name: str) -> None:
    assert new.main(["mine.yaml", "--like", name, "--train.max_epochs", "3"]) == 0
    assert load_recipe("mine.yaml") == load_recipe(new.shipped_recipes()[name], [("train.max_epochs", "3")])
    assert comments(Path("mine.yaml").read_text())[2:] == comments(new.shipped_recipes()[name].read_text())[2:]


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: override[0])
def test_an_override_says_what_it_says_on_the_command_line_and_comments_stay(override: tuple[str, str]) -> None:
    new.write_recipe(Path("mine.yaml"), Path("like.yaml"), [override])
    assert load_recipe("mine.yaml") == load_recipe("like.yaml", [override])
    missing = set(comments(TEXT)[1:]) - set(comments(Path("mine.yaml").read_text()))
    assert missing <= ({"  # Passes.", "  # Crops."} if override[0] == "train" else set())


def test_two_overrides_say_together_what_they_say_on_the_command_line() -> None:
    for number, pair in enumerate([*itertools.permutations(OVERRIDES, 2)][::6]):
        if pair[0][0] == "switch" and pair[1][0].startswith("switch."):
            continue  # surnn.Open has no such argument, here or there
        target = Path(f"mine{number}.yaml")
        new.write_recipe(target, Path("like.yaml"), pair)  # asserts that it reads back as it should
        target.unlink()


def test_a_comment_behind_a_value_stays_behind_it() -> None:
    new.write_recipe(Path("mine.yaml"), Path("like.yaml"), [("train.max_epochs", "3"), ("task", "my.Task")][:1])
    assert "  # Passes.\n  max_epochs: 3   # over everything\n  # Crops.\n" in Path("mine.yaml").read_text()


def test_nothing_is_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("precious")
    assert new.main(["mine.yaml"]) == 2
    assert "mine.yaml: is there already, and nothing is written over it" in capsys.readouterr().err
    assert Path("mine.yaml").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the recipe to write"),
        (["mine.yaml", "--like", "kwz"], "--like kwz: no such recipe; did you mean kws?; the shipped ones are"),
        (["mine.txt"], "mine.txt: a recipe's name ends in .yaml"),
        (["mine.yaml", "--train.max_epoch", "3"], "train.max_epoch: no such key; did you mean max_epochs?"),
        (["mine.yaml", "--train.max_epochs"], "--train.max_epochs needs a value"),
        (["mine.yaml", "--lik", "kws"], "no such option: --lik; did you mean --like?"),
        (["mine.yaml", "--like"], "expected one argument"),
        (["nowhere/mine.yaml"], "nowhere/mine.yaml"),
    ],
)
def test_wrong_usage_is_one_line_exit_code_2_and_no_file(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert sorted(os.listdir()) == ["like.yaml"]


def test_help_names_the_shipped_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert new.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "kws" in shown
    assert "sed" in shown


def test_own_options_keep_their_values_and_keys_are_split_off() -> None:
    own, overrides = split_overrides(
        ["--like", "kws", "a.yaml", "--train.dropout=0.1", "--switch", "surnn.Open"], new._parser()
    )
    assert own == ["--like", "kws", "a.yaml"]
    assert overrides == [("train.dropout", "0.1"), ("switch", "surnn.Open")]


def test_recipes_lie_within_an_installed_package_and_beside_one_that_is_checked_out(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "pipelines"
    package.mkdir(parents=True)
    (tmp_path / "site-packages" / "recipes").mkdir()  # of a checkout, or of somebody else beside an installed package
    assert new.recipes_folder(package) == tmp_path / "site-packages" / "recipes"
    (package / "recipes").mkdir()
    assert new.recipes_folder(package) == package / "recipes"
