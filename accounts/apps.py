from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "People and keys"

    def ready(self) -> None:
        from accounts import checks, live  # noqa: F401 - checks are known by being imported

        live.listen()
