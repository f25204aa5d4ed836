"""The largest image that is accepted."""

from __future__ import annotations

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 8000, 5000


def large_gif() -> Image.Image:
    """40 megapixels, of which a GIF takes a few kilobytes."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[::100], pixels[:, : WIDTH // 3] = 1, 2
    image = Image.fromarray(pixels)
    image.putpalette([90, 90, 90, 20, 20, 20, 200, 100, 50])
    return image
