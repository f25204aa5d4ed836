"""The window: cut out of the picture for an engine, and its painting put back so that no seam shows.

Colour match and gradient-domain blend are each kept only where they lower the seam score. Whatever an engine paints,
pixels outside the mask are those of the picture, bit for bit: no other pixel is ever written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.geometry import Box, Size, Window
from inpainting.core.masks import bounds, feather, luminance, scaled
from inpainting.core.membrane import Membrane, strips
from inpainting.core.picture import Mask, Picture, Pixels
from inpainting.core.seams import Seam, levels
from inpainting.core.tones import Tone, tone_between

RING = 12
"""Kept pixels within so many of the mask say what an engine's colours should have been there."""

LEAST_GAIN = 0.05
"""A correction is kept when the seam score falls by more than this: less is rounding."""

HALF_A_LEVEL = 0.5
"""Of 255. What differs by no more is the picture itself, as an engine of 8 bits can give it back."""


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """A picture with a painting in it.

    seam_score, seam_score_plain: as `seams.seam_score` defines it, with the corrections that were kept and without
    any, before feathering and grey mask values soften the edge. The first is never the higher one.
    """

    picture: Picture
    seam_score: float
    seam_score_plain: float
    colour_matched: bool
    seam_blended: bool


def cut(image: Picture, mask: Mask, window: Window) -> tuple[Picture, Mask]:
    """What an engine gets to see: the window in 8-bit RGB and its part of the mask, both of the window's work size."""
    return cut_picture(image, window), scaled(mask[window.box.slices], window.work)


def cut_picture(image: Picture, window: Window) -> Picture:
    """The window in 8-bit RGB, of the window's work size."""
    return Picture(resized(to_rgb8(Picture(image.pixels[window.box.slices])), window.work))


def composite(image: Picture, mask: Mask, window: Window, painting: NDArray[np.uint8], *, blur: int) -> Composite:
    """Put an engine's painting ([height, width, 3] of the window's work size) into the image where the mask says so.

    blur: width in pixels of the ramp that fades it in, inward from the mask's edge. The result has the image's size,
    mode, depth and profile, and its pixels wherever the mask is 0. Alpha inside the mask continues the kept alpha
    around it, and is opaque where nothing is kept.
    Raises EngineFailed for a painting of another shape, InvalidRequest for a mask that leaves the window.
    """
    if painting.dtype != np.uint8 or painting.shape != (window.work.height, window.work.width, 3):
        raise EngineFailed(f"asked for 8-bit RGB of {window.work}, the engine gave {painting.shape} {painting.dtype}")
    marked = bounds(mask)
    if marked is None:
        return Composite(image, 0.0, 0.0, colour_matched=False, seam_blended=False)
    if not window.box.contains(marked):
        raise InvalidRequest(f"the mask's {marked} leaves the {window.box} that was painted", field="mask")

    box = marked.expanded(RING).clipped(window.box)
    patch = _Patch.of(image, mask, box, resized(painting, window.box.size)[box.seen_from(window.box).slices])
    seam = Seam.around(patch.colour, patch.inside, patch.known, (box.left, box.top))
    at_seam = levels(patch.painted[seam.rows, seam.columns])
    plain = best = seam.score(at_seam)

    tone = patch.tone()
    if tone is not None:
        matched = seam.score(tone(at_seam))
        if matched < best - LEAST_GAIN:
            best, at_seam = matched, tone(at_seam)
        else:
            tone = None

    membrane = patch.membrane(tone)
    if membrane is not None:
        blended = seam.score(at_seam + membrane.at(seam.rows, seam.columns))
        if blended < best - LEAST_GAIN:
            best = blended
        else:
            membrane = None

    pixels = image.pixels.copy()
    patch.paint(pixels[box.slices], tone, membrane, _weights(mask, box, blur))
    return Composite(
        Picture(pixels, image.icc_profile),
        seam_score=best,
        seam_score_plain=plain,
        colour_matched=tone is not None,
        seam_blended=membrane is not None,
    )


def outside_mask_changed_pixels(canonical: Picture, result: Picture, mask: Mask) -> int:
    """How many pixels differ in any channel where the mask is 0: the promise is none.

    Raises InvalidRequest for pictures of different size, mode or depth, or a mask of another size.
    """
    for name in ("size", "mode", "bits"):
        was, now = getattr(canonical, name), getattr(result, name)
        if was != now:
            raise InvalidRequest(f"the picture's {name} is {was}, the result's {now}: they cannot be compared")
    if mask.shape != canonical.pixels.shape[:2]:
        height, width = mask.shape
        raise InvalidRequest(
            f"mask is {width}x{height}, image is {canonical.size}", code="mask_size_mismatch", field="mask"
        )
    changed = 0
    for top, bottom in strips(*mask.shape):
        channels = np.moveaxis(canonical.pixels[top:bottom] != result.pixels[top:bottom], 2, 0)
        # Twice as fast as any() along an axis of three.
        differs = reduce(np.logical_or, channels)
        changed += int(np.count_nonzero(differs & (mask[top:bottom] == 0)))
    return changed


