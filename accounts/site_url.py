"""The address of the site for links in mail, which others can request for an account that is not theirs."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port

PORTS = {"http": "80", "https": "443"}
"""Scheme -> the port that an address need not name."""


def site_url(request: HttpRequest) -> str:
    """Return the scheme, host and port of this site, such as https://paint.example.org.

    Without SITE_URL: the host that the request names, one of ALLOWED_HOSTS, and the port at which it arrived, or that
    of https behind TLS. Whoever sends the request chooses the port in its Host header, and another service of the
    machine may listen at that port.
    """
    if settings.SITE_URL:
        return str(settings.SITE_URL)
    host, _ = split_domain_port(request.get_host())
    port = PORTS["https"] if request.is_secure() else request.META["SERVER_PORT"]
    return f"{request.scheme}://{host}" + ("" if port == PORTS[request.scheme or "http"] else f":{port}")
