"""The time zone of the person at the browser, which a script of every page keeps in a cookie."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

COOKIE = "time_zone"

Page = Callable[..., HttpResponse]


def in_the_users_zone(page: Page) -> Page:
    """Decorate a view: inside, the current time zone is that of the cookie, or of the settings where it names none."""

    @wraps(page)
    def decorated(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with timezone.override(zone_of(request)):
            return page(request, *args, **kwargs)

    return decorated


def zone_of(request: HttpRequest) -> ZoneInfo | None:
    """Return the zone of the cookie; None without one that exists."""
    try:
        return ZoneInfo(request.COOKIES.get(COOKIE, ""))
    except (KeyError, ValueError, OSError):  # unknown, a path out of the folder of zones, a folder in it
        return None
