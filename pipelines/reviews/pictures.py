"""Pictures of a stretch for a page: a log-mel in colours, a film; a few kB each."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 70
COLOUR_MAP = "magma"


def picture_of(top: NDArray[np.generic]) -> bytes:
    """A WebP picture of a log-mel (rows, bands), or of a film (pictures, height, width, 3) side by side."""
    if top.ndim == 4:
        return _webp(np.concatenate(list(top), axis=1).astype(np.uint8))
    from matplotlib import colormaps  # takes a third of a second

    mel = np.asarray(top, dtype=np.float64)
    low, high = np.percentile(mel, [1, 99.7])
    shade = ((mel - low) / max(high - low, 1e-6)).clip(0, 1)
    colours = (colormaps[COLOUR_MAP](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return _webp(colours[(shade.T[::-1] * 255).round().astype(int)])


def _webp(pixels: NDArray[np.uint8]) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(written, format="WEBP", quality=QUALITY, method=4)
    return written.getvalue()
