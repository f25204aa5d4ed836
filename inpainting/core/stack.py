"""Lays the result of one step over an image: what it painted, inside its effective mask, over what lies beneath.

A step was painted on its own source. Where the image beneath has other pixels than that source, because an earlier
step is hidden or painted back, the step's fading edge is mixed with the image beneath instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from inpainting.core.errors import InvalidRequest
from inpainting.core.feathering import Feather
from inpainting.core.geometry import Placement, Size, row_strips
from inpainting.core.image import CanonicalImage, Mask, PatchedImage, Pixels
from inpainting.core.masks import bounds, scale_mask
from inpainting.core.outpainting import place
from inpainting.core.resizing import resize
from inpainting.core.sentences import sentence

MAX_LAID_MEGAPIXELS = 500
"""Limit on the pixels of all steps that are laid over each other for one image. Each counts with its whole result,
which is decoded: a megapixel takes a processor about 0.1 s."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What one step painted."""

    source: CanonicalImage  # what it was painted on; of an outpainting the whole canvas
    result: CanonicalImage  # equal to `source` wherever `mask` is 0; larger where the step enlarged it
    mask: Mask  # the effective one, of the source's size
    blur: int = 0  # width of the ramp by which it was faded in, in pixels
    painted_back: Mask | None = None  # of the result's size: 255 shows what lies beneath, 0 the step, between both
    placement: Placement | None = None  # of an outpainting

    @property
    def enlarges(self) -> bool:
        return self.result.size != self.source.size


def lay(below: CanonicalImage, layer: Layer) -> CanonicalImage:
    """Return the image with a step over it, in its mode, depth and profile.

    Where `below` equals the layer's source, it is the layer's result, and outside of the mask it is `below`, both bit
    for bit. Raises InvalidRequest, `step_does_not_fit`, where `below` has another size, mode or depth than the image
    that the step was made on.
    """
    if layer.placement is not None and below.size == layer.placement.source:
        below = place(below, layer.placement)
    if (below.size, below.mode, below.bits) != (layer.source.size, layer.source.mode, layer.source.bits):
        raise InvalidRequest(
            sentence(
                "A step was made on an image of {made_on}; what lies beneath it has {beneath}.",
                made_on=_kind(layer.source),
                beneath=_kind(below),
            ),
            code="step_does_not_fit",
        )
    return _enlarged(below, layer) if layer.enlarges else _painted(below, layer)


def check_laid(sizes: Iterable[Size]) -> None:
    """Raise InvalidRequest, `too_many_megapixels`, if steps of these sizes are too much to lay over each other."""
    laid = sum(size.area for size in sizes)
    if laid > MAX_LAID_MEGAPIXELS * 10**6:
        megapixels = math.ceil(laid / 10**6)
        message = sentence(
            "{megapixels} megapixels would be laid over each other; at most {most} can be. Show hidden steps again, or "
            "hide more of the steps after them.",
            megapixels=megapixels,
            most=MAX_LAID_MEGAPIXELS,
        )
        raise InvalidRequest(
            message, code="too_many_megapixels", field="steps", limit=MAX_LAID_MEGAPIXELS, actual=megapixels
        )


def touches(mask: Mask, other: Mask) -> bool:
    """Return whether two masks of one size have a pixel in common."""
    return bool((np.minimum(mask, other) > 0).any())


def _kind(image: CanonicalImage) -> str:
    return sentence("{size} in {mode} of {bits} bits", size=image.size, mode=image.mode, bits=image.bits)


def _painted(below: CanonicalImage, layer: Layer) -> CanonicalImage:
    """Return `result + (below - source) * (1 - weight)` where the mask is over 0.

    The result is `source * (1 - weight) + painting * weight`, so this exchanges the source for the image beneath. Where
    the mask is 0, so is the weight, and the result is the source.
    """
    box = bounds(layer.mask)
    if box is None:
        return below
    weights = Feather(layer.mask, layer.blur, box)
    channels, dtype = len(below.mode), layer.source.pixels.dtype
    patch = np.empty((box.size.height, box.size.width, channels), dtype)
    columns = slice(box.left, box.right)
    for top, bottom in row_strips(box.size.height, box.size.width):
        first, last = box.top + top, box.top + bottom
        beneath = below.rows(first, last)[:, columns]
        shown = layer.result.rows(first, last)[:, columns]
        source = layer.source.rows(first, last)[:, columns]
        differs = (beneath != source).any(axis=2)
        laid = shown.copy()
        if differs.any():
            kept = (1 - weights.rows(top, bottom)[differs])[:, np.newaxis]
            former, present, now = (part[differs].astype(np.float32) for part in (source, beneath, shown))
            laid[differs] = _rounded(now + (present - former) * kept, laid)
        if layer.painted_back is not None:
            laid = _paint_back(beneath, laid, layer.painted_back[first:last, columns])
        patch[top:bottom] = laid
    return PatchedImage(below, box, patch)


def _enlarged(below: CanonicalImage, layer: Layer) -> CanonicalImage:
    """Return the enlarged image; where the image beneath differs from what was enlarged, that image, scaled up."""
    differs = np.zeros((below.size.height, below.size.width), np.uint8)
    for top, bottom in row_strips(*differs.shape):
        changed = below.rows(top, bottom) != layer.source.rows(top, bottom)
        differs[top:bottom][changed.any(axis=2)] = 255
    at = scale_mask(differs, layer.result.size)
    box = bounds(at)
    if box is None:
        return layer.result
    scaled = resize(CanonicalImage(below.pixels, below.icc_profile), layer.result.size).pixels[box.slices]
    patch = np.where(at[box.slices][:, :, np.newaxis] > 0, scaled, layer.result.pixels[box.slices])
    return PatchedImage(layer.result, box, patch)


def _paint_back(beneath: Pixels, laid: Pixels, painted_back: Mask) -> Pixels:
    """Return what a step shows where it is partly painted back."""
    partly = (painted_back > 0) & (painted_back < 255)
    mixed = laid.copy()
    mixed[painted_back == 255] = beneath[painted_back == 255]
    if partly.any():
        share = (painted_back[partly] / np.float32(255))[:, np.newaxis]
        kept = laid[partly].astype(np.float32)
        mixed[partly] = _rounded(kept + (beneath[partly] - kept) * share, mixed)
    return mixed


def _rounded(values: NDArray[np.floating[Any]], like: Pixels) -> Pixels:
    """Return the values as whole numbers of the type of `like`."""
    whole = np.empty(values.shape, like.dtype)
    whole[:] = np.clip(np.rint(values), 0, np.iinfo(like.dtype).max)
    return cast(Pixels, whole)
