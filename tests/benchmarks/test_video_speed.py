"""What is timed is what is named: everything decoded, nothing, or what open frames need; mistakes end in one line."""

import math
from pathlib import Path

import pytest
import torch

from benchmarks.video_decoding import make_video
from benchmarks.video_material import still_camera
from benchmarks.video_speed import Figures, floor, main, measure, told, walk, with_backbone
from featurizers import Grid, PacketGlance, PictureConv, open_video
from pipelines.encoder import Encoder
from pipelines.heads import LevelDecay
from pipelines.line import Line
from surnn import Open, Stride

GRID = Grid(0.2)


@pytest.fixture(scope="module")
def line() -> Line:
    torch.manual_seed(0)
    glance, featurizer = PacketGlance(GRID), PictureConv(GRID, width=16, height=16, channels=(4, 4), size=8)
    return Line(
        grid=GRID,
        glance=glance,
        gate=torch.nn.Identity(),  # type: ignore[arg-type]  # every walk of this test brings its own
        featurizer=featurizer,
        encoder=Encoder(8, 8),
        head=LevelDecay(8, 2),
    ).eval()


def test_each_way_decodes_what_it_says(line: Line, tmp_path: Path) -> None:
    files = [make_video(tmp_path / "a.mp4", 64, 48, 20.0)]  # 25 pictures a second, 5 frames: 1 in 5 is wanted
    few, everything = Stride(line.glance.size, every=50), Open(line.glance.size)
    opened, skipped = walk(line, files, everything), walk(line, files, few)
    assert opened.frames_open == 1.0
    assert skipped.frames_open == pytest.approx(0.02)
    assert skipped.pictures_decoded < 0.3 < opened.pictures_decoded
    assert floor(line, files).pictures_decoded == 0.0
    dear = with_backbone(line, 32, 32)
    assert dear.encoder is not line.encoder
    assert walk(dear, files, few).pictures_decoded <= skipped.pictures_decoded  # it needs no context


def test_every_way_is_walked_as_often_as_said(line: Line, tmp_path: Path) -> None:
    files, calls = [make_video(tmp_path / "a.mp4", 64, 48, 2.0)], []
    found = measure({"one": lambda: (calls.append(1), floor(line, files))[1]}, 3)
    assert len(calls) == 3
    assert found["one"].seconds > 0


def test_a_still_camera_moves_only_where_its_event_is(tmp_path: Path) -> None:
    event = still_camera(tmp_path / "still.mp4", seconds=8.0, noise=0.5, rate_hz=12.5, form=(96, 64))
    with open_video(tmp_path / "still.mp4") as stream:
        stream.read_until(math.inf)
        seen = stream.packets(-math.inf, math.inf)
    assert len(seen.times) == 100
    assert seen.is_key.nonzero()[:, 0].tolist() == [0, 25, 50, 75]
    number = torch.arange(100)
    is_during = (number >= event.onset) & (number < event.offset)
    assert seen.sizes[is_during & ~seen.is_key].median() > 2 * seen.sizes[~is_during & ~seen.is_key].median()


def test_what_is_told_holds_times_and_shares_of_every_way() -> None:
    found = {
        "decode everything, do nothing": Figures(4.0, 1.0),
        "packets and glance (floor)": Figures(0.5),
        "own featurizer, switch": Figures(1.0, 0.2, 0.15, 0.1),
        "own featurizer, open": Figures(5.5, 1.0, 1.0, 1.0),
    }
    text = told(found)
    assert "5.5 times faster than everything open, 4.0 times faster than decoding alone, saved_share 1.00" in text
    assert "20.0%" in text
    assert "ResNet" not in text


def test_a_folder_that_is_no_model_ends_the_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    assert "no model folder" in capsys.readouterr().err
