"""Decoded pictures as small arrays: scaled once, turned as they are to be shown, in full range.

Averaging over areas (libswscale's `area`) does not alias, and is faster than its bilinear filter (benchmarks/
video_decoding.py has the figures). Gray is the luma alone, chroma is never touched. Values are 0 (black) to 255
(white): luma of limited range (16 to 235), as most video has it, is stretched, so that a scene looks alike in either.
"""

import struct
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from featurizers.grid import PictureFormat

LONGEST_SIDE = 16_384
UNSPECIFIED_COLORSPACE = 2  # AVCOL_SPC_UNSPECIFIED


class Turn(NamedTuple):
    """How a coded picture is shown: rows and columns exchanged first, then mirrored left to right or top to bottom."""

    is_transposed: bool = False
    mirror_columns: bool = False
    mirror_rows: bool = False

    @property
    def degrees_clockwise(self) -> int:
        """0, 90, 180 or 270; of a mirrored picture, what is left when columns are mirrored back."""
        if self.is_transposed:
            return 90 if self.mirror_columns or not self.mirror_rows else 270
        return 180 if self.mirror_rows else 0


def turn_of(frame: Any) -> Turn:
    """From a frame's display matrix, to the nearest quarter. Source: ISO/IEC 14496-12, 6.2.2 and 8.3.2."""
    matrix = frame.side_data.get("DISPLAYMATRIX") if len(frame.side_data) else None
    if matrix is None:
        return Turn()
    a, b, _, c, d = struct.unpack("<5i", bytes(matrix)[:20])  # x' = a x + c y, y' = b x + d y
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(True, mirror_columns=c < 0, mirror_rows=b < 0)
    return Turn(False, mirror_columns=a < 0, mirror_rows=d < 0)


class PictureScaler:
    """Frames of any size and pixel format to one PictureFormat."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def scale(self, frame: Any, picture: PictureFormat, turn: Turn) -> NDArray[np.uint8]:
        """(height, width, 1 or 3) uint8."""
        width, height = picture.width, picture.height
        if turn.is_transposed:
            width, height = height, width
        kind = "gray" if picture.colour == "gray" else "rgb24"
        try:
            scaled = self._reformat(frame, width, height, kind)
        except av.FFmpegError:  # a colour matrix that libswscale does not know: its usual one, BT.601, has to do
            frame.colorspace = UNSPECIFIED_COLORSPACE
            scaled = self._reformat(frame, width, height, kind)
        plane = scaled.planes[0]
        channels = 1 if kind == "gray" else 3
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, : width * channels]
        pixels: NDArray[np.uint8] = rows.reshape(height, width, channels)
        if turn.is_transposed:
            pixels = pixels.swapaxes(0, 1)
        if turn.mirror_columns:
            pixels = pixels[:, ::-1]
        if turn.mirror_rows:
            pixels = pixels[::-1]
        return pixels.copy()

    def _reformat(self, frame: Any, width: int, height: int, kind: str) -> Any:
        return self._reformatter.reformat(
            frame, width, height, kind, interpolation=Interpolation.AREA, dst_color_range="JPEG", threads=1
        )


def check_picture(picture: PictureFormat) -> None:
    """Raises ValueError for a size or colour that cannot be made."""
    sides_fit = all(1 <= side <= LONGEST_SIDE for side in (picture.width, picture.height))
    if not sides_fit or picture.colour not in ("rgb", "gray"):
        raise ValueError(f"{picture} must have sides of 1 to {LONGEST_SIDE} pixels, and colour 'rgb' or 'gray'")
