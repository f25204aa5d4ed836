"""The wiring as an app: its `serve` command, and the Celery application in every process."""

from django.apps import AppConfig


class WiringConfig(AppConfig):
    name = "dreamlayer_site"
    verbose_name = "DreamLayer"

    def ready(self) -> None:
        # Whoever rings must ring this Celery; checks are known by being imported.
        from dreamlayer_site import celery, checks  # noqa: F401
