"""A job of many files and a file of many hours are what the benchmark says they are, and marked when it says so."""

import sys
import wave
from itertools import pairwise
from pathlib import Path

import pytest
from torch import Tensor

from benchmarks.archive_size import long_file, marked_job, tiny_files
from featurizers import open_audio, write_audio
from pipelines.errors import UserError
from pipelines.model import Model

RATE_HZ = 16_000


@pytest.fixture
def stream(noise: Tensor, tmp_path: Path) -> Path:
    write_audio(tmp_path / "stream.flac", noise.repeat(2)[: 3 * RATE_HZ], RATE_HZ)
    return tmp_path / "stream.flac"


def test_tiny_files_are_short_and_all_but_the_first_are_links(stream: Path, tmp_path: Path) -> None:
    tiny_files([stream], tmp_path / "tiny", number=1003, rate_hz=RATE_HZ)
    paths = sorted((tmp_path / "tiny").rglob("*.flac"))
    assert len(paths) == 1003
    assert [path.parent.name for path in paths[998:1002]] == ["000", "000", "001", "001"]
    assert len({path.stat().st_ino for path in paths}) == 360
    with open_audio(paths[1002], RATE_HZ) as audio:
        assert 0.2 <= audio.duration_seconds <= 1.0


def test_a_long_file_is_so_many_equal_hours(stream: Path, tmp_path: Path) -> None:
    path = long_file([stream], tmp_path / "2h.wav", hours=2, rate_hz=200)
    with wave.open(str(path)) as file:
        assert file.getnframes() == 2 * 3600 * 200
        hours = [file.readframes(3600 * 200) for _ in range(2)]
    assert hours[0] == hours[1] != bytes(2 * 3600 * 200)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_job_is_marked_after_its_first_file_and_then_evenly(model: Model, stream: Path, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    tiny_files([stream], tmp_path / "tiny", number=9, rate_hz=RATE_HZ)
    seen: list[int] = []
    marks = marked_job(
        tmp_path / "model", [tmp_path / "tiny"], every=3, report=lambda mark: seen.append(mark.num_files)
    )
    assert [mark.num_files for mark in marks] == seen == [1, 3, 6, 9]
    assert all(after.worker_seconds >= before.worker_seconds for before, after in pairwise(marks))
    assert all(0 < mark.worker_mib <= mark.worker_peak_mib for mark in marks)
    (tmp_path / "tiny" / "broken.flac").write_bytes(b"fLaC, or so it says")
    with pytest.raises(UserError, match="1 files could not be tagged"):
        marked_job(tmp_path / "model", [tmp_path / "tiny"], every=3, report=lambda _: None)
