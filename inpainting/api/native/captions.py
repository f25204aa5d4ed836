"""`POST /api/captions/`: words for an image, as a prompt."""

from __future__ import annotations

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from accounts.models import Scope
from inpainting.api.analyses import respond_with_caption
from inpainting.api.dialect import json_response
from inpainting.api.images import IMAGE
from inpainting.api.native.bodies import read_body
from inpainting.api.native.dialect import DIALECT
from inpainting.api.native.schemas.captions import CAPTIONS, CaptionForm, DescribedImage
from inpainting.api.openapi import ACCEPTING, documented
from inpainting.api.views import AnyBodyView
from inpainting.captioning import Caption
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence


class Captions(AnyBodyView):
    """Describes an image with the first installed captioning model, or else by its colours."""

    required_scope = Scope.GENERATE
    takes_images = True

    @documented(
        "Describe an image",
        {200: DescribedImage},
        problems=(*ACCEPTING, 500),
        request=CAPTIONS,
        name="captions_create",
    )
    def post(self, request: Request) -> HttpResponseBase:
        body = read_body(request)
        style, image = CaptionForm.read(body.fields).style, body.image("image")
        if image is None:
            raise InvalidRequest(sentence("image is missing."), code="field_missing", field="image")
        return respond_with_caption(image, style, request, role=IMAGE, dialect=DIALECT, render=caption_response)


def caption_response(caption: Caption) -> HttpResponseBase:
    return json_response(DescribedImage.render(caption))
