"""Files and events come from the index as they stand there; shares are those of hand-worked frames."""

import math
from pathlib import Path

import pytest
import torch

from benchmarks.video_decoding import make_video
from benchmarks.video_glance import bytes_per_second, main, open_in, read_index
from featurizers import Grid, open_video
from pipelines.errors import UserError
from pipelines.heads import Held
from pipelines.line import Track


def test_an_index_gives_each_file_once_with_all_its_events(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("file,label,onset,offset\na.mp4,car,1.5,2\nb.mp4,,,\na.mp4,car,4,5\n")
    first, second = read_index(tmp_path)
    assert first == (tmp_path / "a.mp4", [("car", 1.5, 2.0), ("car", 4.0, 5.0)])
    assert second == (tmp_path / "b.mp4", [])
    with pytest.raises(UserError, match=r"index.csv is missing"):
        read_index(tmp_path / "elsewhere")


def test_shares_within_events_count_every_frame_that_they_touch() -> None:
    is_open = torch.tensor([False, False, True, True, False])
    none = torch.zeros(0, 1)
    track = Track(Held(none, none, torch.zeros(0, dtype=torch.int64)), is_open, None, Grid(0.5), 0, 2.5)
    assert open_in(track, 1.0, 2.0) == 1.0
    assert open_in(track, 0.6, 1.1) == 0.5
    assert open_in(track, 0.1, 0.1) == 0.0


def test_bytes_of_all_seconds_are_those_of_all_pictures_but_key_frames(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", 64, 48, 3.0)
    with open_video(path) as stream:
        stream.read_until(math.inf)
        packets = stream.packets(-math.inf, math.inf)
    found = bytes_per_second(path)
    assert len(found) == 3
    assert int(found.sum()) == int(packets.sizes[~packets.is_key].sum())


def test_a_folder_that_is_no_model_ends_the_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), str(tmp_path)]) == 1
    assert "no model folder" in capsys.readouterr().err
