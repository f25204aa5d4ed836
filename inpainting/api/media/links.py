"""Links to images: private ones for their owner, and signed ones that any origin may load until they expire.

`public_image_url` makes those of the native API. `result_link` and `image_link` make those of other services, which
end in a file name: `/<folder>/<token>/<name>`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, cast, get_args
from urllib.parse import unquote, urlsplit
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db.models import Q
from django.http import HttpRequest
from django.http.request import validate_host
from django.urls import Resolver404, resolve, reverse
from django.utils import timezone
from rest_framework.request import Request

from accounts.models import ApiKey, Scope
from accounts.permissions import check_scope
from inpainting.core.adapter_uses import CONDITIONING_IMAGES
from inpainting.core.codecs.formats import EXTENSIONS, PNG
from inpainting.core.errors import InvalidRequest
from inpainting.core.sentences import sentence
from inpainting.generations import history
from inpainting.generations.uploads import find_mask
from inpainting.models import DraftImage, GeneratedImage, Generation, Mask, ReferenceImage, SourceImage, UploadedImage

# The parts are separated by a dot, since these links end as file names, which must not contain a colon on every system.
SIGNER = signing.TimestampSigner(salt="dreamlayer.public-image", sep=".")
RESULT = "result"
UPLOAD = "upload-"
"""The beginning of what the link of an uploaded image signs."""
InputImage = SourceImage | Mask | ReferenceImage | UploadedImage
AnyImage = GeneratedImage | DraftImage | InputImage
INPUTS: dict[str, type[InputImage]] = {str(model._meta.model_name): model for model in get_args(InputImage)}
INPUT_ROUTES = {"generation-source": "source", "generation-mask": "mask"}
IMAGE_ROUTES = {
    *("public-image", "public-image-twin", "named-image", "generation-image", "generation-conditioning-image"),
    *("draft-image", "mask-file"),
    *INPUT_ROUTES,
}


def ending_key(request: Request | HttpRequest) -> int | None:
    """Return the primary key of the request's API key if links made with it end with it."""
    key = getattr(request, "auth", None)
    return key.pk if isinstance(key, ApiKey) and key.ends_links else None


def public_image_url(image: GeneratedImage, request: Request | HttpRequest) -> str:
    """Return an absolute, signed link that expires after RESULT_LINK_HOURS, or earlier with a key that ends its
    links."""
    token = SIGNER.sign(named_with_key(image, request))
    return request.build_absolute_uri(reverse("public-image", args=[token, EXTENSIONS[image.format]]))


def public_upload_name(image: UploadedImage, request: Request) -> str:
    """Return the name by which an uploaded image can be loaded from `/images/` and `/api/images/`; see
    `public_image_url`."""
    return f"{SIGNER.sign(UPLOAD + named_with_key(image, request))}.{EXTENSIONS[PNG]}"


def named_with_key(image: GeneratedImage | UploadedImage, request: Request | HttpRequest) -> str:
    key = ending_key(request)
    return image.pk.hex if key is None else f"{image.pk.hex}-{key}"


def public_image(token: str) -> GeneratedImage | UploadedImage | None:
    """Return the image of a signed link. None if the link was altered, it or its key has ended, or the image was
    deleted or removed."""
    try:
        signed = SIGNER.unsign(token, max_age=settings.RESULT_LINK_HOURS * 3600)
    except signing.BadSignature:
        return None
    pk, _, key = signed.removeprefix(UPLOAD).partition("-")
    if not is_usable(key):
        return None
    return find_upload(pk) if signed.startswith(UPLOAD) else find_result(pk=pk)


def result_link(
    folder: str,
    name: str,
    generation: Generation,
    index: int = 0,
    *,
    origin: str,
    key: int | None = None,
    hours: float | None = None,
) -> str:
    """Return a signed link to a result that ends in `name`. It may be made before the result exists, and leads to 404
    until then.

    folder: `generations`, or `images` or `outputs` with a date, as in `outputs/2026-11-22`.
    name: its extension is the format of the image.
    origin: such as `https://host:8000`.
    key: see `ending_key`.
    hours: until the link expires; None: RESULT_LINK_HOURS.
    """
    return _named_link(folder, name, (RESULT, generation.pk, index), origin=origin, key=key, hours=hours)


def dated_links(generation: Generation, *, origin: str, key: int | None) -> dict[str, str]:
    """Return the links to the results of an ended generation by their file names, in a folder with its date; see
    `result_link`."""
    folder, extension = f"images/{generation.created_at:%Y-%m-%d}", EXTENSIONS[generation.settings["output_format"]]
    names = {f"{generation.pk}-{image.index}.{extension}": image.index for image in generation.images.all()}
    return {name: result_link(folder, name, generation, index, origin=origin, key=key) for name, index in names.items()}


def image_link(
    folder: str,
    name: str,
    image: InputImage,
    *,
    origin: str,
    key: int | None = None,
    hours: float | None = None,
) -> str:
    """Return a signed link to an input or uploaded image; see `result_link`.

    folder: also `inputs`.
    """
    kind = str(image._meta.model_name)
    return _named_link(folder, name, (kind, image.pk, 0), origin=origin, key=key, hours=hours)


