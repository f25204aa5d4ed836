"""IOPaint's own web app, from the folder of an installed IOPaint: it calls the API of the site it is on.

It is sent unchanged, except behind a path token: there its addresses, which all begin at the root, get the token.
"""

from __future__ import annotations

from mimetypes import guess_type
from pathlib import Path

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from accounts.models import ApiKey, Scope
from accounts.path_tokens import PathToken, path_token

HEADERS = {
    # The app writes <style> elements, and reads images that it has made.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
    "connect-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
}
BINARY = (".woff2", ".png")
ROOTS = (b"/assets/", b'"/api/v1"')
"""The beginnings of the addresses in its page, scripts and styles."""


@require_safe
def web_app(request: HttpRequest, name: str = "") -> HttpResponseBase:
    """Return the page of the app, to people who have signed in or have a path token; or, with a name, a file of its
    folder `assets`."""
    if not settings.IOPAINT_APP:
        raise Http404
    token = path_token(request)
    if token is not None and not is_usable(token):
        raise Http404
    if not (name or token or request.user.is_authenticated or settings.ANONYMOUS_API):
        return redirect_to_login(request.get_full_path())
    folder = Path(settings.IOPAINT_APP)
    try:
        data = (folder / "assets" / name if name else folder / "index.html").read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise Http404 from error
    if token is not None and not name.endswith(BINARY):
        data = with_prefix(token.prefix.encode(), data)
    kind = guess_type(name or "index.html")[0] or "application/octet-stream"
    return HttpResponse(data, content_type=kind, headers=HEADERS)


def is_usable(token: PathToken) -> bool:
    key = ApiKey.find(token.text, service=token.service)
    return key is not None and key.allows(Scope.GENERATE)


def with_prefix(prefix: bytes, data: bytes) -> bytes:
    """Return a file of the app whose addresses begin with the prefix."""
    for root in ROOTS:
        data = data.replace(root, root.replace(b"/", prefix + b"/", 1))
    return data
