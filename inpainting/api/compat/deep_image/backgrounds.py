"""Requests that paint nothing: an image without its background, or on a blurred canvas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rest_framework.request import Request

from inpainting.api.compat.deep_image.body import BLUR, NAME, REMOVALS, read_colour
from inpainting.api.compat.main_object import select_main_object, unpainted_request
from inpainting.core.backgrounds import WHITE, cut_out, on_blurred_canvas, over_colour
from inpainting.core.codecs import DecodedImage
from inpainting.core.codecs.formats import JPEG, PNG
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.resizing import resize


def with_background(
    image: DecodedImage, size: Size | None, settings: PaintSettings, values: Mapping[str, Any], request: Request
) -> tuple[InpaintRequest, tuple[str, ...]]:
    """Return the request whose result is the image with another background, and warnings.

    size: of the result with a blurred canvas, else what it fits within. Raises InvalidRequest.
    """
    pixels, notes = image.image, list(image.warnings)
    if values.get("background", {}).get("remove"):
        pixels, settings, note = without_background(pixels, settings, values, request)
        notes.append(note)
    if size is not None:
        is_blurred = values.get("fit") == BLUR
        pixels = on_blurred_canvas(pixels, size) if is_blurred else resize(pixels, pixels.size.within(size))
    return unpainted_request(image, pixels, settings), tuple(notes)


def without_background(
    image: CanonicalImage, settings: PaintSettings, values: Mapping[str, Any], request: Request
) -> tuple[CanonicalImage, PaintSettings, str]:
    """Return the main object on a colour, or on nothing where the format of the result can hold that, and a sentence
    that names the segmenter. Raises InvalidRequest, and what `select_main_object` raises."""
    background = values["background"]
    if background["remove"] not in REMOVALS:
        raise InvalidRequest(f"background.remove must be one of {', '.join(REMOVALS)}.", field="background.remove")
    colour = read_colour(background.get("color") or "transparent")
    found, segmenter = select_main_object(image, request, service=NAME, is_person=background["remove"] == "human")
    note = f"The background was removed by the segmenter {segmenter}."
    if not found.any():
        note = f"The segmenter {segmenter} found no object; all of the image was removed."
    if colour is None and settings.output_format == JPEG:
        if "output_format" in values:
            colour = WHITE
        else:
            settings = replace(settings, output_format=PNG)
    alone = cut_out(image, found)
    return alone if colour is None else over_colour(alone, colour), settings, note
