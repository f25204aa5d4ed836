"""Translates errors that reach the site to responses in the shape of the dialect whose path was called."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views import defaults

from accounts.authentication import KeyInUrl, key_from_headers, refuse_key_in_path
from inpainting.api import dialects, errors
from inpainting.api.dialect import Dialect
from inpainting.api.errors import ApiError, api_error, temporary_error
from inpainting.api.native.dialect import DIALECT as NATIVE
from inpainting.translation import translated

dialects.load()


def render_error(error: ApiError, path: str) -> HttpResponse:
    """Return the response of the path's dialect; of the native one for paths outside of every API."""
    dialect: Dialect = dialects.dialect_at(path) or NATIVE
    return dialect.render_error(error)


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """Return DRF's EXCEPTION_HANDLER."""
    return render_error(api_error(error), context["request"].path)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return Django's handler404: the HTML page for a browser outside of every API; else the error of the path's
    dialect, such as for a program that has a wrong address, or an API key in it."""
    try:
        refuse_key_in_path(request)
    except KeyInUrl as error:
        return render_error(api_error(error), request.path)
    if dialects.dialect_at(request.path) is None and wants_page(request):
        return defaults.page_not_found(request, exception)
    return render_error(errors.NOT_FOUND, request.path)


def wants_page(request: HttpRequest) -> bool:
    """Return whether HTML is expected. Browsers accept it by name wherever they show a page, and send no key."""
    return "text/html" in request.headers.get("Accept", "text/html") and key_from_headers(request) is None


def server_error(request: HttpRequest) -> HttpResponse:
    """Return Django's handler500, for errors outside of API views: the dialect's error, or an HTML page.

    On pages, a database that is locked and all else that is temporary has the status that it has in the APIs.
    """
    error = temporary_error(sys.exc_info()[1])
    if dialect := dialects.dialect_at(request.path):
        return dialect.render_error(error or errors.SERVER_ERROR)
    if error is None:
        return defaults.server_error(request)
    shown = replace(error, message=translated(error.message))
    page = render_to_string("503.html", {"error": shown})  # without the account, which is in the database
    return HttpResponse(page, status=error.status, headers=dict(error.headers))
