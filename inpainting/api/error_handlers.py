"""Errors that reach the site -> responses in the shape of the dialect whose path was called."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from inpainting.api import dialects, errors
from inpainting.api.dialect import Dialect
from inpainting.api.errors import ApiError, api_error
from inpainting.api.native.dialect import DIALECT as NATIVE

dialects.load()


def render_error(error: ApiError, path: str) -> HttpResponse:
    """The response of the path's dialect; of the native one for paths outside of every API."""
    dialect: Dialect = dialects.dialect_at(path) or NATIVE
    return dialect.render_error(error)


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """DRF's EXCEPTION_HANDLER."""
    return render_error(api_error(error), context["request"].path)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404: the dialect's error below its prefixes, the HTML page elsewhere."""
    dialect = dialects.dialect_at(request.path)
    return defaults.page_not_found(request, exception) if dialect is None else dialect.render_error(errors.NOT_FOUND)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500, for errors outside of views: the dialect's error, or the HTML page."""
    dialect = dialects.dialect_at(request.path)
    return defaults.server_error(request) if dialect is None else dialect.render_error(errors.SERVER_ERROR)
