"""The command: exit codes, folders, seeds, signals. A short job stands in for the real one."""

import io
import signal
import subprocess
import sys
import textwrap
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import run
from pipelines.console import LINE_EVERY_SECONDS, Progress, choose_device, seconds_text
from pipelines.errors import UsageError, UserError
from pipelines.recipe import load_recipe

CLASSES = """
class Plain:
    '''A class.

    Args:
        words: what is said.
    '''
    def __init__(self, *, words: list[str] = ["yes"]): ...

class Glance:
    def __init__(self, grid): ...
    def evaluate(self, stretch, first_frame, num_frames): ...

class Gate:
    def __init__(self, glance_size): ...
    def switch(self, glance, first_frame=0, among=None): ...

class Head:
    def __init__(self, hidden_size, num_labels): ...
"""

RECIPE = """
task: my_classes.Plain
corpus: my_classes.Plain
glance: my_classes.Glance
switch: my_classes.Gate
featurizer: my_classes.Glance
head: my_classes.Head
"""

Call = Callable[..., int]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Runs happen in an empty folder with a recipe in it; what the job was given is listed here."""
    (tmp_path / "my_classes.py").write_text(CLASSES)
    (tmp_path / "small.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen: list[dict[str, Any]] = []

    def job(recipe: Any, **given: Any) -> dict[str, float]:
        seen.append({"recipe": recipe, **given})
        return {}

    use_job(monkeypatch, job)
    return seen


def use_job(monkeypatch: pytest.MonkeyPatch, job: Callable[..., Any]) -> None:
    module = types.ModuleType("pipelines.job")
    module.run_job = job  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipelines.job", module)


def test_each_run_goes_to_a_new_folder_that_holds_its_recipe(calls: list[dict[str, Any]]) -> None:
    assert run.main(["small.yaml", "--device", "cpu"]) == 0
    assert run.main(["small.yaml", "--device=cpu", "--train.max_epochs=3", "--seed", "7"]) == 0
    assert [call["run_folder"] for call in calls] == [Path("runs/small"), Path("runs/small-2")]
    assert [call["seed"] for call in calls] == [0, 7]
    assert calls[1]["recipe"].train.max_epochs == 3
    assert load_recipe("runs/small-2/recipe.yaml") == calls[1]["recipe"]
    assert calls[0]["cache"] == run.default_cache()
    assert calls[0]["cache"].is_dir()


def test_a_run_is_resumed_with_its_own_seed_and_only_with_its_own_recipe(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["small.yaml", "--output", "a", "--seed", "5"]) == 0
    assert run.main(["small.yaml", "--output", "a"]) == 2
    assert "--resume continues it, --overwrite deletes it" in capsys.readouterr().err
    assert run.main(["small.yaml", "--output", "a", "--resume"]) == 0
    assert calls[-1]["seed"] == 5
    assert run.main(["a/recipe.yaml", "--output", "a", "--resume"]) == 0
    assert run.main(["small.yaml", "--output", "a", "--resume", "--train.max_epochs", "3"]) == 2
    assert "recipe has changed since this run began (train.max_epochs)" in capsys.readouterr().err
    assert run.main(["small.yaml", "--output", "a", "--resume", "--seed", "6"]) == 2
    assert "began with seed 5" in capsys.readouterr().err
    assert run.main(["small.yaml", "--output", "a", "--overwrite", "--train.max_epochs", "3"]) == 0
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a recipe, such as recipes/kws.yaml"),
        (["nowhere.yaml"], "error: nowhere.yaml: no such file"),
        (["smal.yaml"], "error: smal.yaml: no such file; did you mean small.yaml?"),
        (["small.yaml", "--resum"], "no such option: --resum; did you mean --resume?"),
        (["small.yaml", "--train.max_epoch", "3"], "train.max_epoch: no such key; did you mean max_epochs?"),
        (["small.yaml", "--train.max_epochs"], "--train.max_epochs needs a value"),
        (["small.yaml", "--train.max_epochs", "--quiet"], "--train.max_epochs needs a value"),
        (["small.yaml", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["small.yaml", "other.yaml"], "unrecognized arguments: other.yaml"),
        (["small.yaml", "--resume"], "--resume needs to know the run folder"),
        (["small.yaml", "--output", "b", "--resume", "--overwrite"], "not allowed with argument"),
        (["small.yaml", "--output", "small.yaml"], "small.yaml: is a file; --output takes a folder"),
        (["small.yaml", "--cache", "small.yaml"], "small.yaml: a file stands where a folder is needed"),
        (["small.yaml", "--device", "gpu"], "--device gpu: expected auto, cpu, cuda or cuda:N"),
        (["small.yaml", "--device", "cuda:99"], "--device cuda:99: this machine has"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert calls == []
    assert not Path("runs").exists()


def test_values_that_begin_with_a_minus_and_stand_before_the_recipe(calls: list[dict[str, Any]]) -> None:
    assert run.main(["--train.learning_rate", "-4e-1", "--quiet", "small.yaml"]) == 0
    assert calls[0]["recipe"].train.learning_rate == -0.4


def test_printed_config_is_the_complete_recipe(calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["small.yaml", "--print_config", "--corpus.init_args.words", "[no, off]"]) == 0
    printed = capsys.readouterr().out
    Path("printed.yaml").write_text(printed)
    assert load_recipe("printed.yaml") == load_recipe("small.yaml", [("corpus.init_args.words", "[no, off]")])
    assert "# what is said." in printed
    assert calls == []


def test_help_explains_keys_and_shows_examples(calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--help"]) == 0
    assert "--train.max_epochs (int; default" in capsys.readouterr().out
    assert run.main(["small.yaml", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--corpus.init_args.words (list[str]; default ['yes'])\n      what is said." in text
    assert "exit codes: 0 done, 1 failed, 2 wrong usage or recipe, 130 interrupted" in text
    assert calls == []


@pytest.mark.usefixtures("calls")
def test_failures_are_exit_code_1_and_a_traceback_only_for_faults_of_the_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_with(error: Exception) -> str:
        def job(*_: Any, **__: Any) -> None:
            raise error

        use_job(monkeypatch, job)
        assert run.main(["small.yaml", "--quiet"]) == 1
        return capsys.readouterr().err

    assert fail_with(UserError("the word 'xyz' cannot be spoken")) == "error: the word 'xyz' cannot be spoken\n"
    full = fail_with(RuntimeError("file write failed: No space left on device"))
    assert full.startswith("error: runs/small-2: the disk is full")
    assert "Traceback" not in full
    assert "python -m pipelines.run small.yaml --output runs/small-2 --resume" in full
    assert "ZeroDivisionError" in fail_with(ZeroDivisionError("a fault"))


JOBS = {
    "sleeps": "time.sleep(60)",
    "swallows": "\n".join(["while True:", "    try: time.sleep(60)", "    except BaseException: pass"]),
    "exits": "\n".join(["try: time.sleep(60)", "except KeyboardInterrupt: sys.exit(1)"]),
    "leaves threads": "threading.Thread(target=time.sleep, args=(60,)).start(); time.sleep(60)",
}


def start_job(folder: Path, body: str) -> "subprocess.Popen[str]":
    """The command as a process, its job begun."""
    script = textwrap.dedent("""\
        import sys, threading, time, types
        from pipelines import console, run
        def job(*_, **__):
            print("begun", flush=True)
        {body}
        sys.modules["pipelines.job"] = types.SimpleNamespace(run_job=job)
        console.leave(run.main(sys.argv[1:]))
    """).format(body=textwrap.indent(body, "    "))
    (folder / "job.py").write_text(script)
    environment = {"PYTHONPATH": f"{Path.cwd()}:{folder}", "XDG_CACHE_HOME": str(folder), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, str(folder / "job.py"), "small.yaml", "--train.max_epochs", "3"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.2)  # from the line to the work
    return process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_classes.py").write_text(CLASSES)
    (tmp_path / "small.yaml").write_text(RECIPE)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("sleeps", signal.SIGINT),
        ("swallows", signal.SIGTERM),
        ("exits", signal.SIGINT),
        ("leaves threads", signal.SIGINT),
    ],
)
def test_a_signal_ends_any_job_within_two_seconds_and_says_how_to_go_on(
    folder: Path, name: str, number: signal.Signals
) -> None:
    process = start_job(folder, JOBS[name])
    asked = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert time.monotonic() - asked < 2.0
    assert process.returncode == 130
    command = "python -m pipelines.run small.yaml --train.max_epochs 3 --output runs/small --resume"
    assert f"Interrupted. Continue with:\n  {command}\n" in error
    assert "Traceback" not in error


def test_a_second_signal_kills_at_once(folder: Path) -> None:
    process = start_job(folder, JOBS["swallows"])
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT  # the watchdog's exit code would be 130


def test_an_explicit_device_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(UsageError, match=r"--device cuda: this machine has 0 GPUs"):
        choose_device("cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [choose_device(text) for text in ("auto", "cuda", "cuda:1", "cpu")] == ["cuda:0", "cuda:0", "cuda:1", "cpu"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (3599.7, "1 h 0 min"),
     (7500, "2 h 5 min")],
)  # fmt: skip
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(seconds: float, stream: io.StringIO, *, quiet: bool = False) -> str:
    """What is shown of work that takes one second a part."""
    clock = Clock()
    progress = Progress(quiet=quiet, stream=stream, clock=clock)
    for _ in progress.track(range(int(seconds)), "speaking", unit="words"):
        clock.seconds += 1
    return stream.getvalue()


def test_without_a_terminal_long_work_shows_a_line_now_and_then_and_short_work_none() -> None:
    assert work(1, io.StringIO()) == ""
    assert work(3, io.StringIO()) == "speaking: 3.0 s\n"
    told = int(LINE_EVERY_SECONDS)
    assert work(told + 5, io.StringIO()) == f"speaking: {told} of {told + 5} words\nspeaking: {told + 5} s\n"
    assert work(60, io.StringIO(), quiet=True) == ""


def test_on_a_terminal_a_bar_shows_only_after_two_seconds() -> None:
    assert work(1, Terminal()) == ""
    stream = Terminal()
    progress = Progress(stream=stream)
    with progress.step("speaking", 4, "words") as step:
        step.advance(1)
        assert stream.getvalue() == ""
        time.sleep(2.1)
        step.advance(1, note="voice 3")
    assert "speaking:  50%" in stream.getvalue()
    assert "voice 3" in stream.getvalue()
