"""Links to pictures: private ones for their owner, and signed ones that any origin may load for RESULT_LINK_HOURS."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.http import HttpRequest
from django.http.request import validate_host
from django.urls import Resolver404, resolve, reverse
from rest_framework.request import Request

from accounts.models import ApiKey
from inpainting.core.errors import InvalidRequest
from inpainting.generations import history
from inpainting.models import GeneratedImage
from inpainting.models.generation_request import INPUT_IMAGES
from inpainting.models.pictures import StoredPicture

# The parts are separated by a dot, since these links end as file names, which must not contain a colon on every system.
SIGNER = signing.TimestampSigner(salt="dreamlayer.public-image", sep=".")
INPUT_ROUTES = {f"generation-{name.replace('_', '-')}": name for name in INPUT_IMAGES}
PICTURE_ROUTES = {"public-image", "public-image-twin", "generation-image", *INPUT_ROUTES}


def public_image_url(image: GeneratedImage, request: Request | HttpRequest) -> str:
    """An absolute, signed link that expires after RESULT_LINK_HOURS, or earlier with a key that ends its links."""
    key = getattr(request, "auth", None)
    named = f"{image.pk.hex}-{key.pk}" if isinstance(key, ApiKey) and key.ends_links else image.pk.hex
    return request.build_absolute_uri(reverse("public-image", args=[SIGNER.sign(named)]))


def public_image(token: str) -> GeneratedImage | None:
    """The image of a signed link. None if the link was altered, it or its key has ended, or the image was deleted."""
    try:
        signed = SIGNER.unsign(token, max_age=settings.RESULT_LINK_HOURS * 3600)
    except signing.BadSignature:
        return None
    pk, _, key_pk = signed.partition("-")
    if key_pk:
        key = ApiKey.objects.select_related("owner").filter(pk=key_pk).first()
        if key is None or not key.is_usable:
            return None
    return GeneratedImage.objects.filter(pk=pk).first()


def read_own_link(url: str, user: Any, *, field: str) -> bytes | None:
    """The bytes behind a link of this site, read from storage; None for the URL of another site.

    Raises InvalidRequest for a link of this site that leads to no picture of the user's.
    """
    route = own_route(url)
    if route is None:
        return None
    picture = picture_of(*route, user)
    try:
        if picture is not None:
            with picture.file.open("rb") as file:
                data: bytes = file.read()
            return data
    except FileNotFoundError:
        pass
    raise InvalidRequest("This link leads to no picture of yours.", code="url_not_allowed", field=field)


def own_route(url: str) -> tuple[str, dict[str, object]] | None:
    """Name and arguments of the picture route of this site that the URL matches, or None."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        match = resolve(parts.path)
    except (ValueError, Resolver404):  # ValueError: an unclosed bracket in the host
        return None
    if host is not None and not validate_host(f"[{host}]" if ":" in host else host, settings.ALLOWED_HOSTS):
        return None
    return (match.url_name, match.kwargs) if match.url_name in PICTURE_ROUTES else None


def picture_of(route: str, arguments: dict[str, object], user: Any) -> StoredPicture | None:
    if "token" in arguments:
        image = public_image(str(arguments["token"]))
        return image if image is not None and image.generation.owner_id == user.pk else None
    generation = history.find(user, UUID(str(arguments["pk"])))
    if generation is None:
        return None
    if route == "generation-image":
        return generation.images.filter(index=int(str(arguments["index"]))).first()
    picture: StoredPicture | None = getattr(generation, INPUT_ROUTES[route])
    return picture
