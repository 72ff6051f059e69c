"""What is timed beside an archive job does the same work: tables, frames, files, all of the listener's audio."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from benchmarks import parallel
from benchmarks.archive import Stopwatch, WindowPerFrame, recall_figures, run_job, short_files, side_by_side
from benchmarks.listener import listener_speed
from benchmarks.parallel import Meeting, worker_seconds
from benchmarks.timing import DenseModel, line_with
from featurizers import Needs, Stretch, open_audio, write_audio
from pipelines.console import Progress
from pipelines.errors import UserError
from pipelines.events import Recording
from pipelines.model import Model, load


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def files(noise: Tensor, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "media" / f"{number}.flac" for number in range(3)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        write_audio(path, noise.roll(number * 4000), 16_000)
    return paths


def test_ways_take_turns_and_one_file_before_does_not_count() -> None:
    now, order = [0.0], list[tuple[str, int]]()

    def way(name: str, seconds: Sequence[float]) -> Callable[[Sequence[Path]], None]:
        left = iter(seconds)

        def run(paths: Sequence[Path]) -> None:
            order.append((name, len(paths)))
            now[0] += next(left)

        return run

    ways = {"a": way("a", [100, 1, 9, 2]), "b": way("b", [100, 4, 5, 30])}
    assert side_by_side(ways, [Path("x")] * 3, num_runs=3, clock=lambda: now[0]) == {"a": 2, "b": 5}
    assert order == [("a", 1), ("b", 1)] + [("a", 3), ("b", 3)] * 3


def test_a_file_that_fails_ends_the_benchmark(model: Model, tmp_path: Path) -> None:
    (tmp_path / "broken.flac").write_bytes(b"fLaC, or so it says")
    with pytest.raises(UserError, match="1 files could not be tagged"):
        run_job(model, [tmp_path / "broken.flac"], tmp_path)


def test_a_stopwatch_counts_tagging_alone(model: Model, files: list[Path]) -> None:
    ticks = iter([10.0, 13.0, 20.0, 24.0])
    watch = Stopwatch(model, lambda: next(ticks))
    for path in files[:2]:
        assert watch.tag(str(path)).events == model.tag(path).events
    assert watch.seconds == 7
    assert watch.fingerprint == model.fingerprint


class Windowed:
    """Twice the frame before, and the frame after, minus the frame itself; notes which frames it was asked for."""

    needs, size = Needs("glance", left_seconds=0.08, right_seconds=0.08), 64

    def __init__(self) -> None:
        self.frames: list[int] = []

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:
        for first in first_frame.tolist():
            self.frames += range(first, first + num_frames)
        before, here, after = (stretch.data[:, place : place + num_frames] for place in range(3))
        return 2 * before + after - here


def test_a_dense_tagger_computes_every_frame_once_from_its_own_window(model: Model, noise: Tensor) -> None:
    line = line_with(model.line, featurizer=Windowed())
    whole, windows = Windowed(), Windowed()
    expected = DenseModel(line_with(line, featurizer=whole)).follow(noise)
    found = DenseModel(line_with(line, featurizer=WindowPerFrame(line_with(line, featurizer=windows)))).follow(noise)
    assert windows.frames == list(range(len(expected.index)))
    assert len(windows.frames) > 64  # more than are computed at once
    torch.testing.assert_close(found.level, expected.level, atol=1e-5, rtol=1e-5)  # float32 rounding
    torch.testing.assert_close(found.decay, expected.decay, atol=1e-5, rtol=1e-5)


def test_recall_of_everything_open_is_whole_where_the_truth_is_what_it_finds(model: Model, files: list[Path]) -> None:
    recordings = [Recording(path, model.tag(path, gate="open").events) for path in files]
    figures = recall_figures(model, recordings, Progress(quiet=True))
    assert figures["num_words"] == sum(len(recording.events) for recording in recordings) > 0
    assert figures["recall"]["open"] == 1
    assert figures["change"].estimate == pytest.approx(figures["recall"]["learned"] - 1)
    assert figures["hours"] == pytest.approx(3 * 9.3 / 3600)


def test_short_files_are_cut_without_overlap_and_then_repeated(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cut").mkdir()
    paths = short_files(files[:1], tmp_path / "cut", number=7, seconds=2, rate_hz=16_000)
    assert len(set(paths)) == 7
    samples = []
    for path in paths:
        with open_audio(path, 16_000) as audio:
            samples.append(torch.cat(list(audio.blocks(16_000))))
    with open_audio(files[0], 16_000) as audio:
        whole = torch.cat(list(audio.blocks(16_000)))
    assert torch.equal(torch.cat(samples[:4]), whole[: 4 * 32_000])  # 9.3 s hold four of 2 s
    assert all(map(torch.equal, samples[4:], samples[:3]))
    with pytest.raises(UserError, match="as long as 20 s"):
        short_files(files[:1], tmp_path / "cut", number=1, seconds=20, rate_hz=16_000)


@pytest.mark.skipif(not parallel.processors(), reason="processors cannot be chosen here")
def test_a_timed_job_leaves_the_same_tables_in_a_worker_and_in_one_process(
    folder: Path, files: list[Path], tmp_path: Path
) -> None:
    for name in ("meeting", "here"):
        (tmp_path / name).mkdir()
    meeting = Meeting(tmp_path / "meeting", tuple(parallel.processors()[:1]))
    assert 0 < worker_seconds(folder, files, meeting, tmp_path / "there") < 60
    run_job(load(folder), files, tmp_path / "here")
    events = [(tmp_path / name / "events.parquet").read_bytes() for name in ("there", "here")]
    assert pq.read_table(tmp_path / "here" / "events.parquet").num_rows > 3  # type: ignore[no-untyped-call]
    assert events[0] == events[1]
    tables = [pq.read_table(tmp_path / name / "files.parquet") for name in ("there", "here")]  # type: ignore[no-untyped-call]
    assert tables[0].drop_columns(["work_seconds"]).equals(tables[1].drop_columns(["work_seconds"]))


def test_plain_decoders_share_the_files(
    folder: Path, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting, read = Meeting(tmp_path / "meeting", (5, 8)), list[Path]()
    meeting.folder.mkdir()
    monkeypatch.setattr(parallel, "pin", lambda _: None)
    monkeypatch.setattr(parallel, "decode", lambda path, _: read.append(path))
    with ThreadPoolExecutor(2) as threads:
        ends = [threads.submit(parallel.decode_share, folder, files, meeting) for _ in range(2)]
        assert all(end.result() >= meeting.begun_seconds for end in ends)
    assert sorted(read) == files


def test_processes_meet_on_processors_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[list[int]] = []
    monkeypatch.setattr(parallel, "pin", pinned.append)
    meeting = Meeting(tmp_path, (5, 8))
    assert meeting.join() == 0
    early = threading.Thread(target=meeting.wait)
    early.start()
    early.join(0.1)
    assert early.is_alive()
    first = meeting.begun_seconds
    assert meeting.join() == 1
    early.join(5)
    assert not early.is_alive()
    assert meeting.begun_seconds > first
    assert pinned[:2] == [[5], [8]]
    with pytest.raises(UserError, match="was replaced"):
        meeting.join()


def test_the_listener_answers_every_80_ms_from_its_first_two_seconds(
    noise: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    wakeword = pytest.importorskip("livekit.wakeword")
    chunks: list[int] = []
    scores: list[float] = []
    inner = wakeword.WakeWordModel.predict

    def predict(self: Any, chunk: Any) -> dict[str, float]:
        chunks.append(len(chunk))
        answer: dict[str, float] = inner(self, chunk)
        scores.extend(answer.values())
        return answer

    monkeypatch.setattr(wakeword.WakeWordModel, "predict", predict)
    ticks = iter([1.0, 3.0])
    speed = listener_speed(noise[: 3 * 16_000], 2, lambda: next(ticks))
    assert chunks == [32_000] * 13  # 37 whole frames, the first 24 of which fill the buffer
    assert len(scores) == 26
    assert max(scores) < 0.5  # a detection would pause the listener
    assert speed == pytest.approx(13 * 0.08 / 2)
