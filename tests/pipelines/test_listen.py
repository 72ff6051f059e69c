"""The command that listens: a file, a pipe, a URL and a microphone give the events of `tag`, each as it ends."""

import functools
import http.server
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_line import noise
from torch import Tensor

from featurizers import write_audio
from pipelines.band import missing_band
from pipelines.listen import main
from pipelines.model import Model

RATE_HZ = 16_000
ROOT = Path(__file__).parents[2]
SECONDS = 6.0


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording.flac"
    write_audio(path, noise(SECONDS), RATE_HZ)
    return path


@pytest.fixture
def expected(model: Model, recording: Path) -> list[str]:
    """The lines that `tag` prints of the recording's events."""
    lines = str(model.tag(recording)).splitlines()[1:]
    assert len(lines) >= 3
    return sorted(line.strip() for line in lines)


def heard(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], str]:
    """Exit code, lines, and what was said beside them."""
    code = main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return code, shown.out.splitlines(), shown.err


def without_clock(lines: list[str]) -> list[str]:
    return sorted(re.sub(r"^\d\d:\d\d:\d\d ", "", line).strip() for line in lines)


def test_a_file_is_heard_as_it_is_tagged(
    model_folder: Path, recording: Path, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, said = heard(capsys, model_folder, recording)
    assert code == 0
    assert sorted(line.strip() for line in lines) == expected
    assert said.startswith(f"listening to {recording} at 16000 Hz; an event is named at most 1.4 s after it has ended;")
    assert f"{len(expected)} events in 6.0 s of sound" in said
    code, lines, said = heard(capsys, model_folder, recording, "--quiet", "--min-score", "0.99")
    assert (code, lines, said) == (0, [], "")


def test_json_lines_hold_one_event_each(
    model: Model, model_folder: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, _ = heard(capsys, model_folder, recording, "--jsonl")
    found = sorted((json.loads(line) for line in lines), key=lambda event: event["onset_seconds"])
    tagged = model.tag(recording)
    assert code == 0
    assert [[e["onset_seconds"], e["offset_seconds"], e["label"]] for e in found] == [list(e[:3]) for e in tagged]
    assert [e["score"] for e in found] == pytest.approx([e.score for e in tagged], rel=1e-4)
    assert {e["clock"] for e in found} == {None}  # a file tells no time of day


FORMATS = {
    "s16le": lambda x: (x * 32768).short().numpy().tobytes(),
    "s32le": lambda x: (x.double() * 2**31).int().numpy().tobytes(),
    "f32le": lambda x: x.numpy().tobytes(),
}


NAN = np.full(400, np.nan, np.float32).tobytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_pipe_of_raw_samples_is_heard(
    kind: str,
    model_folder: Path,
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for channels, options in ((1, ()), (2, ("--channels", 2, "--channel", 1))):
        sound = torch.stack([*[torch.zeros(round(SECONDS * RATE_HZ))] * (channels - 1), noise(SECONDS)], dim=1)
        data = FORMATS[kind](sound.flatten().contiguous())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(_Trickle(data)))
        code, lines, _ = heard(capsys, model_folder, "-", "--rate", RATE_HZ, "--format", kind, *options)
        assert code == 0
        assert without_clock(lines) == expected


def test_bytes_of_8_bits_are_scaled_and_half_a_sample_is_said(
    model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.live_sources import from_pipe

    (piece,) = from_pipe(io.BytesIO(bytes([0, 128, 192])), 8000, "u8", 1).pieces
    assert piece.tolist() == [[-1.0, 0.0, 0.5]]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(_Trickle(FORMATS["s16le"](noise(SECONDS)) + b"x")))
    code, lines, said = heard(capsys, model_folder, "-", "--rate", RATE_HZ)
    assert code == 1
    assert len(lines) >= 3  # what was heard before counts
    assert "error: the pipe ended within a sample: 1 bytes of 2 are left over; is it really s16le" in said


class _Trickle(io.RawIOBase):
    """Bytes that come a few at a time, often in the middle of a sample, as from a pipe."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        return self._data.readinto(memoryview(into)[:4001])

    def read1(self, size: int) -> bytes:
        return self._data.read(min(size, 601))


@pytest.fixture
def address(recording: Path) -> Iterator[str]:
    """Where the recording's folder can be read by HTTP."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Silent, directory=str(recording.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_url_is_heard(
    model_folder: Path, address: str, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, _ = heard(capsys, model_folder, address + "recording.flac")
    assert code == 0
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    assert without_clock(lines) == expected
    code, _, said = heard(capsys, model_folder, address + "missing.flac")
    assert code == 1
    assert re.search(r"error: http://\S+missing.flac cannot be opened: .*404", said)


class _SoundDevice(types.ModuleType):
    """What is used of the package sounddevice, with a microphone that hears these samples and is then unplugged."""

    class PortAudioError(Exception):
        pass

    def __init__(self, samples: Tensor) -> None:
        super().__init__("sounddevice")
        self.samples, self.options = samples.numpy(), dict[str, Any]()

    def query_devices(self, device: int | str | None, kind: str) -> dict[str, float]:
        assert kind == "input"
        if device == "none":
            raise ValueError("No input device matching 'none'")
        return {"default_samplerate": float(RATE_HZ)}

    def InputStream(self, **options: Any) -> Any:
        self.options = options
        return self

    def __enter__(self) -> None:
        def speak() -> None:
            status, size = types.SimpleNamespace(input_overflow=False), self.options["blocksize"]
            memory = np.zeros((size, 1), np.float32)  # is used again, as PortAudio does
            for first in range(0, len(self.samples), size):
                memory[:] = self.samples[first : first + size, None]
                self.options["callback"](memory, size, None, status)
            time.sleep(0.3)  # until the command has fetched it
            os.kill(os.getpid(), signal.SIGINT)

        threading.Timer(0.05, speak).start()

    def __exit__(self, *_: object) -> None:
        pass


def test_a_microphone_is_heard_until_somebody_interrupts(
    model: Model, model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = _SoundDevice(noise(4.0))
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    before, handler = time.time(), signal.getsignal(signal.SIGINT)
    code, lines, said = heard(capsys, model_folder, "--microphone", "3", "--jsonl")
    assert code == 130
    assert signal.getsignal(signal.SIGINT) == handler
    assert {device.options[key] for key in ("device", "samplerate", "channels")} == {3, RATE_HZ, 1}
    assert said.startswith("listening to the microphone at 16000 Hz")
    tagged = model.tag(noise(4.0), rate_hz=RATE_HZ)
    found = [json.loads(line) for line in lines]
    assert {(e["onset_seconds"], e["label"]) for e in found} == {(e.onset_seconds, e.label) for e in tagged}
    assert len(found) >= 2
    for event in found:
        begun = datetime.fromisoformat(event["clock"]).timestamp() - event["onset_seconds"]
        assert abs(begun - before) < 10
    code, _, said = heard(capsys, model_folder, "--microphone", "none")
    assert code == 2
    assert "error: --microphone none cannot be opened: No input device matching 'none'; python -m sounddevice" in said


def test_a_source_whose_rate_holds_less_than_the_model_hears_is_named(
    model: Model, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [missing_band(model, rate_hz) for rate_hz in (384_000, 8000, 7600)] == ["", "", ""]  # its bands end at 3800
    path = tmp_path / "low.flac"
    write_audio(path, noise(1.0), 5700)
    code, _, said = heard(capsys, model_folder, path, "--quiet")
    assert code == 0
    assert said == (
        f"warning: {path}: at 5700 Hz it holds nothing above 2850 Hz, and the model hears up to 3800 Hz: "
        "25% of its band stays empty; record at 7600 Hz or more\n"
    )


def test_without_sounddevice_its_installation_is_named(
    model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    code, _, said = heard(capsys, model_folder)
    assert code == 2
    assert "is not installed; run `pip install sounddevice`, or name a file, a URL, or - for a pipe" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-"], "raw samples do not say their rate; give --rate, such as --rate 16000"),
        (["a.wav", "--rate", "8000"], "--rate 8000 goes with - or a microphone; a.wav has a rate of its own"),
        (["a.wav", "--microphone", "2"], "--microphone 2 and a.wav: give one of them"),
        (["--channels", "0"], "--channels 0 must be at least 1"),
        (["a.wav", "--channels", "2"], "--channels 2 goes with - or a microphone; a.wav has its own"),
        (["a.wav", "--format", "u8"], "--format u8 goes with -, raw samples on standard input; leave it out"),
        (["--channel", "1"], "--channel 1 does not exist: channels count from 0, and --channels says how many"),
        (["a.wav", "--channel", "-1"], "--channel -1 does not exist: channels count from 0"),
        (["--rate", "0"], "--rate 0 must be from 100 to 10000000 samples per second"),
        (["--loud"], "unrecognized arguments: --loud; python -m pipelines.listen --help explains"),
        (["missing.wav"], "missing.wav does not exist"),
    ],
)
def test_what_cannot_be_meant_is_said(
    arguments: list[str], message: str, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, said = heard(capsys, model_folder, *arguments)
    assert code == (1 if message.startswith("missing") else 2)
    assert lines == []
    assert f"error: {message}" in said


def test_ctrl_c_prints_the_events_that_had_begun_and_ends_with_130(model_folder: Path, expected: list[str]) -> None:
    command = [sys.executable, "-m", "pipelines.listen", str(model_folder), "-", "--rate", str(RATE_HZ)]
    # Without a buffer: what readline takes too much of, communicate would not see.
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
    assert child.stdin is not None
    assert child.stdout is not None
    data = FORMATS["s16le"](noise(SECONDS))
    while data:
        data = data[child.stdin.write(data) :]
    first = child.stdout.readline()  # an event comes while the pipe stays open
    time.sleep(1.0)
    child.send_signal(signal.SIGINT)
    rest, said = child.communicate(timeout=20)
    assert child.returncode == 130
    assert without_clock((first + rest).decode().splitlines()) == expected
    assert f"{len(expected)} events in 6.0 s of sound".encode() in said
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("options", "data", "code", "message"),
    [
        ([], b"", 0, "0 events in 0.0 s of sound"),
        ([], None, 2, "error: - reads raw samples on standard input, which is closed; give it a pipe"),
        (["--format", "f32le"], NAN, 1, "error: the array holds [nan] at 0.000 s, which is no sound"),
    ],
)
def test_pipes_that_hold_no_sound_end_with_a_sentence(
    options: list[str],
    data: bytes | None,
    code: int,
    message: str,
    model_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", None if data is None else io.TextIOWrapper(_Trickle(data)))
    ended, lines, said = heard(capsys, model_folder, "-", "--rate", RATE_HZ, *options)
    assert (ended, lines) == (code, [])
    assert message in said
    assert "Traceback" not in said


def test_events_that_nobody_can_be_given_are_an_error(
    model_folder: Path, recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it after `>&-`
    assert main([str(model_folder), str(recording)]) == 1
    assert "error: standard output is closed; give it somewhere to go" in capsys.readouterr().err


def test_an_error_while_the_pipe_is_silent_ends_it_at_once(model_folder: Path) -> None:
    command = [sys.executable, "-m", "pipelines.listen", str(model_folder), "-", "--rate", "16000", "--format", "f32le"]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stderr is not None
    child.stdin.write(NAN)
    child.stdin.flush()
    with child.stderr:  # is read while the pipe stays open, and the thread that reads it waits
        said = child.stderr.read().decode()
    assert child.wait(timeout=20) == 1
    child.stdin.close()
    assert said.splitlines()[-1].startswith("error: the array holds [nan] at 0.000 s, which is no sound")


def test_a_reader_that_leaves_ends_it_in_peace(model_folder: Path, recording: Path) -> None:
    command = f"{sys.executable} -m pipelines.listen {model_folder} {recording} --quiet | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
