"""The command: what it prints, what it writes, how it ends; no file costs another, none is missing in silence."""

import csv
import importlib.metadata
import os
import random
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from small_line import noise

from featurizers import write_audio
from pipelines.archive.inputs import Found
from pipelines.archive.journal import Journal
from pipelines.archive.outcomes import Outcome
from pipelines.archive.tagging import merge_events
from pipelines.events import Event
from pipelines.model import Model
from pipelines.tag import main

RATE_HZ = 16_000
ROOT = Path(__file__).parents[2]


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
    words = shlex.join(str(word) for word in (sys.executable, "-m", "pipelines.tag", *arguments))
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} {redirect}"], capture_output=True, text=True, cwd=ROOT
    )


def blocks_of(text: str) -> list[str]:
    """Printed events; the header of each file ends with a speed, which is never twice the same."""
    return [line.rsplit(",", 1)[0] for line in text.splitlines()]


def test_events_are_printed(model: Model, model_folder: Path, media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model_folder, media) == 0
    expected = [model.tag(path) for path in (media / "a.flac", media / "deep" / "b.flac")]
    said = capsys.readouterr()
    assert blocks_of(said.out) == blocks_of("\n".join(map(str, expected)))
    assert f"{sum(map(len, expected))} events in 2 files (11 s of media), in " in said.err


