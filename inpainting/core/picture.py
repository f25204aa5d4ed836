"""The canonical picture: the form in which images are stored, painted on and compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.metadata import NO_METADATA, Metadata

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Mask = NDArray[np.uint8]
"""Canonical mask: [height, width], 255 = repaint, 0 = keep, between = partial."""

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Pixels [height, width, channels] of 8 or 16 bits, read-only, upright; channels are L, LA, RGB or RGBA.

    metadata: of its file; encoders write what they are given of it, see `Metadata.kept`.
    Raises InvalidRequest for any other shape or type.
    """

    pixels: Pixels
    icc_profile: bytes | None = None
    metadata: Metadata = NO_METADATA

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] not in MODES:
            raise InvalidRequest(f"a picture is [height, width, 1-4 channels], got {self.pixels.shape}")
        if self.pixels.dtype not in (np.uint8, np.uint16):
            raise InvalidRequest(f"a picture has 8 or 16 bits a channel, got {self.pixels.dtype}")
        view = self.pixels.view()
        view.flags.writeable = False
        object.__setattr__(self, "pixels", view)

    @property
    def size(self) -> Size:
        height, width = self.pixels.shape[:2]
        return Size(width, height)

    @property
    def mode(self) -> str:
        return MODES[self.pixels.shape[2]]

    @property
    def bits(self) -> int:
        """Bits a channel: 8 or 16."""
        return 8 * self.pixels.dtype.itemsize

    @property
    def has_alpha(self) -> bool:
        return self.pixels.shape[2] in (2, 4)

    @property
    def colour(self) -> Pixels:
        """The channels without alpha: [height, width, 1 or 3]."""
        return self.pixels[:, :, :-1] if self.has_alpha else self.pixels

    @property
    def alpha(self) -> Pixels | None:
        """[height, width], or None where the picture has none."""
        return self.pixels[:, :, -1] if self.has_alpha else None

    def same_as(self, other: Picture) -> bool:
        """Equal pixels, depth and profile."""
        return (
            self.pixels.dtype == other.pixels.dtype
            and np.array_equal(self.pixels, other.pixels)
            and self.icc_profile == other.icc_profile
        )
