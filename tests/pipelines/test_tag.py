"""The command: what it prints, what it writes, how it ends; no file costs another, none is missing in silence."""

import csv
import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import pytest
import torch
from small_line import noise

from featurizers import write_audio
from pipelines import tag
from pipelines.errors import UserError
from pipelines.exports import COLUMNS
from pipelines.model import Model
from pipelines.tag import Found, find_files, main

RATE_HZ = 16_000


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder with two recordings, one of them deeper."""
    folder = tmp_path / "media"
    (folder / "deep").mkdir(parents=True)
    write_audio(folder / "a.flac", noise(6.0, seed=1), RATE_HZ)
    write_audio(folder / "deep" / "b.flac", noise(5.0, seed=2), RATE_HZ)
    return folder


def write_wav(path: Path, samples: torch.Tensor, rate_hz: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((samples.T * 32767).short().numpy().tobytes())


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def command(*arguments: object, redirect: str = "") -> subprocess.CompletedProcess[str]:
    words = " ".join(f"'{word}'" for word in (sys.executable, "-m", "pipelines.tag", *arguments))
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} {redirect}"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_events_are_printed_and_written(
    model: Model, model_folder: Path, media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model_folder, media, "--output", tmp_path / "events.csv") == 0
    expected = [model.tag(path) for path in (media / "a.flac", media / "deep" / "b.flac")]
    said = capsys.readouterr()
    blocks = [str(events).splitlines() for events in expected]
    # the header ends with a speed, which is never twice the same
    assert [line.rsplit(",", 1)[0] for line in said.out.splitlines()] == [
        line.rsplit(",", 1)[0] for block in blocks for line in block
    ]
    rows = table_of(tmp_path / "events.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [(row["file"], float(row["onset_seconds"]), row["label"]) for row in rows] == [
        (events.source, round(event.onset_seconds, 3), event.label) for events in expected for event in events
    ]
    assert len(rows) > 3
    assert {row["model_fingerprint"] for row in rows} == {model.fingerprint}
    assert {row["version"] for row in rows} == {importlib.metadata.version("surnn-pipelines")}
    assert {row["channel"] for row in rows} == {"0"}
    assert f"{len(rows)} events in 2 files (11 s of sound), in " in said.err


def test_options_reach_the_model(model: Model, model_folder: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "two.wav", torch.stack([noise(6.0, seed=1), noise(6.0, seed=2)]), RATE_HZ)
    output = tmp_path / "events.csv"
    assert run("--output", output, model_folder, "--min-score", 0, tmp_path / "two.wav", "--quiet", "--", "absent") == 3
    for given in ({"channel": 1}, {"min_score": 0.0}, {"gate": "open"}, {"channel": 0, "min_score": 0.012}):
        words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
        assert run(model_folder, tmp_path / "two.wav", "--output", output, *words) == 0
        found = [(float(row["onset_seconds"]), row["label"], row["channel"]) for row in table_of(output)]
        expected = model.tag(tmp_path / "two.wav", **given)  # type: ignore[arg-type]
        channel = str(given.get("channel", 0))
        assert found == [(round(event.onset_seconds, 3), event.label, channel) for event in expected]
        assert found


def test_a_broken_file_is_named_and_does_not_cost_the_others(
    model_folder: Path, media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (media / "a.flac").read_bytes()
    (media / "cut.flac").write_bytes(whole[: len(whole) // 2])
    (media / "empty.wav").touch()
    (media / "text.wav").write_text("no sound at all\n" * 20)
    (media / "notes.txt").write_text("no sound was ever meant\n" * 20)
    (media / "gone.wav").symlink_to("nowhere.wav")
    os.mkfifo(media / "pipe.wav")
    assert run(model_folder, media, tmp_path / "absent.wav", "--output", tmp_path / "events.csv") == 3
    said = capsys.readouterr()
    failed = [line for line in said.err.splitlines() if line.startswith("failed: ")]
    skipped = [line for line in said.err.splitlines() if line.startswith("skipped: ")]
    for name, reason in {
        "cut.flac": "cut off",
        "empty.wav": "is empty",
        "text.wav": "is not a media file",
        "gone.wav": "does not exist",
        "absent.wav": "does not exist",
    }.items():
        assert [line for line in failed if name in line and reason in line], (name, failed)
    assert len(failed) == 5
    assert [line for line in skipped if "notes.txt" in line]
    assert [line for line in skipped if "pipe.wav is no regular file" in line]
    assert len(skipped) == 2
    assert "2 files (11 s of sound), 5 failed, 2 skipped, in " in said.err
    assert {Path(row["file"]).name for row in table_of(tmp_path / "events.csv")} == {"a.flac", "b.flac"}


def test_a_named_file_without_sound_has_failed(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no sound\n" * 20)
    assert run(model_folder, tmp_path / "notes.txt", "--quiet") == 3
    assert capsys.readouterr().err.startswith(f"failed: {tmp_path}/notes.txt is not a media file")


def test_a_fault_in_the_program_is_told_per_file(
    model_folder: Path, media: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tag_whole = Model.tag

    def tag_but_a(self: Model, source: str, **given: object) -> object:
        if source.endswith("a.flac"):
            raise RuntimeError("a tensor of the wrong shape")
        return tag_whole(self, source, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "tag", tag_but_a)
    assert run(model_folder, media) == 3
    said = capsys.readouterr()
    assert "a.flac: a fault in the program: RuntimeError: a tensor of the wrong shape (test_tag.py, line" in said.err
    assert "b.flac (5.0 s" in said.out


@pytest.mark.parametrize("rate_hz", [8_000, 96_000])
def test_any_rate_and_number_of_channels_is_read(
    model_folder: Path, tmp_path: Path, rate_hz: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(tmp_path / "six.wav", torch.zeros(6, 2 * rate_hz), rate_hz)
    assert run(model_folder, tmp_path / "six.wav") == 0
    assert "six.wav (2.0 s; " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a model folder and at least one recording"),
        (["{model}"], "name a model folder and at least one recording"),
        (["{model}", ""], "one of the recordings has an empty name"),
        (["{tmp}", "x.wav"], "is no model folder: recipe.yaml is missing; did you mean .*/model"),
        (["{model}", "{media}", "--min-score", "1.5"], r"--min-score 1.5 must lie in \[0, 1\]"),
        (["{model}", "{media}", "--min-score", "high"], "--min-score: invalid float value: 'high'"),
        (["{model}", "{media}", "--channel", "-1"], "--channel -1 must be 0 or more"),
        (["{model}", "{media}", "--gate", "shut"], "--gate: invalid choice: 'shut'"),
        (["{model}", "{media}", "--mim-score", "1"], "unrecognized arguments: --mim-score"),
        (["{model}", "-a.wav"], "unrecognized arguments: -a.wav; put -- before names that begin with a dash"),
        (["{model}", "{media}", "--output", "{tmp}/absent/x.csv"], "absent/x.csv: cannot be written"),
        (["{model}", "{media}", "--output", "{tmp}"], "cannot be written"),
        (["{model}", "{media}", "--output", "{media}/a.flac"], "a.flac: exists and is no table of events"),
        (["{model}", "{tmp}/hollow"], "no file with sound in .*/hollow"),
    ],
)
def test_wrong_usage_is_answered_in_one_line(
    model_folder: Path,
    media: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "hollow").mkdir()
    before = (media / "a.flac").read_bytes()
    assert run(*(word.format(model=model_folder, media=media, tmp=tmp_path) for word in arguments)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert re.search(f"error: .*{message}", said.err)
    assert (media / "a.flac").read_bytes() == before


def test_an_older_table_is_replaced_only_by_a_whole_one(
    model_folder: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "events.csv"
    assert run(model_folder, media / "deep", "--output", output) == 0
    older = output.read_bytes()

    def full(_text: str) -> None:
        raise UserError("standard output cannot be written (No space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr(tag, "_show", full)
        assert run(model_folder, media, "--output", output) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: standard output cannot be written")
    assert output.read_bytes() == older
    assert run(model_folder, media, "--output", output) == 0
    assert len(output.read_bytes()) > len(older)
    assert {path.name for path in tmp_path.iterdir() if "events" in path.name} == {"events.csv"}


def test_help_names_every_option_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    said = capsys.readouterr().out
    for word in ("--output", "--min-score", "--gate", "--channel", "--trust", "--quiet", "exit codes: 0 all good"):
        assert word in said


def test_quiet_leaves_events_and_failures(model_folder: Path, media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model_folder, media, "absent.wav", "--quiet") == 3
    said = capsys.readouterr()
    assert said.err.splitlines() == ["failed: absent.wav does not exist"]
    assert said.out.count(" events in ") == 2


def test_names_stand_for_files_once_each(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(media)
    (media / "deep" / "again").symlink_to("..")  # a loop
    (media / "x[1].flac").touch()
    (media / ".hidden.flac").touch()
    below = [Found("./" + name, False) for name in (".hidden.flac", "a.flac", "x[1].flac", "deep/b.flac")]
    assert find_files(["."]) == (below, [])
    assert find_files(["a.flac", "a.flac"]) == ([Found("a.flac", True)], [])
    assert find_files(["x[1].flac"]) == ([Found("x[1].flac", True)], [])
    assert find_files(["[a-c]*.flac"]) == ([Found("a.flac", True)], [])
    assert find_files(["d*"])[0][0] == Found("deep/b.flac", False)
    assert find_files(["*.mp3", "b.flac"]) == ([Found("b.flac", True)], ["*.mp3 matches no file"])
    # a file found in a folder and named as well was asked for
    assert Found("./a.flac", True) in find_files([".", "./a.flac"])[0]


@pytest.mark.parametrize(
    "name",
    [
        b"two words.flac",
        b"two\nlines.flac",
        "\u00fcn\u00ef.flac".encode(),
        b"-dash.flac",
        b"%s.flac",
        b"http:.flac",
        b"no\xff.flac",
    ],
)
def test_strange_names_are_read_and_shown_on_one_line(
    model_folder: Path,
    tmp_path: Path,
    name: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_audio("plain.flac", noise(6.0), RATE_HZ)
    os.rename("plain.flac", name)
    text = os.fsdecode(name)
    assert run("--output", "events.csv", model_folder, "--", text) == 0
    said = capsys.readouterr()
    shown = said.out.splitlines()[0].partition(" events in ")[2].partition(" (6.0 s;")[0]
    assert shown == "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    stored = {row["file"] for row in table_of(Path("events.csv"))}
    assert stored == {text if text.isprintable() or "\n" in text else "no\\xff.flac"}


def test_a_reader_that_leaves_stops_the_work_or_leaves_the_table(
    model_folder: Path, media: Path, tmp_path: Path
) -> None:
    alone = command(model_folder, media, "--min-score", "0", redirect="| head -n 1")
    assert (alone.returncode, len(alone.stdout.splitlines())) == (0, 1)
    assert "rror" not in alone.stderr
    with_table = command(model_folder, media, "--output", tmp_path / "events.csv", redirect="| true")
    assert with_table.returncode == 0, with_table.stderr
    assert {Path(row["file"]).name for row in table_of(tmp_path / "events.csv")} == {"a.flac", "b.flac"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_under_standard_output_is_told() -> None:
    done = command("--help", redirect="> /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written (No space left on device)\n"


def test_ctrl_c_ends_within_two_seconds_and_writes_no_half_table(model_folder: Path, tmp_path: Path) -> None:
    write_audio(tmp_path / "long.flac", noise(60.0).repeat(20), RATE_HZ)
    words = [
        sys.executable,
        "-m",
        "pipelines.tag",
        model_folder,
        tmp_path / "long.flac",
        "--output",
        tmp_path / "events.csv",
    ]
    files = [tmp_path / f"{number}.flac" for number in range(200)]
    for path in files:
        path.symlink_to("long.flac")
    with subprocess.Popen(
        [str(word) for word in (*words, *files)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()  # the first file is done
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert first.endswith("times real time)\n"), said
    assert process.returncode == 130
    assert time.monotonic() - asked < 2
    assert said.splitlines()[-1].startswith("Interrupted after ")
    assert "events.csv was not written" in said
    assert not [path for path in tmp_path.iterdir() if "events" in path.name]
