"""The arguments of a tool that paints -> `InpaintRequest`; the mask may be sent, or selected for the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request

from inpainting.api.compat.mcp.arguments import GROWN_BY, ROWS
from inpainting.api.dialect import build_service_request, closest_model, enlarging_request
from inpainting.api.images import NAMED_MASK, read_field
from inpainting.api.selecting import select_at_once
from inpainting.catalog.lookup import Catalog
from inpainting.core.codecs import DecodedImage
from inpainting.core.errors import InvalidRequest
from inpainting.core.outpainting import outpaint_from
from inpainting.core.request import InpaintRequest, PaintSettings
from inpainting.core.upscaling import upscale_from
from inpainting.engines.registry import AUTO
from inpainting.engines.upscaling import UPSCALE
from inpainting.generations.submit import Submission
from inpainting.segmenters import registry
from inpainting.segmenters.base import Candidate, Point, Segmenter, Selection, box_around

NAME = "mcp"
FINDS_BY_WORDS = "grounding-dino-tiny"
"""The segmenter by words to install."""


def read_request(tool: str, sent: Mapping[str, Any], request: Request) -> tuple[InpaintRequest, Submission]:
    """Return the request of a tool that paints. sent: its arguments, validated. Raises InvalidRequest."""
    sent = {name: value for name, value in sent.items() if (name, value) != ("model", AUTO)}
    catalog, marks = Catalog(), selection_of(sent)
    if tool == "upscale":
        image = read_field("image", sent["image"], request)
        enlarged = enlarging_request(image.image, upscale_from(sent), PaintSettings(model=sent.get("model")))
        return enlarged, Submission(engine=UPSCALE.name, warnings=image.warnings, catalog=catalog)
    choices: list[str] = []
    settings = settings_of(sent, catalog, is_selected=bool(marks.hints), warnings=choices)
    mask, outpaint = None, None
    if tool == "extend":
        outpaint = outpaint_from(sent)
        if outpaint is None:
            message = "Say where to: send outpaint_left, _top, _right or _bottom, outpaint_size or outpaint_ratio."
            raise InvalidRequest(message, code="field_missing", field="outpaint_left")
    elif ("mask" in sent) == bool(marks.hints) or ("mask" in sent and marks.points):
        message = "Mark what is to be repainted: send either mask, or words, or points and box."
        raise InvalidRequest(message, code="field_missing", field="mask")
    image = read_field("image", sent["image"], request)
    if "mask" in sent:
        mask = read_field("mask", sent["mask"], request, role=NAMED_MASK)
    elif outpaint is None:
        best = select_at_once(segmenter_for(marks, sent), marks, image.image, request, service=NAME)
        mask = DecodedImage.of_mask(found_mask(best))
    inpaint_request, warnings = build_service_request(image, mask, settings, outpaint=outpaint)
    return inpaint_request, Submission(warnings=[*choices, *warnings], sent_fields=tuple(sent), catalog=catalog)


def settings_of(sent: Mapping[str, Any], catalog: Catalog, *, is_selected: bool, warnings: list[str]) -> PaintSettings:
    """Return the settings. warnings: the list to which the choice of another model is added."""
    values = {row.name: sent[row.public_name] for row in ROWS if row.public_name in sent}
    if "model" in values:
        values["model"] = closest_model(catalog, values["model"], service=NAME, field="model", warnings=warnings)
    return PaintSettings(**({"mask_grow": GROWN_BY} if is_selected else {}) | values)


def selection_of(sent: Mapping[str, Any]) -> Selection:
    """Return the object that words, points and a box select."""
    objects, others = (sent.get(name, ()) for name in ("points", "points_beside"))
    return Selection(
        words=sent.get("words", ""),
        points=(*(Point(x, y) for x, y in objects), *(Point(x, y, is_object=False) for x, y in others)),
        box=box_around(*sent["box"]) if "box" in sent else None,
    )


def segmenter_for(selection: Selection, sent: Mapping[str, Any]) -> Segmenter:
    """Return the segmenter that was sent; else the first that reads the selection. Raises InvalidRequest:
    `model_unavailable` with what has to be installed to find by words."""
    fitting = [segmenter.name for segmenter in registry.fitting(selection.hints, Catalog())]
    segmenter = registry.find(sent.get("segmenter") or next(iter(fitting), FINDS_BY_WORDS))
    selection.check_for(segmenter)
    return segmenter


def found_mask(candidate: Candidate) -> Any:
    """Return the mask of what was found. Raises InvalidRequest where that is nothing."""
    if not candidate.mask.any():
        raise InvalidRequest(
            "Nothing was found there. Say it in other words, or send points or a box.", code="mask_empty"
        )
    return candidate.mask
