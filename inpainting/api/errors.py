"""`ApiError`, an error independent of any dialect, and the translation of exceptions into it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import DatabaseError, InterfaceError
from django.http import Http404
from rest_framework import exceptions, status

from accounts.hashers import HashingBusy
from accounts.outages import is_outage
from inpainting.accounting.limits import LimitReached
from inpainting.core.errors import InvalidImage, InvalidRequest, ModelRequired, PaintingError
from inpainting.core.sentences import mark, restored, sentence
from inpainting.generations.history import GenerationRemoved
from inpainting.media.files import ImageUnavailable, StorageAway
from inpainting.models import Generation, Status
from inpainting.storage import NOT_WRITABLE, StorageUnavailable, out_of_space

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5
MAX_QUOTED_CHARACTERS = 300
"""Longest part of a message that quotes what was sent."""
CODES = {
    exceptions.NotAuthenticated: "key_missing",
    exceptions.ParseError: "body_invalid",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.UnsupportedMediaType: "body_type_unsupported",
    exceptions.NotAcceptable: "not_acceptable",
    exceptions.Throttled: "rate_limited",
}
WAITING_TIMES = (mark("Expected available in {wait} second."), mark("Expected available in {wait} seconds."))
"""Sentences of DRF's `Throttled` that its Japanese catalog lacks: they are in ours, which precede it."""
STATUSES = {
    "draft_changed": 409,
    "stack_changed": 409,
    "idempotency_in_progress": 409,
    "idempotency_key_reused": 422,
}
"""HTTP statuses of the InvalidRequest codes that are not answered with 400."""
REFUSED_WHILE_PAINTING = frozenset({"control_image_missing"})
"""Codes of generations that failed because of what was sent: nobody is in the photo whose pose is to be kept."""
ENDED_STATUSES = {Status.CANCELLED: 409, Status.FAILED: 500}


class Conflict(exceptions.APIException):
    """The request does not fit the state of the object."""

    status_code = status.HTTP_409_CONFLICT


class NotBuilt(exceptions.APIException):
    """A function of another service that this server does not have."""

    status_code = status.HTTP_501_NOT_IMPLEMENTED
    default_code = "not_built"


class Busy(exceptions.APIException):
    """A request waited longer for its turn, or for its images, than its response may take."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "try_again"
    default_detail = sentence("The server is busy, so the request would be answered too late; try again in a moment.")


class ClientLeft(exceptions.APIException):
    """The client has disconnected before its turn; nobody reads the response."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "cancelled"
    default_detail = sentence("The client disconnected before it was the turn of this request.")


