"""Every error of the native API in one shape: {"status": "error", "message", "code"[, "field", "limit", "actual"]}."""

from __future__ import annotations

import logging
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.response import Response

from inpainting.accounting.limits import LimitReached
from inpainting.core.errors import InvalidPicture, InvalidRequest, PaintingError
from inpainting.storage import out_of_space

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5
MOST_CHARACTERS = 300
"""Of a message that repeats what was sent."""
CODES = {
    exceptions.NotAuthenticated: "key_missing",
    exceptions.ParseError: "body_invalid",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.UnsupportedMediaType: "body_type_unsupported",
    exceptions.NotAcceptable: "not_acceptable",
    exceptions.Throttled: "rate_limited",
}
HTTP_STATUSES = {"idempotency_in_progress": 409, "idempotency_key_reused": 422}
"""Of what is wrong with a request; everything else is a 400."""
FIELD_CODES = {"required": "field_missing", "null": "field_missing"}


class Conflict(exceptions.APIException):
    """What was asked no longer fits the state of the thing."""

    status_code = status.HTTP_409_CONFLICT


class Gone(exceptions.APIException):
    """A picture whose row is there and whose file is not: lost, or deleted by hand."""

    status_code = status.HTTP_410_GONE
    default_detail = "The file of this picture is gone."
    default_code = "result_expired"


class TooLarge(InvalidPicture):
    """More bytes than are taken, whatever they are."""


def answer(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler: any exception of an API view -> its answer."""
    match error:
        case LimitReached():
            return over_limit(error)
        case PaintingError():
            return painting_error(error)
        case exceptions.ValidationError():
            return invalid_field(error)
        case exceptions.APIException():
            return api_error(error)
        case Http404():
            return refusal(404, "There is nothing here.", code="not_found")
        case PermissionDenied():
            return refusal(403, "You may not do this.", code="forbidden")
        case RequestDataTooBig():
            return refusal(413, "The request is too large.", code="body_too_large")
        case TooManyFilesSent() | TooManyFieldsSent():
            limit = settings.DATA_UPLOAD_MAX_NUMBER_FILES
            message = f"The request has too many parts; at most {limit} are read."
            return refusal(400, message, code="body_too_many_parts", details={"limit": limit})
        case SuspiciousOperation():
            return refusal(400, "The request cannot be read.", code="body_invalid")
        case OSError() | DatabaseError() if out_of_space(error):
            logger.error("No space left", exc_info=error)
            return refusal(507, "There is no space left on the server.", code="storage_full")
        case OperationalError() | InterfaceError():
            logger.error("The database does not answer", exc_info=error)
            response = refusal(503, "The server is busy with itself; try again in a moment.", code="try_again")
            response["Retry-After"] = str(RETRY_SECONDS)
            return response
    logger.error("%s broke", type(context.get("view")).__name__, exc_info=error)
    return refusal(500, "Something broke on the server; its log says why.", code="internal_error")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404 for addresses that no route knows: JSON below /api/, the page elsewhere."""
    if request.path.startswith("/api/"):
        return JsonResponse({"status": "error", "message": "There is nothing here.", "code": "not_found"}, status=404)
    return defaults.page_not_found(request, exception)


def refusal(http_status: int, message: str, *, code: str, details: dict[str, Any] | None = None) -> Response:
    body = {"status": "error", "message": message, "code": code, **(details or {})}
    return Response(body, status=http_status)


def painting_error(error: PaintingError) -> Response:
    http_status = HTTP_STATUSES.get(error.code, 400) if isinstance(error, InvalidRequest) else 500
    if isinstance(error, TooLarge):
        http_status = 413
    details = {"field": error.field, "limit": error.limit, "actual": error.actual}
    known = {name: value for name, value in details.items() if value is not None}
    return refusal(http_status, error.message, code=error.code, details=known)


def over_limit(error: LimitReached) -> Response:
    response = refusal(429, error.message, code=error.code, details={"limit": error.limit, "actual": error.actual})
    if error.retry_after_seconds is not None:
        response["Retry-After"] = str(error.retry_after_seconds)
    return response


def invalid_field(error: exceptions.ValidationError) -> Response:
    """The first field that is wrong, in words."""
    details = cast("dict[str, list[exceptions.ErrorDetail]]", error.detail)  # what a serializer raises
    field, (problem, *_) = next(iter(details.items()))
    code = FIELD_CODES.get(problem.code or "", "field_invalid")
    message = f"Missing required field: {field}" if code == "field_missing" else f"{field}: {problem[:MOST_CHARACTERS]}"
    return refusal(400, message, code=code, details={"field": field})


def api_error(error: exceptions.APIException) -> Response:
    code = CODES.get(type(error)) or str(error.get_codes())
    message = str(error.detail)
    if code == "key_missing":
        message = "Sign in, or send an API key: Authorization: Bearer <key> or X-API-Key: <key>."
    if message.startswith("CSRF Failed"):
        code = "csrf"
    response = refusal(error.status_code, message, code=code)
    if header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = header
    return response
