"""A look at recipe, data and machine: what it counts, what it refuses, what it warns of, and that it costs seconds."""

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]

from pipelines import check
from pipelines.check_data import planned_facts
from pipelines.recipe import EvaluateOptions

RECIPE = """
task: pipelines.tasks.KeywordSpotting
corpus:
  class_path: pipelines.corpora.clip_folder.ClipFolder
  init_args: {audio: clips, splits: {validation: [cy], test: [dee]}}
glance: {class_path: featurizers.LogMel, init_args: {num_mels: 8}}
switch: {class_path: surnn.EventGate, init_args: {channels: 8, dilations: [1, 2]}}
featurizer: featurizers.GlanceFrames
encoder: {hidden: 8}
head: pipelines.heads.LevelDecay
train: {batch_size: 2, crop_seconds: 2.0, max_epochs: 5}
"""


def write_clip(path: Path, rate_hz: int = 16_000, level: float = 0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time_seconds = np.arange(rate_hz) / rate_hz
    tone = np.sin(2 * np.pi * 440 * time_seconds) * ((time_seconds >= 0.3) & (time_seconds < 0.7))
    soundfile.write(path, level * tone, rate_hz)


ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two words and other speech by four speakers; red three times as often."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for word, num_takes in (("red", 12), ("blue", 4), ("_unknown_", 2)):
        for speaker in ("ann", "bob", "cy", "dee"):
            for take in range(num_takes):
                write_clip(tmp_path / "clips" / word / speaker / f"{take}.wav")
    (tmp_path / "my.yaml").write_text(RECIPE)
    return tmp_path / "clips"


def looked(capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> tuple[list[str], str]:
    """What it prints, spaces made one, and what it prints as errors."""
    assert check.main(["my.yaml", "--no-time", "--quiet", *options]) == code
    shown = capsys.readouterr()
    return [" ".join(line.split()) for line in shown.out.splitlines()], shown.err


def test_counts_lengths_rates_and_classes_are_those_of_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    lines, errors = looked(capsys)
    assert errors == ""
    assert "Data 72 recordings" in lines
    assert "train 36 recordings (32 clip, 4 negative), 36 s, from 1.0 s to 1.0 s each, 2 groups" in lines
    assert "test 18 recordings (16 clip, 2 negative), 18 s, from 1.0 s to 1.0 s each, 1 group" in lines
    assert "blue 8 4 4 0.40 s" in lines
    assert "red 24 12 12 0.40 s" in lines
    assert "(none) 4 2 2 recordings without an event" in lines
    assert "rates 16000 Hz (72); the model hears 16000 Hz" in lines
    assert "warning: fewer than 10 events to train with: blue (8)" in lines
    assert lines[-1] == "A run can begin, with 1 warning: python -m pipelines.run my.yaml"


def test_time_disk_and_memory_are_measured_within_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    assert check.main(["my.yaml", "--quiet", "--device", "cpu"]) == 0
    assert time.monotonic() - begun < 60
    shown = capsys.readouterr().out
    # 54 s of frames of 0.08 s, two times 64 numbers of 2 bytes: 172.8 kB
    assert "Disk     about 173 kB in the cache" in shown
    assert "Memory   about 173 kB of features" in shown
    assert "training, 45 steps" in shown  # 36 s / (2 crops of 2 s) = 9 steps, 5 times
    assert not Path("runs").exists()


def test_what_a_run_would_fail_for_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    _, errors = looked(capsys, "--evaluate.thresholds_on", "talkative", code=2)
    assert "thresholds_on='talkative' is no kind of validation recording; there are: clip, negative" in errors
    lines, errors = looked(capsys, "--corpus.init_args.splits", "{test: [cy]}", code=2)
    assert errors == "error: the validation split has no recordings; all three splits are needed\n"
    assert lines[-1] == "1 error: a run would fail"


def test_a_label_that_nobody_says_in_training_is_an_error_and_elsewhere_a_warning(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(folder / "green" / "dee" / "0.wav")
    lines, errors = looked(capsys, code=2)
    assert "nothing to learn from: the train split has no event of green" in errors
    assert "warning: the validation split has no event of green: its threshold has nothing to go by" in lines


def test_uneven_classes_low_rates_and_left_out_files_are_warned_of(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for speaker in ("ann", "bob"):
        for take in range(4):
            (folder / "blue" / speaker / f"{take}.wav").unlink()
    write_clip(folder / "blue" / "ann" / "0.wav", rate_hz=8_000)
    write_clip(folder / "red" / "ann" / "0.wav", level=0.0)
    lines, errors = looked(capsys)
    assert errors == ""
    assert "warning: classes are uneven: 23 events of red, 1 of blue in the train split" in lines
    assert any("1 of 64 recordings have a lower rate than the model (8000 Hz, 16000 Hz)" in line for line in lines)
    assert any(line.startswith("warning: 1 file left out: ") and line.endswith("(is silent)") for line in lines)


def test_recordings_that_cannot_be_read_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = "file,onset,offset,label,split\n"
    for split, speaker in (("train", "ann"), ("validation", "cy"), ("test", "dee")):
        table += "".join(f"red/{speaker}/{take}.wav,0.3,0.7,red,{split}\n" for take in range(12))
    Path("events.csv").write_text(table)
    event_table = "{class_path: pipelines.corpora.EventTable, init_args: {audio: clips, tables: events.csv}}"
    lines, _ = looked(capsys, "--corpus", event_table)
    assert "warning: no speaker or source is known: whether the splits share one cannot be told" in lines
    assert any("every recording of the test split has an event" in line for line in lines)
    (folder / "red" / "ann" / "3.wav").write_bytes(b"no sound")
    _, errors = looked(capsys, "--corpus", event_table, code=2)
    assert "3.wav" in errors


def test_of_a_corpus_that_is_computed_the_plan_is_shown() -> None:
    hours = {"train": {"practice": 4.0, "quiet": 0.5}, "validation": {"talkative": 1.0}, "test": {"quiet": 0.0}}
    facts = planned_facts(hours, EvaluateOptions(thresholds_on="quiet"))
    assert facts.hours == {"train": 4.5, "validation": 1.0, "test": 0.0}
    assert "4.5 h (4 h practice, 0.5 h quiet)" in facts.lines[1]
    assert facts.errors == [
        "the test split has no hours; all three splits are needed",
        "evaluate.thresholds_on='quiet' is no kind of validation recording; there are: talkative; null takes all of "
        "them",
    ]


def test_a_shipped_recipe_is_looked_over_without_computing_its_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(Path(__file__).parents[2] / "recipes" / "sed.yaml"), "--no-time"]) == 0
    shown = capsys.readouterr().out
    assert "computed by the corpus at the first run" in shown
    assert "A run can begin: " in shown
    assert not Path("cache").exists()


def test_nothing_is_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = "{class_path: pipelines.corpora.speech_commands.SpeechCommands, init_args: {root: empty, download: true}}"
    lines, _ = looked(capsys, "--corpus", corpus)
    assert "Data is fetched at the first run; check again after it" in lines
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a recipe, such as recipes/kws.yaml"),
        (["nowhere.yaml"], "nowhere.yaml: no such file"),
        ([str(ROOT / "recipes" / "research" / "selective_copy.yaml")], "has no recordings to check"),
        (["my.yaml", "--no-tim"], "no such option: --no-tim; did you mean --no-time?"),
        (["my.yaml", "--train.max_epoch", "3"], "did you mean max_epochs?"),
        (["my.yaml", "--device", "gpu"], "--device gpu: expected auto, cpu, cuda or cuda:N"),
        (["my.yaml", "--corpus.init_args.audio", "nowhere"], "audio='nowhere' is no folder"),
        (["my.yaml", "--corpus.init_args.splits", "null", "--corpus.init_args.labels", "[rad]"], "did you mean red"),
        (["my.yaml", "--cache", "my.yaml"], "--cache my.yaml: File exists"),
    ],
)
def test_a_wrong_recipe_or_usage_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_help_says_what_it_does_not_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--help"]) == 0
    assert "Nothing is computed, copied or fetched" in capsys.readouterr().out
