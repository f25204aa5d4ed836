"""`generate_mask` and `describe-image`: a mask or words for a picture, in the same response."""

from __future__ import annotations

import base64

import numpy as np
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, QueryDict
from rest_framework.request import Request

from inpainting.api.compat import fastapi
from inpainting.api.compat.base import IGNORED_HEADER, json_response
from inpainting.api.compat.fooocus.body import DescribeBody, DescribeForm, ImageType, MaskBody, MaskModel
from inpainting.api.concurrency_limits import computing, limit_segmentations
from inpainting.api.parsers import body_of
from inpainting.api.pictures import PictureRole, SentPicture, read_picture
from inpainting.api.views import DialectView
from inpainting.captioning import Style, describe
from inpainting.core.codecs import encode_png
from inpainting.core.errors import InvalidRequest
from inpainting.core.picture import Picture
from inpainting.segmenters import registry
from inpainting.segmenters.base import Segmenter, Selection, candidates_of

SEGMENTER_HEADER, CAPTIONER_HEADER = "X-DreamLayer-Segmenter", "X-DreamLayer-Captioner"
BUILT_IN = "saliency"
"""The segmenter without a model that finds the main object, as the service's default model does."""
IMAGE = PictureRole(code_prefix="image", error_prefix="Invalid image")


class GenerateMask(DialectView):
    takes_pictures = True

    def post(self, request: Request) -> HttpResponse:
        """A JSON text: the PNG of the mask as base64, white for the object; grey, of `sam` RGB."""
        body = fastapi.validate(MaskBody, body_of(request))
        segmenter, selection = find_segmenter(body)
        with limit_segmentations(request.user):
            picture = read_picture(SentPicture("image", body.image), IMAGE, request).picture
            with computing:
                mask = candidates_of(segmenter, picture, selection)[0].mask[:, :, np.newaxis]
                data = encode_png(Picture(np.repeat(mask, 3, axis=2) if body.mask_model is MaskModel.SAM else mask))
        headers = {SEGMENTER_HEADER: segmenter.name, IGNORED_HEADER: ", ".join(unread(body, segmenter))}
        return json_response(base64.b64encode(data).decode(), headers=headers)


def find_segmenter(body: MaskBody) -> tuple[Segmenter, Selection]:
    """The requested segmenter, or the built-in one where the caller or the site allows it, and what it gets.

    Raises InvalidRequest, `model_unavailable`, with the command that installs the model.
    """
    try:
        category = body.cloth_category if body.mask_model is MaskModel.U2NET_CLOTH_SEG else ""
        return registry.find(body.mask_model), Selection(category=category)
    except InvalidRequest:
        if not (body.allow_built_in or settings.FOOOCUS_BUILT_IN_MASKS):
            raise
        return registry.find(BUILT_IN), Selection()


def unread(body: MaskBody, segmenter: Segmenter) -> list[str]:
    """The fields that were sent and changed nothing, because the segmenter does not read them."""
    read = {"image", "mask_model", "allow_built_in"}
    if segmenter.name == MaskModel.U2NET_CLOTH_SEG:
        read.add("cloth_category")
    return sorted(body.model_fields_set - read) + (["mask_model"] if segmenter.name == BUILT_IN else [])


class DescribeImage(DialectView):
    takes_pictures = True

    def post(self, request: Request) -> HttpResponse:
        """`{"describe": …}`. Both the JSON of the service and the form of its earlier versions are read."""
        sent, image_type = read_description_request(request)
        with limit_segmentations(request.user):
            picture = read_picture(sent, IMAGE, request).picture
            with computing:
                caption = describe(picture, Style(image_type.lower()))
        return json_response({"describe": caption.text}, headers={CAPTIONER_HEADER: caption.captioner})


def read_description_request(request: Request) -> tuple[SentPicture, ImageType]:
    fields = fastapi.form_fields(request) if isinstance(request.data, QueryDict) else body_of(request)
    if isinstance(fields.get("image"), UploadedFile):
        form = fastapi.validate(DescribeForm, {**fields, **request.query_params.dict()}, is_form=True)
        return SentPicture("image", form.image), form.type
    body = fastapi.validate(DescribeBody, fields)
    return SentPicture("image", body.image), body.image_type