def _named_link(
    folder: str, name: str, image: tuple[str, UUID, int], *, origin: str, key: int | None, hours: float | None
) -> str:
    kind, pk, index = image
    expires = int(time.time() + (settings.RESULT_LINK_HOURS if hours is None else hours) * 3600)
    token = signer(folder, name).sign(f"{kind}-{pk.hex}-{index}-{expires}-{'' if key is None else key}")
    return origin + reverse("named-image", args=[folder, token, name])


def signer(folder: str, name: str) -> signing.Signer:
    """Return the signer of the tokens in links of that folder and file name, both of which it signs too."""
    return signing.Signer(salt=f"dreamlayer.named-picture/{folder}/{name}", sep=".")


def named_image(folder: str, token: str, name: str) -> AnyImage | None:
    """Return the image of a link with a name. None if any part of the link was altered, the link, its key or the
    generation has ended, there is no such image (yet), or an administrator removed a generation that has it."""
    try:
        kind, pk, index, expires, key = signer(folder, name).unsign(token).split("-")
    except signing.BadSignature:
        return None
    if int(expires) < time.time() or not is_usable(key):
        return None
    if kind == RESULT:
        return find_result(generation=pk, index=index)
    if INPUTS[kind] is UploadedImage:
        return find_upload(pk)
    image: Any = INPUTS[kind]._default_manager.filter(pk=pk).first()
    return None if image is None or belongs_to_hidden(image) else image


def belongs_to_hidden(image: SourceImage | Mask | ReferenceImage) -> bool:
    """Return whether an administrator removed one of the generations with this input image, or their owner deleted
    all."""
    if isinstance(image, ReferenceImage):
        columns = (Q(**{name: image}) for name in CONDITIONING_IMAGES)
        with_it = list(Generation.objects.filter(reduce(or_, columns)).only("verdict", "deleted_at"))
    else:
        with_it = list(image.generations.only("verdict", "deleted_at"))
    return any(generation.is_removed for generation in with_it) or all(generation.is_hidden for generation in with_it)


def is_usable(key: str) -> bool:
    """Return whether links that end with this key, "" for none, work."""
    row = ApiKey.objects.select_related("owner").filter(pk=key).first() if key else None
    return not key or (row is not None and row.is_usable)


def find_upload(pk: str) -> UploadedImage | None:
    return UploadedImage.objects.filter(pk=pk, expires_at__gt=timezone.now()).first()


def find_result(**where: Any) -> GeneratedImage | None:
    image = GeneratedImage.objects.select_related("generation").filter(**where).first()
    if image is None or image.generation.is_hidden:
        return None
    expires_at = image.generation.expires_at
    return image if expires_at is None or expires_at > timezone.now() else None


@dataclass(frozen=True, slots=True)
class ReadFile:
    """The bytes of an image as sent."""

    data: bytes
    is_own: bool = False  # whether this site wrote the file, see `IntakeLimits`


def read_own_link(url: str, request: Request, *, field: str) -> ReadFile | None:
    """Return the file of the image behind a link of this site, read from storage; None for the URL of another site.

    Raises InvalidRequest for a link of this site that leads to no image of the user's, PermissionDenied if it is not
    signed and the request's API key may not read the history.
    """
    route = own_route(url)
    if route is None:
        return None
    if "token" not in route[1]:
        check_scope(request, Scope.READ)
    image = image_of(*route, request.user)
    try:
        if image is not None:
            with image.file.open("rb") as file:
                return ReadFile(file.read(), is_own=not isinstance(image, DraftImage))
    except FileNotFoundError:
        pass
    raise InvalidRequest(sentence("This link leads to no image of yours."), code="url_not_allowed", field=field)


def own_route(url: str) -> tuple[str, dict[str, object]] | None:
    """Name and arguments of the image route of this site that the URL matches, or None."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        match = resolve(unquote(parts.path))
    except (ValueError, Resolver404):  # ValueError: an unclosed bracket in the host
        return None
    if host is not None and not validate_host(f"[{host}]" if ":" in host else host, settings.ALLOWED_HOSTS):
        return None
    return (match.url_name, match.kwargs) if match.url_name in IMAGE_ROUTES else None


def image_of(route: str, arguments: dict[str, Any], user: Any) -> AnyImage | None:
    """Return the image of the route if it is the user's."""
    if "token" in arguments:
        image = named_image(**arguments) if route == "named-image" else public_image(arguments["token"])
        return image if image is not None and owner_of(image) == user.pk else None
    if route == "draft-image":
        return DraftImage.objects.filter(owner=user, sha256=arguments["sha256"]).first()
    if route == "mask-file":
        return find_mask(user, arguments["pk"])
    generation = history.for_user(user).filter(pk=arguments["pk"]).first()
    if generation is None:
        return None
    if route == "generation-image":
        return generation.images.filter(index=arguments["index"]).first()
    name = arguments["name"] if route == "generation-conditioning-image" else INPUT_ROUTES[route]
    return cast("InputImage | None", generation.inputs.get(name))


def owner_of(image: AnyImage) -> Any:
    """Return the primary key of the image's owner."""
    return image.generation.owner_id if isinstance(image, GeneratedImage) else image.owner_id
