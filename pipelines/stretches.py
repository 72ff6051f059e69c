"""A short part of a recording, to look at and to listen to: samples, pictures, a clip for a page."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from featurizers import PictureFormat, VideoStream, open_audio, open_video, write_audio

from .line import Line

FILM_PICTURES = 10
FILM_HEIGHT = 120
CLIP_PICTURES_PER_SECOND = 8.0


def read_stretch(source: Path, rate_hz: float, begin_seconds: float, end_seconds: float) -> Tensor:
    """Samples of a short part of a recording, on the media clock."""
    with open_audio(source, int(rate_hz)) as stream:
        pieces, at = [], stream.start_seconds
        for block in stream.blocks(int(rate_hz)):
            first = max(0, round((begin_seconds - at) * rate_hz))
            last = min(block.numel(), round((end_seconds - at) * rate_hz))
            if first < last:
                pieces.append(block[first:last])
            at += block.numel() / rate_hz
            if at >= end_seconds:
                break
    return torch.cat(pieces) if pieces else torch.zeros(1)


def read_pictures(source: Path, times: Tensor, height: int = FILM_HEIGHT) -> NDArray[np.uint8]:
    """The pictures (N, height, width, 3) nearest to (N,) ascending seconds of media time, in the video's own shape."""
    with open_video(source) as stream:
        stream.read_until(float(times[0]))
        stream.forget(float(times[0]))
        stream.read_until(float(times[-1]) + 1.0)
        return stream.pictures(times, _small(stream, height)).data.permute(0, 2, 3, 1).numpy()


def _small(stream: VideoStream, height: int) -> PictureFormat:
    width = round(stream.width / stream.height * height)
    return PictureFormat(min(max(width, height // 4), 4 * height), height)


def view_of(line: Line, source: Path, begin_seconds: float, end_seconds: float) -> tuple[NDArray[np.generic], float]:
    """What stands on top of a picture of a stretch, and the seconds from one row of it to the next.

    Of sound the log-mel (rows, bands), or the glance where it has none; of video (pictures, height, width, 3) a film.
    """
    seconds = end_seconds - begin_seconds
    if line.is_video:
        hop = seconds / FILM_PICTURES
        times = begin_seconds + (torch.arange(FILM_PICTURES).double() + 0.5) * hop
        return read_pictures(source, times), hop
    rows = line.glance_of(read_stretch(source, line.rate_hz, begin_seconds, end_seconds))
    mel = line.glance.mel_rows(rows) if hasattr(line.glance, "mel_rows") else rows
    return mel.numpy(), seconds / len(mel)


def write_clip(stem: Path, line: Line, source: Path, begin_seconds: float, end_seconds: float) -> Path:
    """A clip of the stretch that browsers play: a FLAC file of sound, an animated WebP file of video."""
    if not line.is_video:
        samples = read_stretch(source, line.rate_hz, begin_seconds, end_seconds)
        path = stem.with_suffix(".flac")
        write_audio(path, samples.clamp(-1, 1), line.rate_hz)  # resampling overshoots where the source is loud
        return path
    times = torch.arange(begin_seconds, end_seconds, 1 / CLIP_PICTURES_PER_SECOND, dtype=torch.float64)
    first, *others = [Image.fromarray(picture) for picture in read_pictures(source, times)]
    path = stem.with_suffix(".webp")
    first.save(
        path, save_all=True, append_images=others, duration=round(1000 / CLIP_PICTURES_PER_SECOND), loop=0, quality=50
    )
    return path
