"""Links at which an image can be uploaded without a key: an agent has files, and tools that send them, but no key."""

from __future__ import annotations

from typing import Any

from django.core import signing
from django.http import HttpResponse
from django.urls import reverse
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from accounts.models import ApiKey, User
from inpainting.api.dialect import json_response, origin_of
from inpainting.api.images import read_field
from inpainting.api.media.links import ending_key, image_link
from inpainting.api.parsers import ImageBytesParser, body_of
from inpainting.api.views import DialectView
from inpainting.core.errors import InvalidRequest
from inpainting.generations.uploads import store_upload
from inpainting.models import UploadedImage

SIGNER = signing.TimestampSigner(salt="dreamlayer.mcp-upload", sep=".")
SECONDS = 15 * 60
"""How long images can be uploaded at a link."""
INVALID = "This link is not valid, or has expired."


def upload_address(request: Request) -> str:
    key = request.auth.pk if isinstance(request.auth, ApiKey) else ""
    return origin_of(request) + reverse("mcp-upload", args=[SIGNER.sign(f"{request.user.pk}-{key}")])


class LinkAuthentication(BaseAuthentication):
    """The user and the key for whom the link was made. Raises NotFound where it or they are not valid any more."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey | None]:
        try:
            user, _, key = SIGNER.unsign(request.parser_context["kwargs"]["token"], max_age=SECONDS).partition("-")
        except signing.BadSignature as error:
            raise NotFound(INVALID) from error
        owner = User.objects.filter(pk=user, is_active=True).first()
        found = ApiKey.objects.select_related("owner").filter(pk=key).first() if key else None
        if owner is None or (key and (found is None or not found.is_usable)):
            raise NotFound(INVALID)
        return owner, found


class SentFile(DialectView):
    """`POST`, with an image as the whole body: `{"image"}`, a link for the tools."""

    authentication_classes: Any = (LinkAuthentication,)
    parser_classes: Any = (ImageBytesParser,)
    takes_images = True

    def post(self, request: Request, token: str) -> HttpResponse:
        file = body_of(request).get("image")
        if file is None:
            raise InvalidRequest("The body must be an image.", code="field_missing", field="image")
        image = read_field("image", file, request).image
        uploaded = store_upload(request.user, image)
        return json_response({"image": link_of(uploaded, "image", request)}, status=201)


def link_of(uploaded: UploadedImage, name: str, request: Request) -> str:
    return image_link("inputs", f"{name}.png", uploaded, origin=origin_of(request), key=ending_key(request))
