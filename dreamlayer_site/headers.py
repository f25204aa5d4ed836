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
    # Pages of other origins can embed only responses that override this: images behind signed links.
    "Cross-Origin-Resource-Policy": "same-origin",
}


class PageHeaders(CSPMiddleware):
    """Adds CONTENT_SECURITY_POLICY with a nonce per response, and HEADERS. Headers set by a view are kept."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return super().process_response(request, response)
