"""The pages of the URL configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.urls import URLPattern, URLResolver, get_resolver
from playwright.sync_api import Page

NOT_OURS = ("api/", "admin/")
"""The APIs with Swagger UI, and Django's admin, which test_review.py checks."""


def opens(page: Page, path: str) -> bool:
    """Open a page. False where it is no HTML page for this person."""
    answer = page.request.get(path, max_redirects=5)
    if not answer.ok or not answer.headers["content-type"].startswith("text/html"):
        return False
    page.goto(path)
    return True


def paths() -> list[str]:
    """The paths of all routes without parameters, in the order of the URL configuration."""
    return [f"/{route}" for route, _ in named_routes(get_resolver().url_patterns) if not re.search(r"[<(]", route)]


def named_routes(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[tuple[str, str | None]]:
    """Each route with its name, but those of the API and of Django's admin."""
    for pattern in patterns:
        route = before + str(pattern.pattern).removeprefix("^").removesuffix("$").removesuffix("\\Z")
        if route.startswith(NOT_OURS):
            continue
        if isinstance(pattern, URLResolver):
            yield from named_routes(pattern.url_patterns, route)
        else:
            yield route, pattern.name
