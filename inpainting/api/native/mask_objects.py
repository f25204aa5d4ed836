"""Masks in the formats of answers and bodies: PNG, and objects with a size and run lengths or outlines."""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Any

import numpy as np

from inpainting.core.codecs import encode_png
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Box, Size
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.mask_formats import (
    MaskBudget,
    check_rings,
    compress_run_lengths,
    decompress_run_lengths,
    fill_outlines,
    mask_of_run_lengths,
    outlines,
    rings_of_path,
    run_lengths,
    svg_path,
)
from inpainting.core.sentences import sentence
from inpainting.core.validation import check_count, check_range, finite_numbers
from inpainting.image_limits import image_limits

MAX_POLYGONS = 100
LARGEST_MASKS = 4
"""How many masks of the largest size one request may send; of smaller ones more."""


class MaskFormat(StrEnum):
    PNG = "png"
    """A data URL."""
    RLE = "rle"
    """COCO's run lengths as compressed text."""
    SVG = "svg"
    """An SVG path."""


def encode_mask(mask: Mask, form: str) -> str | dict[str, Any]:
    """The mask in a format. Raises InvalidRequest (`mask_too_complex`) for too many corners or runs."""
    if form == MaskFormat.PNG:
        return "data:image/png;base64," + base64.b64encode(encode_png(CanonicalImage.of_mask(mask))).decode()
    size = list(mask.shape)
    if form == MaskFormat.RLE:
        return {"size": size, "counts": compress_run_lengths(run_lengths(mask))}
    return {"size": size, "path": svg_path(outlines(mask))}


def budget_of_request() -> MaskBudget:
    return MaskBudget(LARGEST_MASKS * image_limits().max_pixels)


def mask_of_object(sent: dict[str, Any], field: str, budget: MaskBudget) -> Mask:
    """The mask of an object with `size`, which is height and width, and one of `counts`, `path` and `polygons`.

    field: the name of what was sent, for errors. budget: of all masks of the request.
    Raises InvalidRequest for a malformed object, for a mask larger than images may be, and over budget.
    """
    try:
        return _mask_of(sent, budget)
    except InvalidRequest as error:
        raise InvalidRequest(
            error.message, code=error.code, field=field, limit=error.limit, actual=error.actual
        ) from error


def _mask_of(sent: dict[str, Any], budget: MaskBudget) -> Mask:
    size = _size(sent.get("size"))
    budget.spend("pixels", size.area)
    match {name: value for name, value in sent.items() if name != "size"}:
        case {"counts": str(text), **others} if not others:
            return mask_of_run_lengths(decompress_run_lengths(text, budget), size)
        case {"counts": list(lengths), **others} if not others:
            return mask_of_run_lengths(lengths, size)
        case {"path": str(path), **others} if not others:
            return fill_outlines(rings_of_path(path, budget), size, budget)
        case {"polygons": list(polygons), **others} if not others:
            return _union(polygons, size, budget)
    message = sentence(
        "A mask that is an object needs size and one of counts (a text or a list), path (a text) and polygons."
    )
    raise InvalidRequest(message, code="mask_invalid", field="mask")


def _size(sent: Any) -> Size:
    if not isinstance(sent, list) or len(sent) != 2 or not all(type(side) is int for side in sent):
        raise InvalidRequest(sentence("size of the mask must be [height, width]."), code="mask_invalid", field="mask")
    limits = image_limits()
    for side in sent:
        check_range("size", side, 1, limits.max_side, field="mask")
    size = Size(sent[1], sent[0])
    check_count("mask", size.area, limits.max_pixels, sentence("The mask has {count} pixels", count=size.area))
    return size


def _union(polygons: list[Any], size: Size, budget: MaskBudget) -> Mask:
    """COCO's polygons together, each filled by itself within its bounds."""
    check_count("mask", len(polygons), MAX_POLYGONS, sentence("The mask has {count} polygons", count=len(polygons)))
    rings = []
    for polygon in polygons:
        numbers = finite_numbers(polygon)
        if numbers is None or len(numbers) < 6 or len(numbers) % 2:
            message = sentence("Each polygon of the mask must be [x, y, x, y, …] with three corners or more.")
            raise InvalidRequest(message, code="mask_invalid", field="mask")
        rings.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    mask = np.zeros((size.height, size.width), np.uint8)
    pixels = 0
    for ring in check_rings(rings):
        left, top = np.maximum(np.floor(ring.min(axis=0)), 0).astype(int).tolist()
        right, bottom = np.minimum(np.ceil(ring.max(axis=0)), (size.width, size.height)).astype(int).tolist()
        if right <= left or bottom <= top:
            continue
        box = Box(left, top, right, bottom)
        pixels += box.size.area
        if pixels > 2 * image_limits().max_pixels:
            raise InvalidRequest(sentence("The polygons overlap too much."), code="mask_too_complex", field="mask")
        mask[box.slices] |= fill_outlines([ring - (box.left, box.top)], box.size, budget)
    return mask
