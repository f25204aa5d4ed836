from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, register
from django.db.backends.signals import connection_created
from django.utils.translation import gettext_lazy


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = gettext_lazy("People and keys")

    def ready(self) -> None:
        from accounts import erasure, outages, socket_revocation

        register(api_views_declare_their_scope, "security", "urls")
        socket_revocation.connect_signals()
        erasure.connect_signals()
        connection_created.connect(outages.watch_connection)


def api_views_declare_their_scope(**_: Any) -> list[CheckMessage]:
    """Return the check of accounts/checks.py. Commands without checks do not wait for the import of DRF and all
    views."""
    from accounts import checks

    return [*checks.api_views_declare_their_scope()]
