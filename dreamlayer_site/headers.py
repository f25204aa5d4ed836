"""Response headers that Django has no settings for: CSP, CORS, Permissions-Policy; and the encoding of pages."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from corsheaders.middleware import CorsMiddleware
from csp.middleware import CSPMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponse, HttpResponseBase
from django.middleware.gzip import GZipMiddleware

from inpainting.api.dialects import dialect_at

UNUSED_FEATURES = (
    *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "hid", "magnetometer"),
    *("microphone", "midi", "payment", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
HEADERS = {
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in UNUSED_FEATURES),
    # Images behind signed links override this header, so that pages of other origins can embed them.
    "Cross-Origin-Resource-Policy": "same-origin",
}


class PageHeaders(CSPMiddleware):
    """Adds HEADERS, and Content-Security-Policy with a nonce per response. Headers set by a view are kept."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """Call the middleware in the event loop: its methods do not block, so that no other thread calls them."""
        get_response: Any = self.get_response
        self.process_request(request)
        return self.process_response(request, await get_response(request))

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return super().process_response(request, response)


class CompressedPages(GZipMiddleware):
    """Compresses pages, not images and the API's answers, which are small or compressed already.

    Django hides the length of a secret by random bytes and by a mask (BREACH, Heal the Breach), see GZipMiddleware.
    """

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """Compress pages in another thread; other responses pass."""
        get_response: Any = self.get_response
        response: HttpResponseBase = await get_response(request)
        return await sync_to_async(self.process_response)(request, response) if is_page(response) else response

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return super().process_response(request, response) if is_page(response) else response


def is_page(response: HttpResponseBase) -> bool:
    return isinstance(response, HttpResponse) and response.headers.get("Content-Type", "").startswith("text/html")


class ApiCors(CorsMiddleware):
    """Adds the CORS headers to the paths of every dialect, and to no page."""

    def is_enabled(self, request: HttpRequest) -> bool:
        return dialect_at(request.path_info) is not None
