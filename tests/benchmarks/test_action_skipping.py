"""Rivals open what they say, the table's numbers are those of hand-worked walks, and what is done is not done again."""

import math
from pathlib import Path

import pytest
import torch

from benchmarks.action_skipping import DENSE, LEARNED, kept, main, rows_of
from benchmarks.paired import Draws
from benchmarks.video_decoding import make_video
from benchmarks.video_rivals import (
    DIFFERENCE,
    KEYS,
    RANDOM,
    STRIDE,
    ThresholdGate,
    Walked,
    floor_seconds,
    follow,
    rival,
    walked,
)
from featurizers import Grid, PacketGlance, PictureConv, open_video
from pipelines.encoder import Encoder
from pipelines.events import Event, Recording
from pipelines.heads import LevelDecay
from pipelines.line import Line
from pipelines.recipe import EvaluateOptions
from pipelines.tasks import ActionRecognition
from surnn import Stride

GRID = Grid(0.2)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = make_video(tmp_path_factory.mktemp("video") / "a.mp4", 64, 48, 20.0)  # a key frame every 2 s
    return Recording(path, (Event(4.0, 6.0, "wave"),), kind="long", split="test")


@pytest.fixture(scope="module")
def learned() -> Line:
    torch.manual_seed(0)
    glance, featurizer = PacketGlance(GRID), PictureConv(GRID, width=16, height=16, channels=(4, 4), size=8)
    gate = Stride(glance.size, every=5)
    line = Line(
        grid=GRID, glance=glance, gate=gate, featurizer=featurizer, encoder=Encoder(8, 8), head=LevelDecay(8, 1)
    )
    return line.eval()


def test_a_threshold_opens_what_is_above_it_and_its_neighbours() -> None:
    glance = torch.tensor([[[0.0, 9.0], [0.0, 9.0], [2.0, 9.0], [0.0, 9.0], [0.0, 9.0]]])
    assert ThresholdGate(2, column=0, threshold=1.0).switch(glance).frames.tolist() == [[0, 0, 1, 0, 0]]
    assert ThresholdGate(2, column=0, threshold=1.0, dilate_frames=1).switch(glance).frames.tolist() == [
        [0, 1, 1, 1, 0]
    ]
    among = torch.tensor([[False, True, False, True, True]])
    gate = ThresholdGate(2, column=0, threshold=1.0, dilate_frames=1)
    assert gate.switch(glance, among=among).frames.tolist() == [[0, 1, 0, 1, 0]]


def test_rivals_open_the_share_of_the_learned_switch_and_key_frames_where_they_are(
    learned: Line, recording: Recording
) -> None:
    tracks = {
        name: follow(rival(name, learned, [recording]), recording.source) for name in (STRIDE, RANDOM, DIFFERENCE, KEYS)
    }
    shares = {name: float(track.is_open.float().mean()) for name, track in tracks.items()}
    assert shares[STRIDE] == pytest.approx(0.2)
    assert shares[DIFFERENCE] == pytest.approx(0.2, abs=0.1)  # what is widened comes in threes
    assert 0.1 < shares[RANDOM] < 0.3
    with open_video(recording.source) as stream:
        stream.read_until(math.inf)
        packets = stream.packets(-math.inf, math.inf)
    keys = sorted({math.floor(time / 0.2 + 1e-6) for time in packets.times[packets.is_key].tolist()})
    assert tracks[KEYS].is_open.nonzero()[:, 0].tolist() == keys
    seen = tracks[DIFFERENCE].pictures
    assert seen.decoded > 0.7 * seen.read  # all but what no frame is nearest to and no other picture refers to


def test_a_walk_tells_shares_times_and_kinds(learned: Line, recording: Recording) -> None:
    found = walked(learned, [recording], [recording], ("wave",), ActionRecognition(), EvaluateOptions(), num_runs=2)
    assert found.keys() == {"", "long"}
    whole = found["long"]
    assert whole.encoded == pytest.approx(0.2)
    assert whole.decoded > 0.2
    assert whole.media_seconds == pytest.approx(20.0)
    assert whole.seconds > 0
    assert whole.average_precision.units == ("a.mp4",)
    assert 0 < floor_seconds(learned, [recording], num_runs=1)["long"] < whole.seconds


def test_the_table_holds_means_over_seeds_and_the_change_beside_the_dense_twin() -> None:
    def of(precision: float, seconds: float) -> dict[str, Walked]:
        draws = Draws(precision, (precision,) * 4, ("a", "b"))
        return {"": Walked(draws, 0.5, 6.0, 0.3, 0.2, 0.1, seconds, 100.0)}

    seeds = [{DENSE: of(0.4, 10.0), LEARNED: of(0.3, 2.0)}, {DENSE: of(0.6, 10.0), LEARNED: of(0.5, 3.0)}]
    dense, learned, floor = rows_of(seeds, [{"": 1.0}, {"": 1.0}], "")
    assert dense[:4] == [DENSE, "0.500", "", ""]
    assert learned == [LEARNED, "0.400", "-20%", "-20% to -20%", "50%", "6", "30.0%", "20.0%", "10.0%", "40", "4.00"]
    assert floor[-2:] == ["100", ""]


def test_what_was_kept_is_read_and_not_worked_out_again(tmp_path: Path) -> None:
    path, calls = tmp_path / "seed-0" / "one.json", []

    def work() -> dict[str, float]:
        calls.append(1)
        return {"value": math.pi}

    assert kept(path, work) == kept(path, work) == {"value": math.pi}
    assert len(calls) == 1


def test_a_recipe_that_is_not_there_ends_the_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--recipe", str(tmp_path / "none.yaml"), "--output", str(tmp_path / "o"), "--cache", str(tmp_path / "c")]
    assert main(given) != 0
    assert "none.yaml" in capsys.readouterr().err
