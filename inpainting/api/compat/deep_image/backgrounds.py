"""Requests that paint nothing: an image without its background, or on a blurred canvas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rest_framework.request import Request

from inpainting.api.compat.deep_image.body import BLUR, REMOVALS, read_colour
from inpainting.api.selecting import needs_worker, select_in
from inpainting.catalog.lookup import Catalog
from inpainting.core.backgrounds import WHITE, cut_out, on_blurred_canvas, over_colour
from inpainting.core.codecs import DecodedImage
from inpainting.core.codecs.formats import JPEG, PNG
from inpainting.core.errors import InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage
from inpainting.core.inputs import build_request
from inpainting.core.masks import MaskPolarity
from inpainting.core.outpainting import Outpaint
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.resizing import resize
from inpainting.image_limits import image_limits
from inpainting.segmenters import registry
from inpainting.segmenters.base import Segmenter, Selection
from inpainting.segmenters.networks.catalog_segmenter import installed

BUILT_IN, OF_PEOPLE = "saliency", "u2net_human_seg"


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
    inpaint_request, _ = build_request(
        *(replace(image, image=pixels), None, settings, MaskPolarity.WHITE_REPAINTS),
        outpaint=Outpaint(size=str(pixels.size)),
        may_be_unchanged=True,
        limits=image_limits(),
    )
    return inpaint_request, tuple(notes)


def without_background(
    image: CanonicalImage, settings: PaintSettings, values: Mapping[str, Any], request: Request
) -> tuple[CanonicalImage, PaintSettings, str]:
    """Return the main object on a colour, or on nothing where the format of the result can hold that, and a sentence
    that names the segmenter. Raises InvalidRequest, LimitReached, and what the segmenter raises."""
    background = values["background"]
    if background["remove"] not in REMOVALS:
        raise InvalidRequest(f"background.remove must be one of {', '.join(REMOVALS)}.", field="background.remove")
    colour = read_colour(background.get("color") or "transparent")
    segmenter = main_object_segmenter(background["remove"])
    found = select_in(segmenter, Selection(soft_edges=True), lambda: image, request, lambda found: found[0].mask)
    note = f"The background was removed by the segmenter {segmenter.name}."
    if not found.any():
        note = f"The segmenter {segmenter.name} found no object; all of the image was removed."
    if colour is None and settings.output_format == JPEG:
        if "output_format" in values:
            colour = WHITE
        else:
            settings = replace(settings, output_format=PNG)
    alone = cut_out(image, found)
    return alone if colour is None else over_colour(alone, colour), settings, note


def main_object_segmenter(removal: str) -> Segmenter:
    """Return an installed model that finds the main object in this process, of people for `human`, else the built-in
    segmenter."""
    usable = [found for found in installed(Catalog()) if not found.needs and not needs_worker(found)]
    if removal == "human":
        usable.sort(key=lambda found: found.name != OF_PEOPLE)
    return usable[0] if usable else registry.find(BUILT_IN)
