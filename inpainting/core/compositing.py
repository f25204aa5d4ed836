"""Cuts the window out of the image for an engine, and puts the engine's image back so that no seam shows.

Colour match and gradient-domain blend are each kept only where they lower the seam score. Pixels outside
the mask are those of the image, bit for bit, for any engine: they are never written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.colour import to_rgb8
from inpainting.core.colour_match import MAX_PAIRS, ColourMatch, fit_colour_match
from inpainting.core.errors import EngineFailed, InvalidRequest
from inpainting.core.feathering import Feather
from inpainting.core.geometry import Box, Window, row_strips
from inpainting.core.image import CanonicalImage, Mask, PatchedImage, Pixels, Strips
from inpainting.core.masks import bounds, luminance, scale_mask
from inpainting.core.poisson import HarmonicSurface
from inpainting.core.resizing import resize_pixels
from inpainting.core.seams import Seam, levels, true_pixels
from inpainting.core.sentences import sentence

RING = 12
"""Kept pixels at most this far from the mask are the ones that the colour match is fitted on."""

MIN_GAIN = 0.05
"""A correction is kept when the seam score falls by more than this: less is rounding."""

MAX_POINTS = 1_000_000
"""Kept pixels beside the mask that a surface goes through; of more, every n-th: a checkerboard has them everywhere."""

HALF_A_LEVEL = 0.5
"""Half a level of 255. An 8-bit engine cannot reproduce the image any closer, so smaller differences are ignored."""


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """The image with an engine's image in it."""

    image: CanonicalImage
    # `seam_score`, `seam_score_plain`: as `seams.seam_score` defines it, with the corrections that were kept and
    # without any, before feathering and grey mask values soften the edge. The first is never the higher one.
    seam_score: float
    seam_score_plain: float
    colour_matched: bool
    seam_blended: bool


def cut(image: CanonicalImage, mask: Mask, window: Window) -> tuple[CanonicalImage, Mask]:
    """Return an engine's input: the window in 8-bit RGB and its part of the mask, both at the window's work size."""
    return cut_image(image, window), scale_mask(mask[window.box.slices], window.work)


def cut_image(image: CanonicalImage, window: Window) -> CanonicalImage:
    """Return the window in 8-bit RGB, at the window's work size."""
    return CanonicalImage(resize_pixels(to_rgb8(CanonicalImage(image.pixels[window.box.slices])), window.work))


def composite(
    image: CanonicalImage, mask: Mask, window: Window, painting: NDArray[np.uint8], *, blur: int
) -> Composite:
    """Put an engine's image ([height, width, 3] at the window's work size) into the image where the mask is over 0.

    blur: width in pixels of the ramp that fades it in, inward from the mask's edge. The result has the image's size,
        mode, depth and profile, and its pixels wherever the mask is 0. Alpha inside the mask continues the kept alpha
        around it, and is opaque where nothing is kept.
    Raises EngineFailed for a painting of another shape, InvalidRequest for a mask that extends beyond the window.
    """
    if painting.dtype != np.uint8 or painting.shape != (window.work.height, window.work.width, 3):
        raise EngineFailed(
            f"the engine returned {painting.shape} {painting.dtype} instead of 8-bit RGB of {window.work}"
        )
    marked = bounds(mask)
    if marked is None:
        return Composite(image, 0.0, 0.0, colour_matched=False, seam_blended=False)
    if not window.box.contains(marked):
        raise InvalidRequest(
            sentence("the mask's {marked} extends beyond the window's {box}", marked=marked, box=window.box),
            field="mask",
        )

    box = marked.expanded(RING).clipped(window.box)
    patch = _Patch.of(image, mask, box, resize_pixels(painting, window.box.size)[box.relative_to(window.box).slices])
    correction = patch.correction((box.left, box.top))
    pixels = image.pixels[box.slices].copy()
    patch.paint(pixels, correction, Feather(mask, blur, box) if blur > 0 else None)
    return Composite(
        PatchedImage(image, box, pixels),
        seam_score=correction.seam_score,
        seam_score_plain=correction.seam_score_plain,
        colour_matched=correction.colour_match is not None,
        seam_blended=correction.blend is not None,
    )


