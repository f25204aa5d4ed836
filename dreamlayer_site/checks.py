"""What this site refuses to start with: `manage.py check`, and every command that checks first, `serve` among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Error, register

from dreamlayer_site.hosts import is_loopback


@register("security")
def anonymous_api_is_for_this_machine(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    """Without keys everybody who reaches the server is its local user: so nobody else may reach it."""
    reachable = settings.BEHIND_TLS or not is_loopback(settings.BIND_HOST)
    if settings.ANONYMOUS_API != "on" or not reachable:
        return []
    where = "a proxy stands before this server" if settings.BEHIND_TLS else f"it listens on {settings.BIND_HOST}"
    return [
        Error(
            f"DREAMLAYER_ANONYMOUS_API lets everybody in who reaches this server, and {where}.",
            hint="Serve on 127.0.0.1, or say DREAMLAYER_ANONYMOUS_API=force if that is what you want.",
            id="dreamlayer.E001",
        )
    ]


@register("security")
def hosts_have_names(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    """With "*" any page could lead a browser here under a name of its own, and its websockets would be let in."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        Error(
            "DREAMLAYER_ALLOWED_HOSTS is “*”, which would let pages of other sites in.",
            hint="List the names that people type to get here.",
            id="dreamlayer.E002",
        )
    ]
