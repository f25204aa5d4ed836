"""The language of a response: the account's, that of the cookie, that of the browser, or LANGUAGE_CODE.

The compatible APIs answer in English, as the services whose clients they serve.
"""

from __future__ import annotations

import hashlib
from functools import cache
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.urls import reverse
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import cache_control
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe
from django.views.i18n import JavaScriptCatalog

from accounts.models import User
from inpainting.api.dialects import dialect_at

TRANSLATED_TYPES = ("text/html", "application/json", "text/plain")
"""The content types of responses that contain sentences."""


class LanguageMiddleware(LocaleMiddleware):
    """Activates the language of the request. It follows AuthenticationMiddleware, because the account has one."""

    def process_request(self, request: HttpRequest) -> None:
        language = language_of(request)
        translation.activate(language)
        request.LANGUAGE_CODE = language

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if is_translated(request.path_info) and response.headers.get("Content-Type", "").startswith(TRANSLATED_TYPES):
            patch_vary_headers(response, ["Accept-Language"])
            response.headers.setdefault("Content-Language", translation.get_language())
        return response


def language_of(request: HttpRequest) -> str:
    """Return the code of the language in which the request is answered."""
    if not is_translated(request.path_info):
        return settings.LANGUAGE_CODE
    # Without a session it is not looked at, so that caches may share the response.
    user = AnonymousUser() if request.session.session_key is None else request.user
    chosen = user.chosen_language if isinstance(user, User) else ""
    return chosen or translation.get_language_from_request(request)


def is_translated(url_path: str) -> bool:
    """Return whether responses below the path are translated: pages and the native API."""
    dialect = dialect_at(url_path)
    return dialect is None or dialect.is_translated


def catalog_url() -> str | None:
    """Return the URL of the sentences of the modules in the language of the page; None for English."""
    language = translation.get_language() or settings.LANGUAGE_CODE
    if language == settings.LANGUAGE_CODE:
        return None
    query = urlencode({"language": language, "v": catalog_version(language)})
    return f"{reverse('javascript-catalog')}?{query}"


@cache
def catalog_version(language: str) -> str:
    files = [
        folder / translation.to_locale(language) / "LC_MESSAGES" / "djangojs.mo" for folder in settings.LOCALE_PATHS
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.exists())).hexdigest()[:12]


@require_safe
@cache_control(max_age=31_536_000, immutable=True, public=True)
@gzip_page
def javascript_catalog(request: HttpRequest) -> HttpResponseBase:
    """Return the script that defines `django.gettext` for the modules. Its URL changes with its content."""
    language = request.GET.get("language")
    if language not in dict(settings.LANGUAGES):
        raise Http404
    with translation.override(language):
        return JavaScriptCatalog.as_view(packages=["dreamlayer_site"])(request)
