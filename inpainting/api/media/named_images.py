"""The view of signed links that end in a file name, as other services have them."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from inpainting.api.media.links import named_image
from inpainting.core.codecs.formats import FORMATS_BY_EXTENSION, PNG, format_of
from inpainting.core.settings_table import DEFAULT_QUALITY
from inpainting.media.files import FOR_EVERY_ORIGIN, ImageUnavailable, linked_image_response
from inpainting.media.results import file_in_format

CONVERTING_FOLDERS = ("outputs", "inputs")
"""Where an Accept header with exactly one image type chooses the format, as in the Fooocus API."""


@require_safe
def get_named_image(request: HttpRequest, folder: str, token: str, name: str) -> HttpResponseBase:
    """Return the image in the format of the name's extension. Every error has an empty body: 404, 410, 416 or 503."""
    image = named_image(folder, token, name)
    if image is None:
        return nothing_here(request)
    format = format_of(name) or PNG
    converts = folder.startswith(CONVERTING_FOLDERS)
    if converts:
        format = accepted_format(request.headers.get("Accept", "")) or format
    try:
        file = file_in_format(image, format, quality=DEFAULT_QUALITY)
        response = linked_image_response(request, file, FOR_EVERY_ORIGIN)
    except ImageUnavailable as error:
        response = HttpResponse(status=error.status, headers={**FOR_EVERY_ORIGIN, **error.headers})
    if converts:
        patch_vary_headers(response, ["Accept"])
    return response


def nothing_here(request: HttpRequest) -> HttpResponse:
    """Return 404 with an empty body. Not to be cached, since a link may be made before its result."""
    return HttpResponse(status=404, headers=FOR_EVERY_ORIGIN)


def accepted_format(accept: str) -> str | None:
    """Return the format that an Accept header names alone; None for several types, or another one."""
    kind, _, subtype = accept.strip().lower().partition("/")
    return FORMATS_BY_EXTENSION.get(subtype) if kind == "image" else None
