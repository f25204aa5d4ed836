"""Links to pictures: private ones for the owner, and signed ones that other origins may load for a while."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.http.request import validate_host
from django.urls import Resolver404, resolve, reverse
from rest_framework.request import Request

from inpainting.core.errors import InvalidRequest
from inpainting.generations import history
from inpainting.models import GeneratedImage
from inpainting.models.generation import GIVEN
from inpainting.models.pictures import StoredPicture

# A dot between the parts: these links end as file names, and a colon is no part of one everywhere.
SIGNER = signing.TimestampSigner(salt="dreamlayer.public-image", sep=".")
GIVEN_ROUTES = {f"generation-{name.replace('_', '-')}": name for name in GIVEN}
PICTURE_ROUTES = {"public-image", "public-image-twin", "generation-image", *GIVEN_ROUTES}


def public_image_url(image: GeneratedImage, request: Request) -> str:
    """An absolute link that nobody can guess; it ends after RESULT_LINK_HOURS."""
    return request.build_absolute_uri(reverse("public-image", args=[SIGNER.sign(image.pk.hex)]))


def public_image(token: str) -> GeneratedImage | None:
    """The picture behind a link, or None where the link is altered, too old, or the picture is gone."""
    try:
        pk = SIGNER.unsign(token, max_age=settings.RESULT_LINK_HOURS * 3600)
    except signing.BadSignature:
        return None
    return GeneratedImage.objects.filter(pk=pk).first()


def stored_picture(url: str, request: Request, *, field: str) -> bytes | None:
    """The bytes behind one of our own links, read from storage; None for an address elsewhere.

    Raises InvalidRequest for a link of ours that leads to no picture of the caller's: missing, ended, somebody else's.
    """
    route = own_route(url)
    if route is None:
        return None
    picture = picture_behind(*route, request)
    try:
        if picture is not None:
            with picture.file.open("rb") as file:
                data: bytes = file.read()
            return data
    except FileNotFoundError:
        pass
    raise InvalidRequest("This link leads to no picture of yours.", code="url_not_allowed", field=field)


def own_route(url: str) -> tuple[str, dict[str, object]] | None:
    """The name and arguments of the picture route that a URL of this site names, or None."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        match = resolve(parts.path)
    except (ValueError, Resolver404):  # ValueError: brackets that do not close
        return None
    if host is not None and not validate_host(f"[{host}]" if ":" in host else host, settings.ALLOWED_HOSTS):
        return None
    return (match.url_name, match.kwargs) if match.url_name in PICTURE_ROUTES else None


def picture_behind(name: str, arguments: dict[str, object], request: Request) -> StoredPicture | None:
    if "token" in arguments:
        image = public_image(str(arguments["token"]))
        return image if image is not None and image.generation.owner_id == request.user.pk else None
    generation = history.find(request.user, UUID(str(arguments["pk"])))
    if generation is None:
        return None
    if name == "generation-image":
        return generation.images.filter(index=int(str(arguments["index"]))).first()
    picture: StoredPicture | None = getattr(generation, GIVEN_ROUTES[name])
    return picture
