"""A `GenerateBody` -> `InpaintRequest`: inpainting, outpainting, or text-to-image."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from django.conf import settings as django_settings
from rest_framework.request import Request

from inpainting.api.compat.fooocus.body import GenerateBody, OutpaintSide, UpscaleOrVary
from inpainting.api.compat.fooocus.image_prompts import add_image_prompts
from inpainting.api.compat.fooocus.settings import read_settings
from inpainting.api.compat.notes import Notes
from inpainting.api.dialect import blank_request
from inpainting.api.errors import NotBuilt
from inpainting.api.images import ImageRole, SentImage, read_image
from inpainting.catalog.lookup import Catalog
from inpainting.core import masks
from inpainting.core.codecs.colour import composite_on_white, to_8_bits
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.outpainting import Outpaint, extend
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.settings_table import RANGES
from inpainting.generations.submit import Submission
from inpainting.image_limits import image_limits

IMAGE = ImageRole(code_prefix="image", error_prefix="Invalid inpaint_input_image")
MASK = ImageRole(code_prefix="mask", error_prefix="Invalid inpaint_mask_image_upload")
SIZE_FIELDS = ("aspect_ratios_selection", "overwrite_width", "overwrite_height")
"""Fields of text-to-image."""
INPAINT_ONLY_FIELDS = ("inpaint_strength", "inpaint_respective_field")
"""Fields that do not count in outpainting, as in the service."""
IMAGE_FIELDS = (
    *("inpaint_input_image", "inpaint_mask_image_upload", "inpaint_erode_or_dilate", *INPAINT_ONLY_FIELDS),
    *("outpaint_selections", "outpaint_distance"),
)
"""Fields that text-to-image does not read."""
ASPECT_RATIO = re.compile(r"(\d{1,5})\D(\d{1,5})")
DEFAULT_SIZE = Size(1152, 896)
MASK_THRESHOLD = 127
DEFAULT_SHARE = 3
"""The pixels of a side divided by this are added where outpaint_distance has no number for it."""


def translate(body: GenerateBody, http_request: Request) -> tuple[InpaintRequest, Submission]:
    """Read the images and the settings. Without an image, or without mask and sides, it is text-to-image."""
    if body.uov_method is not UpscaleOrVary.DISABLED:
        raise NotBuilt("Upscaling and variation are not built yet.")
    notes, catalog = Notes(body.ineffective_fields()), Catalog()
    settings = read_settings(body, catalog, notes)
    if body.inpaints:
        ignored = SIZE_FIELDS + (INPAINT_ONLY_FIELDS if body.outpaint_selections else ("outpaint_distance",))
        request = inpaint_request(body, settings, http_request, notes)
    else:
        ignored = IMAGE_FIELDS
        request, _ = blank_request(text_to_image_size(body, notes), settings)
    request = add_image_prompts(request, body, catalog, notes, partial(read_image, request=http_request))
    if not (request.conditioning_images and body.inpaints):
        ignored += ("mixing_image_prompt_and_inpaint",)
    notes.ignored.extend(name for name in ignored if body.differs_from_default(name))
    return request, Submission(
        warnings=tuple(notes.warnings),
        webhook_url=body.webhook_url or django_settings.FOOOCUS_WEBHOOK_URL,
        ignored_fields=tuple(dict.fromkeys(notes.ignored)),
        catalog=catalog,
    )


def text_to_image_size(body: GenerateBody, notes: Notes) -> Size:
    found = ASPECT_RATIO.search(body.aspect_ratios_selection)
    if found is None:
        notes.ignore("aspect_ratios_selection", f"it names no size; {DEFAULT_SIZE} was used.")
    size = Size(max(1, int(found[1])), max(1, int(found[2]))) if found else DEFAULT_SIZE
    lowest, highest = map(int, RANGES["width"])

    def clamped(field: str, overwritten: int, side: int) -> int:
        name, pixels = (field, overwritten) if overwritten > 0 else ("aspect_ratios_selection", side)
        nearest = min(max(pixels, lowest), highest)
        if nearest != pixels:
            notes.ignore(name, f"a side has {lowest} to {highest} pixels; {nearest} was used instead of {pixels}.")
        return nearest

    width = clamped("overwrite_width", body.overwrite_width, size.width)
    return Size(width, clamped("overwrite_height", body.overwrite_height, size.height))


def inpaint_request(body: GenerateBody, settings: PaintSettings, http_request: Request, notes: Notes) -> InpaintRequest:
    image = read_image(SentImage("inpaint_input_image", body.inpaint_input_image or ""), IMAGE, http_request)
    notes.warnings.extend(image.warnings)
    canonical, mask = opaque(image.image), None
    if canonical.bits < image.image.bits:
        notes.warnings.append("inpaint_input_image: transparent parts became white, and 16 bits were rounded to 8.")
    if body.inpaint_mask_image_upload:
        sent = SentImage("inpaint_mask_image_upload", body.inpaint_mask_image_upload)
        decoded = read_image(sent, MASK, http_request)
        scaled = masks.scaling_note(decoded.image.size, canonical.size)
        notes.warnings.extend([*decoded.warnings, *([scaled] if scaled else [])])
        mask = grown(masks.scale_mask(binary_mask(decoded.image), canonical.size), body.inpaint_erode_or_dilate)
    if mask is None or body.outpaint_selections:
        canonical, mask, placement = extend(canonical, outpaint_of(body, canonical.size), mask, limits=image_limits())
        return InpaintRequest(canonical, mask, replace(settings, strength=1.0), placement=placement)
    settings = replace(settings, strength=body.inpaint_strength)
    if "inpaint_respective_field" in body.model_fields_set:
        padding = padding_of(mask, body.inpaint_respective_field)
        settings = replace(settings, only_masked_padding=padding)
    return InpaintRequest(canonical, mask, settings)


def opaque(image: CanonicalImage) -> CanonicalImage:
    """Return the image without alpha: composited on white, in 8 bits a channel, where a pixel is transparent."""
    if image.is_opaque:
        return replace(image, pixels=image.colour) if image.has_alpha else image
    return CanonicalImage(composite_on_white(to_8_bits(image.colour), image), image.icc_profile)


def binary_mask(image: CanonicalImage) -> Mask:
    """Return 255 where the mean of the channels is above 127, else 0; transparent pixels count as black."""
    colour = to_8_bits(image.colour)
    total = colour.sum(axis=2, dtype=np.uint16)
    threshold = MASK_THRESHOLD * colour.shape[2]
    if image.alpha is None:
        return np.where(total > threshold, np.uint8(255), np.uint8(0))
    weighted = total * to_8_bits(image.alpha).astype(np.uint32)
    return np.where(weighted > threshold * 255, np.uint8(255), np.uint8(0))


def grown(mask: Mask, pixels: int) -> Mask:
    """Return the mask dilated by a square of 3x3 `pixels` times; for a negative number eroded."""
    square = np.ones((2 * abs(pixels) + 1, 2 * abs(pixels) + 1), np.uint8)
    changed = cv2.dilate(mask, square) if pixels > 0 else cv2.erode(mask, square)
    return np.asarray(changed, np.uint8)


def outpaint_of(body: GenerateBody, size: Size) -> Outpaint:
    """Return the pixels to add at each selected side."""
    sides = dict(
        zip(
            (OutpaintSide.LEFT, OutpaintSide.TOP, OutpaintSide.RIGHT, OutpaintSide.BOTTOM),
            body.outpaint_distance,
            strict=True,
        )
    )
    lengths = {
        OutpaintSide.LEFT: size.width,
        OutpaintSide.RIGHT: size.width,
        OutpaintSide.TOP: size.height,
        OutpaintSide.BOTTOM: size.height,
    }
    distances: dict[str, Any] = {
        side.value.lower(): sides[side] if sides[side] > 0 else max(1, lengths[side] // DEFAULT_SHARE)
        for side in body.outpaint_selections
    }
    return Outpaint(**distances)


def padding_of(mask: Mask, share: float) -> int:
    """Return pixels around the mask's bounds that make them `share` of the image's width and height; 0 for a larger
    mask."""
    height, width = mask.shape
    bounds = masks.nonempty_bounds(mask).size
    padding = max(share * width - bounds.width, share * height - bounds.height, 0) / 2
    return min(math.ceil(padding), int(RANGES["only_masked_padding"][1]))