def resized(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Pixels [height, width, 3] at another size: averaged over areas on the way down, Lanczos on the way up."""
    height, width = pixels.shape[:2]
    less = Size(min(width, size.width), min(height, size.height))
    if less != Size(width, height):
        pixels = cv2.resize(pixels, (less.width, less.height), interpolation=cv2.INTER_AREA)
    if less != size:
        pixels = cv2.resize(pixels, (size.width, size.height), interpolation=cv2.INTER_LANCZOS4)
    return pixels


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    """The mask's bounds and a ring around them; all arrays are [height, width, ...] of that box, none is written.

    inside: to be painted, wholly or partly. known: kept, and with a colour that can be seen. painted: what the engine
    made of it, in the image's channels, 8 bits.
    """

    colour: Pixels
    alpha: Pixels | None
    mask: Mask
    inside: NDArray[np.bool_]
    known: NDArray[np.bool_]
    painted: NDArray[np.uint8]

    @classmethod
    def of(cls, image: Picture, mask: Mask, box: Box, painted: NDArray[np.uint8]) -> _Patch:
        colour, part = image.colour[box.slices], mask[box.slices]
        alpha = None if image.alpha is None else image.alpha[box.slices]
        if colour.shape[2] == 1:
            painted = luminance(painted)[:, :, np.newaxis]
        kept = part == 0
        return cls(colour, alpha, part, ~kept, kept if alpha is None else kept & (alpha > 0), painted)

    def tone(self) -> Tone | None:
        """The tone that the engine lost, told by the ring."""
        ring = _within(self.inside, cv2.MORPH_RECT, RING) & self.known
        painted, colour = self.painted[ring], self.colour[ring]
        if np.array_equal(painted, colour):
            return None  # nothing was lost: the engine copied what is kept
        return tone_between(levels(painted), levels(colour))

    def membrane(self, tone: Tone | None) -> Membrane | None:
        """What to add so that the painting meets the known pixels around it; None where it does, or none is known."""
        rows, columns = np.nonzero(_within(self.inside, cv2.MORPH_CROSS, 1) & self.known)
        painted = levels(self.painted[rows, columns])
        difference = levels(self.colour[rows, columns]) - (painted if tone is None else tone(painted))
        if not rows.size or float(np.abs(difference).max()) <= HALF_A_LEVEL:
            return None
        return Membrane(self.inside.shape, rows, columns, difference)

    def continued_alpha(self, alpha: Pixels) -> Membrane | float:
        """Alpha inside the mask, in levels: one number where all kept alpha beside it is the same."""
        rows, columns = np.nonzero(_within(self.inside, cv2.MORPH_CROSS, 1) & ~self.inside)
        beside = levels(alpha[rows, columns])[:, np.newaxis]
        if not rows.size:
            return 255.0
        if beside.min() == beside.max():
            return float(beside[0, 0])
        return Membrane(self.inside.shape, rows, columns, beside)

    def paint(
        self, pixels: Pixels, tone: Tone | None, membrane: Membrane | None, weights: NDArray[np.float32] | None
    ) -> None:
        """Write into `pixels`, this patch of the result, where the mask is over 0."""
        alpha = None if self.alpha is None else self.continued_alpha(self.alpha)
        full, unit = (255, 1) if pixels.dtype == np.uint8 else (65535, 257)
        for top, bottom in strips(*self.mask.shape):
            # Pixel by pixel of the mask, not of its bounds: scratches all over a picture are a few percent of it.
            inside = np.nonzero(self.inside[top:bottom])
            if not inside[0].size:
                continue
            colour = levels(self.painted[top:bottom][inside])
            if tone is not None:
                colour = tone(colour)
            if membrane is not None:
                colour += membrane.strip(top, bottom)[inside]
            if alpha is not None:
                layer = (
                    np.full((len(colour), 1), alpha, np.float32)
                    if isinstance(alpha, float)
                    else alpha.strip(top, bottom)[inside]
                )
                colour = np.concatenate([colour, layer], axis=1)
            kept = levels(pixels[top:bottom][inside])
            part = self.mask[top:bottom][inside] / np.float32(255) if weights is None else weights[top:bottom][inside]
            mixed = kept + part[:, np.newaxis] * (colour - kept)
            pixels[top:bottom][inside] = np.clip(np.rint(mixed * unit), 0, full).astype(pixels.dtype)


def _weights(mask: Mask, box: Box, blur: int) -> NDArray[np.float32] | None:
    """Feathered weights of `box`; None where the mask's own values are the weights."""
    if blur == 0:
        return None
    height, width = mask.shape
    # One pixel more than the box where the image has it: an edge of the mask along the box must be seen as one.
    wide = box.expanded(1).clipped(Box(0, 0, width, height))
    return feather(mask[wide.slices], blur)[box.seen_from(wide).slices]


def _within(inside: NDArray[np.bool_], shape: int, pixels: int) -> NDArray[np.bool_]:
    kernel = cv2.getStructuringElement(shape, (2 * pixels + 1, 2 * pixels + 1))
    wider = cv2.dilate(inside.view(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(wider, np.bool_)
