"""`/api/draft/`: what the caller has open in the editor, and the files that it names."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls.converters import StringConverter
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.parsers import FileUploadParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Scope
from inpainting.api.images import IMAGE, SentImage, decode_sent
from inpainting.api.native.schemas.drafts import SHA256, DraftDocument, DraftForm, SavedDraft
from inpainting.api.openapi import READING, RESULT, documented
from inpainting.api.parsers import JsonObjectParser, Limit, body_of
from inpainting.api.views import ImageView
from inpainting.core.codecs import encode_png
from inpainting.core.codecs.colour import to_8_bits
from inpainting.core.errors import InvalidRequest
from inpainting.core.image import CanonicalImage
from inpainting.core.sentences import sentence
from inpainting.generations import drafts
from inpainting.media.conversions import converting
from inpainting.media.files import OWNERS_ONLY, image_response
from inpainting.models import DraftImage

NOT_CACHED = {"Cache-Control": "private, no-store"}


class Sha256Converter(StringConverter):
    regex = SHA256


class DraftParser(JsonObjectParser):
    """Long strokes have many points: 500,000 values are about 125,000 points, which take 40 MB when parsed."""

    limit = Limit(b",[{", 500_000, "values")
    storable = False  # `drafts.check_document` refuses what cannot be stored: it keeps the document as text.
    max_bytes = 8 * 2**20


class FileParser(FileUploadParser):
    """The body is the file, without a name."""

    def get_filename(self, stream: Any, media_type: Any, parser_context: Any) -> str:
        return "picture"


class DraftView(APIView):
    required_scope = {"GET": Scope.READ, "PUT": Scope.MANAGE}  # noqa: RUF012 - read by DRF, never changed
    parser_classes = (DraftParser,)
    takes_images = True  # only to be larger than settings

    @documented("Get your draft in the editor", {200: DraftDocument}, name="draft_retrieve")
    def get(self, request: Request) -> Response:
        return Response(DraftDocument.of(drafts.find(request.user)).model_dump(), headers=NOT_CACHED)

    @documented(
        "Replace your draft in the editor",
        {200: SavedDraft},
        problems=(*READING, 409, 503, 507),
        request=DraftForm,
        name="draft_update",
    )
    def put(self, request: Request) -> Response:
        """409 `draft_changed` if its revision is no longer the one that was sent: get the newer draft first. 400
        `draft_pictures_missing` if an image was not uploaded. Images that the draft no longer names are deleted."""
        body = body_of(request)
        sent = DraftForm.read(body)
        body.clear()  # the request is freed by a garbage collection alone; 40 MB of values should not wait for it
        draft = drafts.save(request.user, sent.document, revision=sent.revision, images=set(sent.pictures))
        return Response(SavedDraft.render(draft), headers=NOT_CACHED)


IMAGE_PARAMETERS = [OpenApiParameter("sha256", {"type": "string", "pattern": f"^{SHA256}$"}, OpenApiParameter.PATH)]


@extend_schema(parameters=IMAGE_PARAMETERS)
class DraftImageView(ImageView):
    required_scope = {"GET": Scope.READ, "PUT": Scope.MANAGE}  # noqa: RUF012 - read by DRF, never changed
    parser_classes = (FileParser,)
    takes_images = True

    @documented("Get an image of your draft", RESULT, problems=(404, 410, 416), name="draft_picture_retrieve")
    def get(self, request: Request, sha256: str) -> Any:
        """The file as it was uploaded."""
        image = get_object_or_404(DraftImage, owner=request.user, sha256=sha256)
        headers = {**OWNERS_ONLY, **NOT_CACHED, "Content-Type": f"image/{image.extension}"}
        return image_response(request, image.file, headers)

    @documented(
        "Upload an image for your draft",
        {204: None},
        problems=(*READING, 404, 429, 503, 507),
        request={"image/*": OpenApiTypes.BINARY},
        name="draft_picture_update",
    )
    def put(self, request: Request, sha256: str) -> Response:
        """The body is the file, in a format and of a size that `image` of a generation accepts. It is kept for a day,
        and for as long as the draft names it."""
        file = request.FILES.get("file")
        if file is None:
            raise InvalidRequest(sentence("The body is empty."), code="image_empty")
        with file:  # Django closes those of forms only
            if file.size > IMAGE.max_bytes:
                raise IMAGE.too_large(SentImage("body", file), file.size)
            drafts.store_image(request.user, sha256, file)
        return Response(status=204)


@extend_schema(parameters=IMAGE_PARAMETERS)
class DraftImagePng(ImageView):
    required_scope = Scope.READ

    @documented(
        "Get an image of your draft as PNG",
        {(200, "image/png"): OpenApiTypes.BINARY},
        problems=(400, 404, 410, 503),
        name="draft_picture_png_retrieve",
    )
    def get(self, request: Request, sha256: str) -> HttpResponse:
        """A copy to show where the file itself cannot be shown, as with TIFF and HEIC in most browsers: upright, with 8
        bits a channel, alpha and the colour profile."""
        stored = get_object_or_404(DraftImage, owner=request.user, sha256=sha256)
        with converting():
            with stored.file.open("rb") as file:
                image = decode_sent(SentImage("picture", ""), file.read(), IMAGE).image
            png = encode_png(CanonicalImage(to_8_bits(image.pixels), image.icc_profile))
        return HttpResponse(png, content_type="image/png", headers={**OWNERS_ONLY, **NOT_CACHED})
