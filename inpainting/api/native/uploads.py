"""`POST /api/upload-mask`: a mask that later requests name by its link."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from inpainting.api.dialect import origin_of
from inpainting.api.images import MASK, SentImage, read_image
from inpainting.api.media.links import ending_key, image_link
from inpainting.api.native.bodies import read_body
from inpainting.api.native.schemas.uploads import MaskUpload, UploadedMask
from inpainting.api.openapi import READING, documented
from inpainting.api.views import AnyBodyView
from inpainting.core.errors import InvalidRequest
from inpainting.generations.uploads import store_upload
from inpainting.media.archives import safe_stem


class UploadMask(AnyBodyView):
    required_scope = Scope.GENERATE
    takes_images = True

    @documented(
        "Upload a mask",
        {200: UploadedMask},
        problems=(*READING, 429, 503, 507),
        request={"multipart/form-data": MaskUpload},
    )
    def post(self, request: Request) -> Response:
        """The response has a link that `mask` accepts in place of the file."""
        sent = read_sent_mask(request)
        mask = read_image(sent, MASK, request)
        uploaded = store_upload(request.user, mask.image)
        name = f"{safe_stem(sent.name) or 'mask'}.png"
        values = {
            "message": "Mask uploaded",
            "filename": name,
            "size": getattr(sent.value, "size", uploaded.byte_count),
            "url": image_link("inputs", name, uploaded, origin=origin_of(request), key=ending_key(request)),
        }
        return Response(UploadedMask.render(values))


def read_sent_mask(request: Request) -> SentImage:
    """The field `file`. Raises InvalidRequest where there is none, or where its name does not end in .png."""
    sent = read_sent_file(request)
    if sent.name and not sent.name.lower().endswith(".png"):
        raise InvalidRequest("Only PNG files are supported", code="mask_type_unsupported", field="file")
    return sent


def read_sent_file(request: Request) -> SentImage:
    """The field `file`. Raises InvalidRequest where there is none."""
    body = read_body(request)
    sent = body.image("file")
    if sent is None:
        message = "No file selected" if "file" in body.empty else "No file provided"
        raise InvalidRequest(message, code="field_missing", field="file")
    return sent