def test_a_folder_of_results_holds_the_events_of_the_model(
    model: Model, model_folder: Path, media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(model_folder, media, "--output", out, "--workers", 2, "--export", "csv", "--export", "audacity") == 0
    expected = [model.tag(path) for path in (media / "a.flac", media / "deep" / "b.flac")]
    rows = pq.read_table(out / "events.parquet").to_pylist()
    assert [(row["file"], row["onset_seconds"], row["label"], row["score"]) for row in rows] == [
        (events.source, event.onset_seconds, event.label, event.score) for events in expected for event in events
    ]
    assert len(rows) > 3
    assert {row["model_fingerprint"] for row in rows} == {model.fingerprint}
    assert {row["version"] for row in rows} == {importlib.metadata.version("surnn-pipelines")}
    files = pq.read_table(out / "files.parquet").to_pylist()
    assert [(row["file"], row["seconds"], row["frames_open"]) for row in files] == [
        (events.source, events.seconds, events.frames_open) for events in expected
    ]
    assert [row["label"] for row in table_of(out / "events.csv")] == [row["label"] for row in rows]
    assert (out / "audacity").is_dir()
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{len(rows)} events in 2 files (11 s of media), in " in said.err
    assert f"results: {out}/files.parquet" in said.err


@pytest.mark.parametrize("given", [{"channel": 1}, {"min_score": 0.022}, {"gate": "open", "channel": 0}])
def test_options_reach_the_model(
    model: Model, model_folder: Path, tmp_path: Path, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(tmp_path / "two.wav", torch.stack([noise(6.0, seed=1), noise(6.0, seed=2)]), RATE_HZ)
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert run(model_folder, tmp_path / "two.wav", *words) == 0
    expected = model.tag(tmp_path / "two.wav", **given)
    assert blocks_of(capsys.readouterr().out) == blocks_of(str(expected))
    assert expected.events != model.tag(tmp_path / "two.wav").events


def test_options_reach_the_job(
    model: Model, model_folder: Path, media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(tmp_path / "two.wav", torch.stack([noise(6.0, seed=1), noise(6.0, seed=2)]), RATE_HZ)
    write_wav(tmp_path / "low.wav", noise(3.0)[None, ::2], 6_000)
    (tmp_path / "list").write_text(f"{tmp_path}/two.wav\n{tmp_path}/low.wav\n")
    out, clips = tmp_path / "out", tmp_path / "clips"
    given = ["--channel", "each", "--min-score", 0.012, "--gate", "learned", "--merge-gap", 100, "--audit", "50%"]
    assert (
        run(model_folder, "--output", out, "--list", tmp_path / "list", "--clips", clips, "--shard", "1/1", *given) == 0
    )
    said = capsys.readouterr().err
    assert "estimated events missed by the switch: " in said
    assert "estimated events missed by the switch: " in (out / "audit.json").read_text()
    rows = pq.read_table(out / "events.parquet").to_pylist()
    expected = [
        (*event[:3], channel)
        for channel in (0, 1)
        for event in merge_events(model.tag(tmp_path / "two.wav", channel=channel, min_score=0.012), 100.0)
    ]
    found = [row for row in rows if row["file"] == f"{tmp_path}/two.wav"]
    assert [(row["onset_seconds"], row["offset_seconds"], row["label"], row["channel"]) for row in found] == sorted(
        expected
    )
    files = pq.read_table(out / "files.parquet").to_pylist()
    assert [(Path(row["file"]).name, row["sample_rate_hz"]) for row in files] == [
        ("low.wav", 6_000),
        ("two.wav", RATE_HZ),
    ]
    assert f"{tmp_path}/low.wav: at 6000 Hz it holds nothing above 3000 Hz" in said
    assert f"{tmp_path}/two.wav: " not in said
    assert len([path for path in clips.rglob("*.flac") if path.is_file()]) == len(rows) > 0
    given[1], given[-1] = "mix", "0.25"
    assert run(model_folder, media, "--output", out, *given) == 2
    said = capsys.readouterr().err
    assert "channel was each, now not set" in said
    assert "audit share was 0.5, now 0.25" in said


def test_shards_are_merged_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("1", "2"):
        (tmp_path / part).mkdir()
        with Journal(tmp_path / part) as journal:
            journal.settle({"model": "m", "version": "1"})
            list(journal.enlist([Found(f"{part}.wav", True)], lambda _: None))
            journal.record(Outcome(1, "done", events=(Event(0.0, 1.0, "yes"),), seconds=9.0))
    merged = tmp_path / "merged"
    assert run("--merge", tmp_path / "1", tmp_path / "2", "--output", merged, "--export", "csv") == 0
    assert [row["file"] for row in table_of(merged / "events.csv")] == ["1.wav", "2.wav"]
    assert "2 events in 2 files (18 s of media), in " in capsys.readouterr().err


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
    reasons = {
        "cut.flac": "cut off",
        "empty.wav": "is empty",
        "text.wav": "is not a media file",
        "gone.wav": "does not exist",
        "absent.wav": "does not exist",
    }
    for words in ([], ["--output", tmp_path / "out"]):
        assert run(model_folder, media, tmp_path / "absent.wav", *words) == 3
        said = capsys.readouterr()
        failed = [line for line in said.err.splitlines() if line.startswith("failed: ")]
        for name, reason in reasons.items():
            assert [line for line in failed if f"/{name}: " in line and reason in line], (name, failed)
        assert len(failed) == 5
        assert "2 files (11 s of media), 5 failed, 2 skipped, in " in said.err
        skipped = [line for line in said.err.splitlines() if line.startswith("skipped: ")]
        assert len(skipped) == (0 if words else 2)
    rows = pq.read_table(tmp_path / "out" / "files.parquet").to_pylist()
    assert {Path(row["file"]).name: row["status"] for row in rows} == {
        **dict.fromkeys(reasons, "failed"),
        **dict.fromkeys(("a.flac", "b.flac"), "done"),
    }


def test_damaged_media_end_as_done_or_as_failed_with_a_reason(model_folder: Path, media: Path, tmp_path: Path) -> None:
    damage = random.Random(8)
    write_wav(media / "c.wav", noise(5.0)[None], RATE_HZ)
    sources = [path.read_bytes() for path in (media / "a.flac", media / "c.wav")]
    for number in range(30):
        content = bytearray(sources[number % 2])
        place = damage.randrange(len(content))
        match number % 3:
            case 0:
                for _ in range(20):
                    content[damage.randrange(len(content))] ^= 1 << damage.randrange(8)
            case 1:
                del content[place : place + damage.randrange(1, 5000)]
            case 2:
                content[place:place] = sources[1 - number % 2][: damage.randrange(1, 5000)]
        (media / f"{number}{('.flac', '.wav')[number % 2]}").write_bytes(content)
    code = run(model_folder, media, "--output", tmp_path / "out", "--time-limit", 20)
    rows = pq.read_table(tmp_path / "out" / "files.parquet").to_pylist()
    failed = [row for row in rows if row["status"] == "failed"]
    assert (len(rows), code) == (33, 3 if failed else 0)
    assert all(row["reason"] for row in failed)
    assert 5 < len(failed) < 33


def test_a_named_file_without_sound_has_failed(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no sound\n" * 20)
    assert run(model_folder, tmp_path / "notes.txt", "--quiet") == 3
    assert capsys.readouterr().err.startswith(f"failed: {tmp_path}/notes.txt: is not a media file")


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
        (["{tmp}", "x.wav", "--output", "{tmp}/out"], "is no model folder: recipe.yaml is missing"),
        (["{model}", "{media}", "--min-score", "1.5"], r"min-score 1.5 must lie in \[0, 1\]"),
        (["{model}", "{media}", "--min-score", "high"], "--min-score: invalid float value: 'high'"),
        (["{model}", "{media}", "--channel", "-1"], "channel -1 must be 0 or more"),
        (["{model}", "{media}", "--gate", "shut"], "--gate: invalid choice: 'shut'"),
        (["{model}", "{media}", "--mim-score", "1"], "unrecognized arguments: --mim-score"),
        (["{model}", "-a.wav"], "unrecognized arguments: -a.wav; put -- before names that begin with a dash"),
        (["{model}", "{media}", "--output", "{media}/a.flac"], "a.flac: a file stands where a folder is needed"),
        (["{model}", "{media}", "--output", "{media}"], "holds files that no tagging job wrote, such as a.flac"),
        (["{model}", "{media}", "--output", "{tmp}/x.csv"], "for a table write --output {tmp}/x --export csv"),
        (["{model}", "{media}", "--export", "csv"], "--export needs --output DIR"),
        (["{model}", "{media}", "--output", "{tmp}/out", "--export", "xls"], "export 'xls' is unknown; there are csv"),
        (["{model}", "{media}", "--output", "{tmp}/out", "--shard", "3/2"], "shard '3/2' must be i/n"),
        (["{model}", "{media}", "--output", "{tmp}/out", "--audit", "some"], "--audit some: expected a share"),
        (["{model}", "{media}", "--output", "{tmp}/out", "--workers", "0"], "workers 0 must be at least 1"),
        (["{model}", "{media}", "--output", "{tmp}/out", "--time-limit", "0"], "time-limit 0 must be above 0"),
        (["--merge", "--output", "{tmp}/out"], "--merge needs the output folders of the shards"),
        (["--merge", "{media}"], "--merge needs --output DIR"),
        (["--merge", "{media}", "--output", "{tmp}/out", "--workers", "2"], "--workers means nothing to --merge"),
        (["--merge", "{media}", "--output", "{tmp}/out"], "media: holds no tagging job"),
        (["{model}", "{tmp}/hollow"], "no file that the model can read in .*/hollow"),
        (["{model}", "{tmp}/hollow", "--output", "{tmp}/out"], "no file that the model can read in .*/hollow"),
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
    assert re.search(f"error: .*{message.replace('{tmp}', str(tmp_path))}", said.err)
    assert (media / "a.flac").read_bytes() == before


def test_help_names_every_option_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    said = capsys.readouterr().out
    for word in ("--output", "--list", "--export", "--workers", "--shard", "--audit", "exit codes: 0 all good"):
        assert word in said


def test_quiet_leaves_events_and_failures(model_folder: Path, media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model_folder, media, "absent.wav", "--quiet") == 3
    said = capsys.readouterr()
    assert said.err.splitlines() == ["failed: absent.wav: does not exist"]
    assert said.out.count(" events in ") == 2


@pytest.mark.parametrize(
    "name",
    [
        b"two words.flac",
        b"two\nlines.flac",
        "\u00fcn\u00ef.flac".encode(),
        b"-dash.flac",
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
    assert run(model_folder, "--", text) == 0
    shown = capsys.readouterr().out.splitlines()[0].partition(" events in ")[2].partition(" (6.0 s;")[0]
    assert shown == "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def test_a_reader_that_leaves_stops_the_work(model_folder: Path, media: Path) -> None:
    done = command(model_folder, media, "--min-score", "0", redirect="| head -n 1")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert "rror" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_under_standard_output_is_told() -> None:
    done = command("--help", redirect="> /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written (No space left on device)\n"


def test_ctrl_c_ends_it_within_two_seconds_and_the_printed_command_goes_on(model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_audio(tmp_path / "long.flac", noise(60.0).repeat(4), RATE_HZ)
    (tmp_path / "media").mkdir()
    for name in range(300):
        (tmp_path / "media" / f"{name}.flac").symlink_to("../long.flac")
    (tmp_path / "media" / "0 broken.flac").touch()
    words = [sys.executable, "-m", "pipelines.tag", model_folder, tmp_path / "media", "--output", out]
    with subprocess.Popen(
        [str(word) for word in words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()  # the first file has failed
        time.sleep(0.3)
        asked = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it as well
        said, _ = process.stderr.read(), process.wait(20)
    assert process.returncode == 130
    assert time.monotonic() - asked < 2
    done = re.search(r"Interrupted after (\d+) files?; what is finished is kept. Go on with:\n  python (.*)\n$", said)
    assert done
    assert done[2] == shlex.join(str(word) for word in words[1:])
    assert not list(out.glob("*.parquet"))
    base = sqlite3.connect(out / "journal.sqlite")
    assert base.execute("SELECT count(*) FROM files WHERE status = 'done'").fetchone() == (int(done[1]),)
    base.close()


def test_without_a_folder_ctrl_c_ends_it_as_well(model_folder: Path, tmp_path: Path) -> None:
    write_audio(tmp_path / "long.flac", noise(60.0).repeat(20), RATE_HZ)
    words = [sys.executable, "-m", "pipelines.tag", model_folder, *[tmp_path / "long.flac"]]
    for name in range(200):
        (tmp_path / f"{name}.flac").symlink_to("long.flac")
        words.append(tmp_path / f"{name}.flac")
    with subprocess.Popen(
        [str(word) for word in words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - asked < 2
    assert said.splitlines()[-1].startswith("Interrupted after ")
