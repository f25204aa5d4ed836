"""The main object of an image, for services that remove backgrounds, and requests that paint nothing."""

from __future__ import annotations

from dataclasses import replace

from rest_framework.request import Request

from inpainting.api.dialect import build_service_request
from inpainting.api.selecting import select_at_once
from inpainting.catalog.lookup import Catalog
from inpainting.core.codecs import DecodedImage
from inpainting.core.image import CanonicalImage, Mask
from inpainting.core.outpainting import Outpaint
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.segmenters import registry
from inpainting.segmenters.base import Selection

OF_PEOPLE = "u2net_human_seg"


def select_main_object(
    image: CanonicalImage, request: Request, *, service: str, is_person: bool = False, soft_edges: bool = True
) -> tuple[Mask, str]:
    """Return the mask of the main object, empty where there is none, and the name of the segmenter: an installed model,
    or else the built-in one.

    is_person: the model for people is preferred. Raises what `select_at_once` raises.
    """
    usable = registry.fitting(frozenset(), Catalog())
    segmenter = next((each for each in usable if is_person and each.name == OF_PEOPLE), usable[0])
    found = select_at_once(segmenter, Selection(soft_edges=soft_edges), image, request, service=service)
    return found.mask, segmenter.name


def unpainted_request(sent: DecodedImage, result: CanonicalImage, settings: PaintSettings) -> InpaintRequest:
    """Return the request whose result is `result`, which was made of the image that was sent."""
    made, canvas = replace(sent, image=result), Outpaint(size=str(result.size))
    request, _ = build_service_request(made, None, settings, outpaint=canvas, may_be_unchanged=True)
    return request