class TooLarge(InvalidImage):
    """An image has more bytes than are accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiError:
    """One error. A dialect renders it in its own shape, with its own status and wording where these differ."""

    status: int
    """HTTP status in the native API."""
    code: str
    """Stable, for programs."""
    message: str
    field: str | None = None
    limit: int | float | str | None = None
    actual: int | float | str | None = None
    generation_id: UUID | None = None
    """Set where a generation failed or was cancelled."""
    headers: Mapping[str, str] = dataclass_field(default_factory=dict)
    """Headers that belong to the status, such as Retry-After and WWW-Authenticate."""
    cause: Exception | None = None
    """The exception, for dialects that raise their own."""


NOT_FOUND = ApiError(status=404, code="not_found", message=sentence("There is nothing here."))
SERVER_ERROR = ApiError(
    status=500,
    code="internal_error",
    message=sentence("An unexpected error occurred on the server; its log has the details."),
)
STOPPING = ApiError(
    status=503,
    code="try_again",
    message=sentence("The server is restarting; your generation continues afterwards."),
    headers={"Retry-After": str(RETRY_SECONDS)},
)


def body_too_large(max_bytes: int) -> ApiError:
    message = sentence("The request is too large; at most {max_bytes} bytes are allowed.", max_bytes=max_bytes)
    return ApiError(status=413, code="body_too_large", message=message, limit=max_bytes)


def ending_error(generation: Generation) -> ApiError:
    """Return the error of a generation that failed or was cancelled."""
    is_refused = generation.error_code in REFUSED_WHILE_PAINTING
    return ApiError(
        status=400 if is_refused else ENDED_STATUSES[Status(generation.status)],
        code=generation.error_code or "cancelled",
        message=restored(generation.error_message, generation.sentences) or sentence("The generation was cancelled."),
        generation_id=generation.pk,
    )


def api_error(error: Exception) -> ApiError:
    """Translate an exception. One that is not expected becomes SERVER_ERROR and is logged."""
    if temporary := temporary_error(error):
        return temporary
    match error:
        case PaintingError():
            return painting_error(error)
        case ImageUnavailable():
            return image_unavailable(error)
        case exceptions.APIException():
            return framework_error(error)
        case Http404():
            return NOT_FOUND
        case PermissionDenied():
            return ApiError(status=403, code="forbidden", message=sentence("You may not do this."))
        case RequestDataTooBig():
            return ApiError(status=413, code="body_too_large", message=sentence("The request is too large."))
        case TooManyFilesSent() | TooManyFieldsSent():
            limit = settings.DATA_UPLOAD_MAX_NUMBER_FILES
            message = sentence("The request has too many parts; at most {limit} are read.", limit=limit)
            return ApiError(status=400, code="body_too_many_parts", message=message, limit=limit)
        case SuspiciousOperation():
            return ApiError(status=400, code="body_invalid", message=sentence("The request cannot be read."))
    logger.error("Unexpected error in an API view", exc_info=error)
    return SERVER_ERROR


def temporary_error(error: BaseException | None) -> ApiError | None:
    """Translate an exception that says what the server lacks for the moment, and log it in one line.

    None for all others. The APIs and the pages use it.
    """
    headers = {"Retry-After": str(RETRY_SECONDS)}
    match error:
        case OSError() | DatabaseError() if out_of_space(error):
            log_briefly("No space left", error)
            return ApiError(status=507, code="storage_full", message=sentence("There is no space left on the server."))
        case StorageUnavailable():
            log_briefly("The storage does not answer", error)
            return image_unavailable(StorageAway())
        case OSError() if error.errno in NOT_WRITABLE:
            log_briefly("The storage is read-only", error)
            message = sentence("The server cannot store anything now.")
            return ApiError(status=503, code="storage_read_only", message=message, headers=headers)
        case DatabaseError() | InterfaceError() if is_outage(error):
            log_briefly("The database does not answer", error)
            message = sentence("The server is temporarily overloaded; try again in a moment.")
            return ApiError(status=503, code="try_again", message=message, headers=headers, cause=error)
        case HashingBusy():
            log_briefly("Too many sign-ins at once", error)
            message = sentence("The server is checking as many passwords as it can. Try again in a few seconds.")
            return ApiError(status=503, code="try_again", message=message, headers=headers)
    return None


def log_briefly(what: str, error: Exception) -> None:
    """Log a fault of the surroundings in one line: a traceback shows only who has met it."""
    logger.error("%s: %s", what, " ".join(str(error).split()) or type(error).__name__)


def painting_error(error: PaintingError) -> ApiError:
    http_status = STATUSES.get(error.code, 400) if isinstance(error, InvalidRequest) else 500
    retry_after = None
    if isinstance(error, ModelRequired):
        http_status = 503
    elif isinstance(error, TooLarge):
        http_status = 413
    elif isinstance(error, GenerationRemoved):
        http_status = 410
    elif isinstance(error, LimitReached):
        http_status, retry_after = 429, error.retry_after_seconds
    return ApiError(
        status=http_status,
        code=error.code,
        message=error.message,
        field=error.field,
        limit=error.limit,
        actual=error.actual,
        headers={} if retry_after is None else {"Retry-After": str(retry_after)},
        cause=error,
    )


def image_unavailable(error: ImageUnavailable) -> ApiError:
    return ApiError(status=error.status, code=error.code, message=error.message, headers=error.headers, cause=error)


def framework_error(error: exceptions.APIException) -> ApiError:
    code = CODES.get(type(error)) or str(error.get_codes())
    message = str(error.detail)
    if code == "key_missing":
        message = sentence("Sign in, or send an API key: Authorization: Bearer <key> or X-API-Key: <key>.")
    if message.startswith("CSRF Failed"):
        code = "csrf"
    challenge: Any = getattr(error, "auth_header", None)
    headers = {"WWW-Authenticate": str(challenge)} if challenge else {}
    if isinstance(error, Busy):
        headers["Retry-After"] = str(RETRY_SECONDS)
    return ApiError(status=error.status_code, code=code, message=message, headers=headers, cause=error)
