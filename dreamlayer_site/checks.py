"""System checks of the settings for the network and of the database. `serve` does not start if one of them fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Error, Tags, register
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from dreamlayer_site.hosts import is_loopback

POSITIVE = ("CONNECTIONS", "CONNECTIONS_PER_ADDRESS")


@register("security")
def anonymous_api_needs_loopback(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    """Require a loopback address with DREAMLAYER_ANONYMOUS_API, where all clients act as the local user."""
    reachable = settings.BEHIND_TLS or not is_loopback(settings.BIND_HOST)
    if settings.ANONYMOUS_API != "on" or not reachable:
        return []
    where = "this server is behind a proxy" if settings.BEHIND_TLS else f"this server listens on {settings.BIND_HOST}"
    return [
        Error(
            f"DREAMLAYER_ANONYMOUS_API admits every client that reaches this server, and {where}.",
            hint="Serve on 127.0.0.1, or set DREAMLAYER_ANONYMOUS_API=force to admit all clients.",
            id="dreamlayer.E001",
        )
    ]


@register("security")
def allowed_hosts_has_no_wildcard(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    """Refuse "*": with it a page of another site can reach this server under its own host name (DNS rebinding)."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        Error(
            "DREAMLAYER_ALLOWED_HOSTS is “*”, which admits pages of other sites.",
            hint="List the host names under which browsers reach this site.",
            id="dreamlayer.E002",
        )
    ]


@register("security")
def site_url_is_an_origin(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    """Require a scheme and a host in DREAMLAYER_SITE_URL, and nothing behind them: paths are added to it."""
    parts = urlsplit(settings.SITE_URL)
    is_origin = (
        parts.scheme in ("http", "https") and parts.hostname and parts.geturl() == f"{parts.scheme}://{parts.netloc}"
    )
    if not settings.SITE_URL or is_origin:
        return []
    message = f"DREAMLAYER_SITE_URL is “{settings.SITE_URL}”."
    return [Error(message, hint="It is like https://paint.example.org, without a path.", id="dreamlayer.E013")]


@register("security")
def limits_are_positive(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    """Require positive limits: with a limit of 0 nothing would be served."""
    return [
        Error(f"DREAMLAYER_{name} is {getattr(settings, name):g}.", hint="It is more than 0.", id="dreamlayer.E003")
        for name in POSITIVE
        if not getattr(settings, name) > 0
    ]


@register(Tags.database)
def squashed_migrations_are_complete(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[Error]:
    """A database that has some of the migrations that one replaces, and not all, is of a development version."""
    errors = []
    for alias in databases or ():
        loader = MigrationLoader(connections[alias])
        applied = set(loader.applied_migrations)
        for replaced in (migration.replaces for migration in loader.replacements.values()):
            if 0 < len(applied.intersection(replaced)) < len(replaced):
                app, name = replaced[-1]
                errors.append(
                    Error(
                        f"The database “{alias}” is of a development version before {app}.{name}.",
                        hint=f"Run migrate of the last development version that has the migration {app}.{name}, then "
                        "migrate of this version.",
                        id="dreamlayer.E012",
                    )
                )
    return errors
