"""Responses to requests that are not read to their end, and the reasons for them."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse

from inpainting.api.error_handlers import render_error
from inpainting.api.errors import ApiError

RETRY_AFTER = {"Retry-After": "5"}


def refusal(error: ApiError, path: str, *, origin: str) -> HttpResponse:
    """Return the error of the API that the path belongs to. The connection is closed, since the rest is not read."""
    return closing(render_error(error, path), origin=origin)


def closing(response: HttpResponse, *, origin: str) -> HttpResponse:
    """Add to a response the headers of one after which the connection is closed."""
    response["Connection"] = "close"
    response["Content-Length"] = str(len(response.content))
    if origin in settings.CORS_ALLOWED_ORIGINS:  # Lets pages of that origin read the error.
        response["Access-Control-Allow-Origin"] = origin
        response["Vary"] = "Origin"
    return response


def head_too_slow() -> ApiError:
    seconds = settings.REQUEST_HEAD_SECONDS
    message = f"The request line and headers took longer than {seconds:g} seconds."
    return ApiError(status=408, code="request_too_slow", message=message, limit=seconds)


def body_too_slow() -> ApiError:
    rate = settings.REQUEST_BODY_BYTES_PER_SECOND
    message = (
        f"The body arrived too slowly: after {settings.REQUEST_BODY_SECONDS:g} seconds, "
        f"{rate} bytes per second are needed on average."
    )
    return ApiError(status=408, code="request_too_slow", message=message, limit=rate)


def too_many_chunks(min_bytes: int) -> ApiError:
    message = f"The body arrived in too many chunks; send chunks of at least {min_bytes} bytes."
    return ApiError(status=400, code="body_too_many_chunks", message=message, limit=min_bytes)


def too_many_uploads() -> ApiError:
    message = "Your address sends too much at the same time; send one request after another."
    return ApiError(status=429, code="too_many_uploads", message=message, headers=RETRY_AFTER)


def too_many_connections(limit: int) -> ApiError:
    message = f"Your address has {limit} connections already, which is the limit; close some of them."
    return ApiError(status=429, code="too_many_connections", message=message, limit=limit, headers=RETRY_AFTER)


def too_many_downloads() -> ApiError:
    limit = settings.DOWNLOADS_PER_ADDRESS
    message = f"Your address receives {limit} images and archives already, which is the limit; finish some of them."
    return ApiError(status=429, code="too_many_downloads", message=message, limit=limit, headers=RETRY_AFTER)


def server_full() -> ApiError:
    message = "The server has no connections left; try again in a moment."
    return ApiError(status=503, code="try_again", message=message, headers=RETRY_AFTER)
