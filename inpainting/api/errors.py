"""Every error of the native API in one shape: {"status": "error", "message", "code"[, "field", "limit", "actual"]}."""

from __future__ import annotations

import logging
from typing import Any, cast

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404
from rest_framework import exceptions, status
from rest_framework.response import Response

from inpainting.core.errors import InvalidRequest, PaintingError

logger = logging.getLogger(__name__)

CODES = {
    exceptions.NotAuthenticated: "key_missing",
    exceptions.ParseError: "body_invalid",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.UnsupportedMediaType: "body_type_unsupported",
    exceptions.NotAcceptable: "not_acceptable",
    exceptions.Throttled: "rate_limited",
}
FIELD_CODES = {"required": "field_missing", "null": "field_missing"}


class Conflict(exceptions.APIException):
    """What was asked no longer fits the state of the thing."""

    status_code = status.HTTP_409_CONFLICT


def answer(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler: any exception of an API view -> its answer."""
    match error:
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
        case SuspiciousOperation():
            return refusal(400, "The request cannot be read.", code="body_invalid")
    logger.error("%s broke", type(context.get("view")).__name__, exc_info=error)
    return refusal(500, "Something broke on the server; its log says why.", code="internal_error")


def refusal(http_status: int, message: str, *, code: str, details: dict[str, Any] | None = None) -> Response:
    body = {"status": "error", "message": message, "code": code, **(details or {})}
    return Response(body, status=http_status)


def painting_error(error: PaintingError) -> Response:
    details = {"field": error.field, "limit": error.limit, "actual": error.actual}
    http_status = 400 if isinstance(error, InvalidRequest) else 500
    if error.code == "image_too_large":
        http_status = 413
    said = {name: value for name, value in details.items() if value is not None}
    return refusal(http_status, error.message, code=error.code, details=said)


def invalid_field(error: exceptions.ValidationError) -> Response:
    """The first field that is wrong, in words."""
    details = cast("dict[str, list[exceptions.ErrorDetail]]", error.detail)  # what a serializer raises
    field, (problem, *_) = next(iter(details.items()))
    code = FIELD_CODES.get(problem.code or "", "field_invalid")
    message = f"Missing required field: {field}" if code == "field_missing" else f"{field}: {problem}"
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
