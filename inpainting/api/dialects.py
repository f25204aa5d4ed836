"""The registered dialects: which of them answers a path, and their routes.

Imports no dialect and no models: DRF loads the authentication classes, which use this module, before all else.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

from inpainting.api import compat

if TYPE_CHECKING:
    from inpainting.api.dialect import Dialect
    from inpainting.models import Generation

_dialects: dict[Dialect, list[URLPattern | URLResolver]] = {}
urlpatterns: list[URLPattern | URLResolver] = []
"""The routes of all registered dialects, which the site's URL configuration includes."""


def register(dialect: Dialect) -> None:
    """Serve a dialect. Raises ValueError where a prefix is taken."""
    taken = {prefix for other in _dialects for prefix in other.prefixes}
    if twice := taken.intersection(dialect.prefixes):
        raise ValueError(f"Two dialects have the prefix {', '.join(sorted(twice))}.")
    _dialects[dialect] = [path("", include(list(dialect.urls)))]
    urlpatterns.extend(_dialects[dialect])


def unregister(dialect: Dialect) -> None:
    """Undo `register`."""
    for pattern in _dialects.pop(dialect):
        urlpatterns.remove(pattern)


def registered_dialects() -> list[Dialect]:
    load()
    return list(_dialects)


def dialect_at(url_path: str) -> Dialect | None:
    """Return the dialect that a path belongs to: the one with the longest matching prefix, or None."""
    matches = [
        (len(prefix), dialect)
        for dialect in _dialects
        for prefix in dialect.prefixes
        if url_path == prefix or url_path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
    ]
    return max(matches, key=lambda match: match[0])[1] if matches else None


def service_of_path_token(url_path: str) -> str:
    """Return the name of the service whose path tokens open this path; empty where none does."""
    dialect = dialect_at(url_path) or next((found for found in _dialects if url_path.startswith(found.pages)), None)
    return dialect.name if dialect is not None and dialect.name in settings.PATH_TOKEN_SERVICES else ""


def webhook_body(generation: Generation) -> Mapping[str, Any] | str | None:
    """Return the message of the generation's service; None where the service sends none, or is no longer served."""
    load()
    dialect = next((dialect for dialect in _dialects if dialect.name == generation.service), None)
    return None if dialect is None else dialect.webhook_body(generation)


@cache
def load() -> None:
    """Register the native API and the `DIALECT` of every module of `compat/`."""
    modules = [module.name for module in pkgutil.iter_modules(compat.__path__, f"{compat.__name__}.")]
    for name in ("inpainting.api.native.dialect", *sorted(modules)):
        dialect = getattr(import_module(name), "DIALECT", None)
        if dialect is not None:  # what several dialects share has none
            register(dialect)
