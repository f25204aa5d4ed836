"""`generate_mask` and `describe-image`: a mask or words for an image, in the same response."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from inpainting.api.analyses import respond_with_caption
from inpainting.api.compat import fastapi
from inpainting.api.compat.base64_images import base64_of
from inpainting.api.compat.fooocus.body import DescribeBody, DescribeForm, ImageType, MaskBody, MaskModel
from inpainting.api.dialect import IGNORED_HEADER, json_response
from inpainting.api.images import SentImage
from inpainting.api.parsers import body_of
from inpainting.api.selecting import respond_with_masks
from inpainting.api.views import DialectView
from inpainting.captioning import Caption, CaptionStyle
from inpainting.core.codecs import encode_png
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage, Mask
from inpainting.segmenters import registry
from inpainting.segmenters.base import Detection, Hint, Segmenter, Selection

SEGMENTER_HEADER, CAPTIONER_HEADER = "X-DreamLayer-Segmenter", "X-DreamLayer-Captioner"
BUILT_IN = "saliency"
"""The segmenter without a model that finds the main object, as the service's default model does."""
DETECTOR = "grounding-dino-tiny"
"""The model that finds by words for `sam`."""
NO_WORDS = "words_missing"
NOT_USABLE = {"model_unavailable", "segmenter_not_found", NO_WORDS}
"""Codes of errors about a model that is not installed or turned off, and about `sam` without the words it needs."""
SAM_MODELS = ("vit_b", "vit_l", "vit_h")
DETECTION_FIELDS = {
    *("dino_prompt_text", "sam_model", "box_threshold", "text_threshold"),
    *("sam_max_detections", "dino_erode_or_dilate", "dino_debug"),
}


class GenerateMask(DialectView):
    takes_images = True

    def post(self, request: Request) -> HttpResponseBase:
        """A JSON text: the PNG of the mask as base64, white for the object; grey, of `sam` RGB."""
        body = fastapi.validate(MaskBody, body_of(request))
        segmenter, selection = find_segmenter(body)
        render = partial(
            render_mask,
            is_rgb=body.mask_model is MaskModel.SAM,
            headers={SEGMENTER_HEADER: segmenter.name, IGNORED_HEADER: ", ".join(find_ignored_fields(body, segmenter))},
        )
        sent = SentImage("image", body.image)
        return respond_with_masks(
            *(segmenter, selection, sent, request, lambda found: render(found[0].mask)),
            dialect=self.dialect,
        )


def render_mask(mask: Mask, *, is_rgb: bool, headers: Mapping[str, str]) -> HttpResponse:
    pixels = mask[:, :, np.newaxis]
    data = encode_png(CanonicalImage(np.repeat(pixels, 3, axis=2) if is_rgb else pixels))
    return json_response(base64_of(data), headers=headers)


def find_segmenter(body: MaskBody) -> tuple[Segmenter, Selection]:
    """Return the requested segmenter, or the built-in one where the caller or the site allows it, and what it gets.

    Raises InvalidRequest, `model_unavailable`, with the command that installs the model.
    """
    try:
        if body.mask_model is MaskModel.SAM:
            return select_by_words(body)
        category = body.cloth_category if body.mask_model is MaskModel.U2NET_CLOTH_SEG else ""
        return registry.find(body.mask_model), Selection(category=category)
    except InvalidRequest as error:
        if error.code not in NOT_USABLE or not (body.allow_built_in or settings.FOOOCUS_BUILT_IN_MASKS):
            raise
        return registry.find(BUILT_IN), Selection()


def select_by_words(body: MaskBody) -> tuple[Segmenter, Selection]:
    """Return the segmenter that finds by words, and what it gets. Raises InvalidRequest without words, where no model
    finds by words, or where the requested SAM is not installed."""
    if not body.dino_prompt_text.strip():
        message = "dino_prompt_text is empty; the model sam needs words."
        raise InvalidRequest(message, code=NO_WORDS, field="dino_prompt_text")
    detection = Detection(
        box_threshold=body.box_threshold,
        text_threshold=body.text_threshold,
        max_detections=body.sam_max_detections,
        dilate=body.dino_erode_or_dilate,
        shows_boxes=body.dino_debug,
        outliner=body.sam_model if body.sam_model in SAM_MODELS else SAM_MODELS[0],
    )
    segmenter = registry.find(DETECTOR)
    if not detection.shows_boxes:
        registry.find(detection.outliner)
    return segmenter, Selection(words=body.dino_prompt_text, detection=detection)


def find_ignored_fields(body: MaskBody, segmenter: Segmenter) -> list[str]:
    """Return the fields that were sent and changed nothing, because the segmenter does not read them."""
    read = {"image", "mask_model", "allow_built_in"}
    if Hint.WORDS in segmenter.reads:
        read |= DETECTION_FIELDS
    if segmenter.name == MaskModel.U2NET_CLOTH_SEG:
        read.add("cloth_category")
    return sorted(body.model_fields_set - read) + (["mask_model"] if segmenter.name == BUILT_IN else [])


class DescribeImage(DialectView):
    takes_images = True

    def post(self, request: Request) -> HttpResponseBase:
        """`{"describe": …}`. Both the JSON of the service and the form of its earlier versions are read."""
        sent, image_type = read_description_request(request)
        style = CaptionStyle(image_type.lower())
        return respond_with_caption(sent, style, request, dialect=self.dialect, render=render_caption)


def render_caption(caption: Caption) -> HttpResponse:
    return json_response({"describe": caption.text}, headers={CAPTIONER_HEADER: caption.captioner})


def read_description_request(request: Request) -> tuple[SentImage, ImageType]:
    fields = fastapi.form_fields(request) if isinstance(request.data, QueryDict) else body_of(request)
    if isinstance(fields.get("image"), UploadedFile):
        form = fastapi.validate(DescribeForm, {**fields, **request.query_params.dict()}, is_form=True)
        return SentImage("image", form.image), form.type
    body = fastapi.validate(DescribeBody, fields)
    return SentImage("image", body.image), body.image_type
