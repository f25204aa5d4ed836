"""Translates errors that reach the site to responses in the shape of the dialect whose path was called."""

from __future__ import annotations

import sys
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views import defaults

from inpainting.api import dialects, errors
from inpainting.api.dialect import Dialect
from inpainting.api.errors import ApiError, api_error, temporary_error
from inpainting.api.native.dialect import DIALECT as NATIVE

dialects.load()


def render_error(error: ApiError, path: str) -> HttpResponse:
    """Return the response of the path's dialect; of the native one for paths outside of every API."""
    dialect: Dialect = dialects.dialect_at(path) or NATIVE
    return dialect.render_error(error)


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """Return DRF's EXCEPTION_HANDLER."""
    return render_error(api_error(error), context["request"].path)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return Django's handler404: the dialect's error below its prefixes, the HTML page elsewhere."""
    dialect = dialects.dialect_at(request.path)
    return defaults.page_not_found(request, exception) if dialect is None else dialect.render_error(errors.NOT_FOUND)


def server_error(request: HttpRequest) -> HttpResponse:
    """Return Django's handler500, for errors outside of API views: the dialect's error, or an HTML page.

    On pages, a database that is locked and all else that is temporary has the status that it has in the APIs.
    """
    error = temporary_error(sys.exc_info()[1])
    if dialect := dialects.dialect_at(request.path):
        return dialect.render_error(error or errors.SERVER_ERROR)
    if error is None:
        return defaults.server_error(request)
    page = render_to_string("503.html", {"error": error})  # without the account, which is in the database
    return HttpResponse(page, status=error.status, headers=dict(error.headers))
