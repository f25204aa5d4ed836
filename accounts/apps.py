from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "People and keys"

    def ready(self) -> None:
        from accounts import checks, socket_revocation  # noqa: F401 - importing `checks` registers the checks

        socket_revocation.connect_signals()
