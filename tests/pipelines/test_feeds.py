"""A video through the line: any block length gives the same frames, and closed pictures are never decoded."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featurizers import (
    Damage,
    Featurizer,
    GlanceFrames,
    Grid,
    LogMel,
    Needs,
    PacketGlance,
    PictureChange,
    PictureConv,
    PictureFormat,
    Stretch,
    Thumbnails,
    open_video,
)
from pipelines import line as line_module
from pipelines.encoder import Encoder
from pipelines.errors import UsageError, UserError
from pipelines.evaluate import track_of_frames
from pipelines.feeds import VideoFeed
from pipelines.heads import LevelDecay
from pipelines.line import Line, Track
from pipelines.results import Events
from pipelines.stretches import view_of, write_clip
from surnn import EventGate, Gate, Open, Stride

GRID = Grid(0.2)
RATE_HZ = 10
NUM_PICTURES = 205  # 20.5 s: the last frame is half a frame


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A square that moves in every third second before a still slope; a key frame every second, a late start."""
    path = tmp_path_factory.mktemp("video") / "square.mkv"
    options = {"g": str(RATE_HZ), "keyint_min": str(RATE_HZ), "sc_threshold": "0", "bf": "2"}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE_HZ, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = 64, 48, "yuv420p", 1
        stream.codec_context.time_base = Fraction(1, 1000)
        left = 0
        for number in range(NUM_PICTURES):
            left += 3 * (number // RATE_HZ % 3 == 0)
            picture = np.repeat(np.linspace(20, 120, 64)[None, :, None], 48, axis=0).repeat(3, axis=2).astype(np.uint8)
            picture[16:28, left % 52 : left % 52 + 12] = 220
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base, frame.pts = Fraction(1, 1000), 2000 + 100 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class Clips(nn.Module):
    """The mean picture of windows of four frames: nothing in between can be cut."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.size = 4 * 12
        self.needs = Needs("pictures", 1 / grid.hop_seconds, block_frames=4, picture=PictureFormat(8, 6, "gray"))

    def evaluate(self, stretch: Stretch, first_frame: Tensor, num_frames: int) -> Tensor:  # noqa: ARG002
        windows = stretch.data.float().unflatten(1, (-1, 4)).mean(2).flatten(2) / 255
        return windows.repeat_interleave(4, dim=1)


GLANCES = {"packets": PacketGlance, "pictures": PictureChange}
FEATURIZERS = {"thumbnails": Thumbnails, "trained": PictureConv, "windows": Clips, "glance": GlanceFrames}


def make_line(glance: str, featurizer: str, gate: str = "learned") -> Line:
    torch.manual_seed(0)
    look = GLANCES[glance](GRID)
    read: Featurizer = FEATURIZERS[featurizer](GRID, **({"glance_size": look.size} if featurizer == "glance" else {}))
    size = look.size
    switch = EventGate(size, frame_budget=0.3, channels=8, dilations=[1, 2]) if gate == "learned" else Open(size)
    return Line(
        grid=GRID,
        glance=look,
        gate=switch,
        featurizer=read,
        encoder=Encoder(read.size, 8),
        head=LevelDecay(8, 2),
    ).eval()


def follow(line: Line, path: Path, gate: Gate | None = None) -> Track:
    with line.open(path) as stream:
        return line.follow(stream, gate=gate)


def shifted(line: Line, path: Path, share: float) -> Line:
    """The threshold set where about this share of the frames is open, far from any logit."""
    logits = follow(line, path).switch_logits
    assert logits is not None
    assert isinstance(line.gate, EventGate)
    ordered = logits.sort(descending=True).values
    near = ordered[int(0.7 * share * len(ordered)) : int(1.4 * share * len(ordered))]
    place = int((near[:-1] - near[1:]).argmax())
    line.gate.threshold_shift = float(near[place] + near[place + 1]) / 2
    return line


@pytest.mark.parametrize("glance", GLANCES)
@pytest.mark.parametrize("featurizer", FEATURIZERS)
@pytest.mark.parametrize("block_frames", [8, 40])
def test_blocks_change_nothing(
    video: Path, glance: str, featurizer: str, block_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = follow(shifted(make_line(glance, featurizer), video, 0.3), video)
    monkeypatch.setattr(line_module, "VIDEO_FRAMES", block_frames)
    cut = follow(shifted(make_line(glance, featurizer), video, 0.3), video)
    assert whole.is_open.numel() == 103
    assert 0.1 < float(whole.is_open.float().mean()) < 0.6
    assert torch.equal(cut.is_open, whole.is_open)
    assert (cut.seconds, cut.grid) == (whole.seconds, whole.grid)
    assert whole.grid.origin_seconds == pytest.approx(2.0)
    torch.testing.assert_close(cut.held.level, whole.held.level, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cut.held.decay, whole.held.decay, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("featurizer", FEATURIZERS)
def test_cached_material_gives_what_the_walk_gives(video: Path, featurizer: str) -> None:
    line = shifted(make_line("packets", featurizer), video, 0.3)
    walked = follow(line, video)
    with line.open(video) as stream:
        glance, features = line.all_frames(stream)
    cached = track_of_frames(line, glance, features, walked.grid, line.gate)
    assert torch.equal(cached.is_open, walked.is_open)
    torch.testing.assert_close(cached.held.level, walked.held.level, rtol=1e-4, atol=1e-5)


def test_no_picture_is_decoded_for_closed_frames(video: Path) -> None:
    line = make_line("packets", "thumbnails")
    track = follow(line, video, Stride(line.glance.size, every=50))
    assert track.pictures.read == NUM_PICTURES
    assert track.is_open.nonzero()[:, 0].tolist() == [0, 50, 100]
    assert 3 <= track.pictures.decoded <= 3 * 10  # at most a group of pictures for each
    with line.open(video) as stream:
        assert line.glance_only(stream) == 103
        assert stream.pictures_decoded == 0
    opened = make_line("packets", "thumbnails", "open")
    assert follow(opened, video).pictures.decoded > NUM_PICTURES // 2  # one of two pictures is read


def test_a_glance_at_pictures_decodes_all_and_says_so(video: Path) -> None:
    line = make_line("pictures", "glance")
    assert follow(line, video, Stride(line.glance.size, every=50)).pictures.decoded > NUM_PICTURES // 2


def test_memory_is_bounded_by_blocks(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "VIDEO_FRAMES", 8)
    line = make_line("packets", "thumbnails")
    held = []
    with open_video(video) as stream:
        feed = VideoFeed(stream, line.glance, GRID, 8)
        for block in feed.blocks(0, 2):
            held.append(block.glance.untyped_storage().nbytes() // 4 // line.glance.size)
            begin = stream.start_seconds + GRID.onset_seconds(block.first_frame) - line.glance.needs.left_seconds
            assert len(stream.packets(0.0, begin - 3.0).times) == 0  # forgotten, but for a group of pictures
    assert max(held) <= 8 + 8 + 2


def test_pictures_decoded_progress_and_errors_of_use(video: Path, tmp_path: Path) -> None:
    line = make_line("packets", "thumbnails")
    seen: list[float] = []
    with line.open(video) as stream:
        track = line.follow(stream, progress=seen.append)
    assert seen[-1] == track.seconds == pytest.approx(20.5, abs=0.11)
    with pytest.raises(UserError, match="reads video files; give the path"):
        line.open(np.zeros(100, np.float32), rate_hz=16_000)
    with pytest.raises(UserError, match="channel=1: this model reads pictures"):
        line.open(video, channel=1)
    with pytest.raises(UsageError, match="one medium per model"):
        Line(
            grid=GRID,
            glance=LogMel(GRID),
            gate=Open(1),
            featurizer=Thumbnails(GRID),
            encoder=Encoder(1, 4),
            head=LevelDecay(4, 1),
        )
    assert not list(tmp_path.iterdir())


def test_a_stretch_of_video_is_a_film_and_a_moving_picture(video: Path, tmp_path: Path) -> None:
    from PIL import Image

    line = make_line("packets", "thumbnails")
    film, hop_seconds = view_of(line, video, 5.0, 9.0)
    assert film.shape == (10, 120, 160, 3)
    assert hop_seconds == pytest.approx(0.4)
    clip = write_clip(tmp_path / "clip", line, video, 5.0, 9.0)
    with Image.open(clip) as moving:
        assert moving.n_frames > 3  # pictures that are alike are stored once


def test_a_video_that_is_cut_off_says_what_is_missing(video: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    line = make_line("packets", "thumbnails")
    track = follow(line, cut, Open(line.glance.size))
    whole = follow(line, video, Open(line.glance.size))
    assert whole.damage == ()
    assert 0 < track.seconds < whole.seconds
    assert track.damage
    assert max(d.offset_seconds for d in track.damage) >= 2.0 + track.seconds - 0.2
    events = Events((), str(cut), track.seconds, 1.0, 1.0, damage=track.damage)
    assert f"damaged: {track.damage[0].onset_seconds:.2f} to " in str(events)
    assert "damaged" not in str(Events((), str(video), whole.seconds, 1.0, 1.0))
    many = Events((), "many", 9.0, 1.0, 1.0, damage=tuple(Damage(float(i), i + 0.5, "broken\nhere") for i in range(5)))
    assert many.damage_text.count(" to ") == 3
    assert many.damage_text.endswith("; 2 more places")
    assert "\n" not in many.damage_text
