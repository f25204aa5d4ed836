"""Response headers that Django has no settings for: CSP, Permissions-Policy, Cross-Origin-Resource-Policy."""

from __future__ import annotations

from csp.middleware import CSPMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase

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

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return super().process_response(request, response)