def outside_mask_changed_pixels(canonical: CanonicalImage, result: Strips, mask: Mask) -> int:
    """Count the pixels that differ in any channel where the mask is 0; `composite` guarantees 0.

    Raises InvalidRequest for images of different size, mode or depth, or a mask of another size.
    """
    for name in ("size", "mode", "bits"):
        was, now = getattr(canonical, name), getattr(result, name)
        if was != now:
            raise InvalidRequest(f"the image's {name} is {was}, the result's {now}: they cannot be compared")
    if mask.shape != (canonical.size.height, canonical.size.width):
        height, width = mask.shape
        raise InvalidRequest(
            sentence("mask is {width}x{height}, image is {size}", width=width, height=height, size=canonical.size),
            code="mask_size_mismatch",
            field="mask",
        )
    changed = 0
    for top, rows in result.strips():
        bottom = top + len(rows)
        channels = np.moveaxis(canonical.rows(top, bottom) != rows, 2, 0)
        # Twice as fast as any() along an axis of three.
        differs = reduce(np.logical_or, channels)
        changed += int(np.count_nonzero(differs & (mask[top:bottom] == 0)))
    return changed


@dataclass(frozen=True, slots=True, eq=False)
class _Correction:
    """The corrections of one patch that lower its seam score; None for each that does not."""

    colour_match: ColourMatch | None
    blend: HarmonicSurface | None
    seam_score: float
    seam_score_plain: float


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    """The mask's bounds and a ring around them; all arrays are [height, width, ...] of that box and never written."""

    colour: Pixels
    alpha: Pixels | None
    mask: Mask
    inside: NDArray[np.bool_]  # repainted, wholly or partly
    known: NDArray[np.bool_]  # kept, with a colour that is visible
    painted: NDArray[np.uint8]  # the engine's image in the image's channels, 8 bits

    @classmethod
    def of(cls, image: CanonicalImage, mask: Mask, box: Box, painted: NDArray[np.uint8]) -> _Patch:
        colour, part = image.colour[box.slices], mask[box.slices]
        alpha = None if image.alpha is None else image.alpha[box.slices]
        if colour.shape[2] == 1:
            painted = luminance(painted)[:, :, np.newaxis]
        kept = part == 0
        return cls(colour, alpha, part, ~kept, kept if alpha is None else kept & (alpha > 0), painted)

    def correction(self, corner: tuple[int, int]) -> _Correction:
        """Return the colour match and the blend, in this order, each kept if it lowers the seam score.

        corner: left and top in the image.
        """
        seam = Seam.around(self.colour, self.inside, self.known, corner)
        at_seam = levels(self.painted[seam.rows, seam.columns])
        plain = best = seam.score(at_seam)

        match = self.colour_match()
        if match is not None:
            matched = seam.score(match(at_seam))
            if matched < best - MIN_GAIN:
                best, at_seam = matched, match(at_seam)
            else:
                match = None

        blend = self.blend(match)
        if blend is not None:
            blended = seam.score(at_seam + blend.at(seam.rows, seam.columns))
            if blended < best - MIN_GAIN:
                best = blended
            else:
                blend = None
        return _Correction(match, blend, best, plain)

    def colour_match(self) -> ColourMatch | None:
        """Return the match that is fitted on the ring of kept pixels around the mask; None where the engine copied
        these."""
        ring = _dilate(self.inside, cv2.MORPH_RECT, RING) & self.known
        if not any(self._differs(ring, top, bottom) for top, bottom in row_strips(*ring.shape)):
            return None
        at = _sample(ring, MAX_PAIRS)
        return fit_colour_match(levels(self.painted[at]), levels(self.colour[at]))

    def _differs(self, ring: NDArray[np.bool_], top: int, bottom: int) -> bool:
        """Return whether the painting has other values than the image in the ring, in these rows."""
        painted = self.painted[top:bottom].astype(self.colour.dtype, copy=False)
        return cv2.norm(painted, self.colour[top:bottom], cv2.NORM_INF, ring[top:bottom].view(np.uint8)) != 0

    def blend(self, match: ColourMatch | None) -> HarmonicSurface | None:
        """Return the correction that makes the painting meet the known pixels around it; None if none is needed."""
        rows, columns = _sample(_dilate(self.inside, cv2.MORPH_CROSS, 1) & self.known, MAX_POINTS)
        painted = levels(self.painted[rows, columns])
        difference = levels(self.colour[rows, columns]) - (painted if match is None else match(painted))
        if not rows.size or float(np.abs(difference).max()) <= HALF_A_LEVEL:
            return None
        return HarmonicSurface(self.inside.shape, rows, columns, difference)

    def continue_alpha(self, alpha: Pixels) -> HarmonicSurface | float:
        """Return alpha inside the mask, in levels: one number where all kept alpha beside it is the same."""
        rows, columns = _sample(_dilate(self.inside, cv2.MORPH_CROSS, 1) & ~self.inside, MAX_POINTS)
        beside = levels(alpha[rows, columns])[:, np.newaxis]
        if not rows.size:
            return 255.0
        if beside.min() == beside.max():
            return float(beside[0, 0])
        return HarmonicSurface(self.inside.shape, rows, columns, beside)

    def paint(self, pixels: Pixels, correction: _Correction, weights: Feather | None) -> None:
        """Write into `pixels`, this patch of the result, where the mask is over 0.

        weights: of this patch; None where the mask's own values are the weights.
        """
        alpha = None if self.alpha is None else self.continue_alpha(self.alpha)
        full, unit = (255, 1) if pixels.dtype == np.uint8 else (65535, 257)
        is_copy = weights is None and alpha is None and correction.colour_match is None and correction.blend is None
        for top, bottom in row_strips(*self.mask.shape):
            mixes = self.inside[top:bottom]
            if is_copy:
                whole = self.mask[top:bottom] == 255
                scaled_up = self.painted[top:bottom] * pixels.dtype.type(unit)
                cv2.copyTo(scaled_up, whole.view(np.uint8), pixels[top:bottom])
                mixes = mixes & ~whole
            # Pixel by pixel of the mask, not of its bounds: scratches all over an image are a few percent of it.
            inside = true_pixels(mixes)
            if not inside[0].size:
                continue
            colour = levels(self.painted[top:bottom][inside])
            if correction.colour_match is not None:
                colour = correction.colour_match(colour)
            if correction.blend is not None:
                colour += correction.blend.strip(top, bottom)[inside]
            if alpha is not None:
                layer = (
                    np.full((len(colour), 1), alpha, np.float32)
                    if isinstance(alpha, float)
                    else alpha.strip(top, bottom)[inside]
                )
                colour = np.concatenate([colour, layer], axis=1)
            kept = levels(pixels[top:bottom][inside])
            part = (
                self.mask[top:bottom][inside] / np.float32(255)
                if weights is None
                else weights.rows(top, bottom)[inside]
            )
            mixed = kept + part[:, np.newaxis] * (colour - kept)
            pixels[top:bottom][inside] = np.clip(np.rint(mixed * unit), 0, full).astype(pixels.dtype)


def _sample(plane: NDArray[np.bool_], max_count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the true pixels; of every n-th, where there are more than `max_count`."""
    every = max(1, -(-int(np.count_nonzero(plane)) // max_count))
    if every == 1:
        return true_pixels(plane)
    found, passed = [], 0
    for top, bottom in row_strips(*plane.shape):  # The indexes of all true pixels would take 8 bytes each.
        at = np.flatnonzero(plane[top:bottom])
        found.append(at[-passed % every :: every] + top * plane.shape[1])
        passed += len(at)
    rows, columns = np.divmod(np.concatenate(found), plane.shape[1])
    return rows, columns


def _dilate(inside: NDArray[np.bool_], shape: int, pixels: int) -> NDArray[np.bool_]:
    """Return dilation by a structuring element of this OpenCV shape and radius; the border counts as outside."""
    kernel = cv2.getStructuringElement(shape, (2 * pixels + 1, 2 * pixels + 1))
    wider = cv2.dilate(inside.view(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(wider, np.bool_)
