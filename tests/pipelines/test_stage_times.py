"""Shares of time: the walk is the same one, and a slow stage is told."""

import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from featurizers import Grid, PacketGlance, Thumbnails, write_audio
from pipelines.encoder import Encoder
from pipelines.events import Recording
from pipelines.heads import LevelDecay
from pipelines.line import Line
from pipelines.model import Model, build_line
from pipelines.recipe import load_recipe
from pipelines.spans import SpanDecision
from pipelines.stage_times import (
    STAGES,
    Stopwatch,
    shares_sentence,
    stage_seconds,
    time_shares,
    timed_line,
    timed_stream,
)
from surnn import Open

RECIPE = """
task: pipelines.tasks.SoundEventDetection
corpus: pipelines.tasks.SoundEventDetection
glance: {class_path: featurizers.LogMel, init_args: {num_mels: 8}}
switch: surnn.Open
featurizer: featurizers.GlanceFrames
encoder: {hidden: 8}
head: pipelines.heads.LevelDecay
"""


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "small.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "small.yaml")
    torch.manual_seed(0)
    return Model(recipe, build_line(recipe, 1).eval(), ("a",), {"a": SpanDecision()})


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    noise = torch.randn(80_000, generator=torch.Generator().manual_seed(0)) * 0.1
    for name in "abc":
        write_audio(tmp_path / f"{name}.flac", noise.numpy(), 16_000)
    kinds = {"a": "busy", "b": "busy", "c": "quiet"}
    return [Recording(tmp_path / f"{name}.flac", (), kind=kind) for name, kind in kinds.items()]


def test_a_timed_line_says_what_the_line_says(model: Model, recordings: list[Recording]) -> None:
    line = model.line
    with line.open(recordings[0].source) as stream:
        track = line.follow(stream)
    watch = Stopwatch()
    with line.open(recordings[0].source) as stream:
        timed = timed_line(line, watch).follow(stream)
    assert torch.equal(timed.held.level, track.held.level)
    assert torch.equal(timed.is_open, track.is_open)
    assert set(watch.seconds) == {"glance", "switch", "featurizer", "recurrence", "head"}


def test_a_slow_stage_takes_its_share(
    model: Model, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage_seconds(model, recordings[0])  # loads what the next walk finds
    usual = stage_seconds(model, recordings[0])
    assert set(usual) == {*STAGES, "rest"}
    assert all(seconds >= 0 for seconds in usual.values())
    assert usual["decoding"] > 0
    forward = LevelDecay.forward

    def slow(self: LevelDecay, hidden: Tensor) -> tuple[Tensor, Tensor]:
        time.sleep(0.5)
        return forward(self, hidden)

    monkeypatch.setattr(LevelDecay, "forward", slow)
    spent = stage_seconds(model, recordings[0])
    assert max(spent, key=lambda name: spent[name]) == "head"
    assert spent["head"] >= 0.5


def test_pictures_are_decoded_as_decoding_wherever_they_are_asked_for(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "square.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(30):
            picture = np.full((64, 64, 3), 5 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    grid, watch = Grid(0.2), Stopwatch()
    glance, featurizer = PacketGlance(grid), Thumbnails(grid)
    line = Line(
        grid=grid, glance=glance, gate=Open(glance.size), featurizer=featurizer, encoder=Encoder(featurizer.size, 4),
        head=LevelDecay(4, 1),
    )  # fmt: skip
    with line.open(tmp_path / "square.mp4") as opened:
        track = line.follow(opened)
    with line.open(tmp_path / "square.mp4") as opened:
        timed = timed_line(line, watch).follow(timed_stream(opened, watch))
    assert torch.equal(timed.held.level, track.held.level)
    assert watch.seconds["decoding"] > 0
    assert set(watch.seconds) == {"decoding", "glance", "switch", "featurizer", "recurrence", "head"}


def test_shares_add_up_over_all_recordings_and_per_kind(model: Model, recordings: list[Recording]) -> None:
    shares = time_shares(model, recordings)
    for prefix in ("", "busy_", "quiet_"):
        own = [value for key, value in shares.items() if key.startswith(f"{prefix}time_share/")]
        assert len(own) == len(STAGES) + 1
        assert sum(own) == pytest.approx(1)
    assert shares_sentence(shares).startswith("Time goes to decoding ")
