"""The canonical image: the form in which images are stored, painted on and compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size, row_strips
from inpainting.core.metadata import NO_METADATA, ImageMetadata

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Mask = NDArray[np.uint8]
"""Canonical mask: [height, width], 255 = repaint, 0 = keep, between = partial."""

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class Strips(Protocol):
    """What is compared strip by strip: an image, or a file that is decoded meanwhile."""

    @property
    def size(self) -> Size: ...
    @property
    def mode(self) -> str: ...
    @property
    def bits(self) -> int: ...
    def strips(self) -> Iterator[tuple[int, Pixels]]: ...


@dataclass(frozen=True, slots=True, eq=False)
class CanonicalImage:
    """Pixels [height, width, channels] of 8 or 16 bits, read-only, upright; channels are L, LA, RGB or RGBA.

    Raises InvalidRequest for any other shape or type.
    """

    pixels: Pixels
    icc_profile: bytes | None = None
    metadata: ImageMetadata = NO_METADATA  # of its file; encoders write what they are given of it, see `Metadata.kept`

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] not in MODES:
            raise InvalidRequest(f"an image is [height, width, 1-4 channels], got {self.pixels.shape}")
        if self.pixels.dtype not in (np.uint8, np.uint16):
            raise InvalidRequest(f"an image has 8 or 16 bits a channel, got {self.pixels.dtype}")
        view = self.pixels.view()
        view.flags.writeable = False
        object.__setattr__(self, "pixels", view)

    @classmethod
    def of_mask(cls, mask: Mask) -> CanonicalImage:
        """Return a mask as an image of mode L."""
        return cls(mask[:, :, np.newaxis])

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
        """The alpha channel [height, width], or None where the image has none."""
        return self.pixels[:, :, -1] if self.has_alpha else None

    @property
    def is_opaque(self) -> bool:
        """Whether no pixel is transparent, not even in part."""
        return self.alpha is None or bool(self.alpha.min() == np.iinfo(self.alpha.dtype).max)

    def rows(self, top: int, bottom: int) -> Pixels:
        """Return rows top to bottom of the pixels, read-only."""
        return self.pixels[top:bottom]

    def cropped(self, box: Box) -> CanonicalImage:
        """Return a part of the image, which shares its memory. `box` lies within the image."""
        return CanonicalImage(self.pixels[box.slices], self.icc_profile, self.metadata)

    def strips(self) -> Iterator[tuple[int, Pixels]]:
        """Return all rows in strips of about a megapixel, each with the number of its first row."""
        return ((top, self.rows(top, bottom)) for top, bottom in row_strips(self.size.height, self.size.width))

    def equals(self, other: CanonicalImage) -> bool:
        """Return whether both have equal pixels, depth and profile."""
        return (
            self.bits == other.bits
            and np.array_equal(self.pixels, other.pixels)
            and self.icc_profile == other.icc_profile
        )


class PatchedImage(CanonicalImage):
    """A source image with other pixels within a box. What they share is held once; `rows` copies a few rows."""

    __slots__ = ("box", "patch", "source")

    source: CanonicalImage
    box: Box
    # [height, width, channels] of the box, in the source's mode and depth. `pixels` is a copy of the whole image that
    # is made whenever it is read.
    patch: Pixels

    def __init__(self, source: CanonicalImage, box: Box, patch: Pixels) -> None:
        if patch.shape != source.pixels[box.slices].shape or patch.dtype != source.pixels.dtype:
            raise InvalidRequest(f"a patch of {box} of {source.mode} of {source.bits} bits, got {patch.shape}")
        for name, value in (("source", source), ("box", box), ("patch", patch)):
            object.__setattr__(self, name, value)
        for name in ("icc_profile", "metadata"):
            object.__setattr__(self, name, getattr(source, name))

    @property
    def pixels(self) -> Pixels:
        return self.rows(0, self.size.height)

    @property
    def size(self) -> Size:
        return self.source.size

    @property
    def mode(self) -> str:
        return self.source.mode

    @property
    def bits(self) -> int:
        return self.source.bits

    @property
    def has_alpha(self) -> bool:
        return self.source.has_alpha

    def rows(self, top: int, bottom: int) -> Pixels:
        rows = self.source.rows(top, bottom)
        first, last = max(top, self.box.top), min(bottom, self.box.bottom)
        if first < last:
            rows = rows.copy()
            part = self.patch[first - self.box.top : last - self.box.top]
            rows[first - top : last - top, self.box.left : self.box.right] = part
        view = rows.view()
        view.flags.writeable = False
        return view

    def cropped(self, box: Box) -> CanonicalImage:
        """Return a part of the image that holds the whole patch. Raises InvalidRequest for any other."""
        return PatchedImage(self.source.cropped(box), self.box.relative_to(box), self.patch)
