"""The headers of every answer that Django's own settings do not have: CSP, Permissions-Policy, CORP."""

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
    # Other origins' pages may embed only what says so itself: the signed links.
    "Cross-Origin-Resource-Policy": "same-origin",
}


class PageHeaders(CSPMiddleware):
    """settings.CONTENT_SECURITY_POLICY with a nonce for each answer, and HEADERS; a view's own words go first."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return super().process_response(request, response)
