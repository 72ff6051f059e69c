"""What is timed is what is named: every picture, none, or the share that is wanted."""

from pathlib import Path

import pytest
import torch

from benchmarks.video_decoding import SHARES, main, make_video, measure, spans_of


def test_spans_hold_the_share_that_is_wanted_and_do_not_overlap() -> None:
    times = torch.arange(1500, dtype=torch.float64) / 25
    for share in SHARES:
        joined = torch.cat(spans_of(times, share))
        assert len(joined) == pytest.approx(share * 1500, abs=1)
        assert (joined.diff() > 0).all()


def test_every_way_counts_the_pictures_that_it_decodes(tmp_path: Path) -> None:
    seconds, counts = measure(make_video(tmp_path / "a.mp4", 64, 48, 8.0), 1)
    assert seconds.keys() == counts.keys()
    assert counts["decode"] == counts["packets alone"] == counts["decode and thumbnail"] == 200
    assert counts["plan, 1% wanted"] < counts["plan, 50% wanted"] < 200


def test_a_file_that_is_no_video_ends_the_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "missing.mp4")]) == 1
    assert "does not exist" in capsys.readouterr().err
