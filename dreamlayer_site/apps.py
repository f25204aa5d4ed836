"""The wiring as an app: its `serve` command, and the Celery application in every process."""

from django.apps import AppConfig


class WiringConfig(AppConfig):
    name = "dreamlayer_site"
    verbose_name = "DreamLayer"

    def ready(self) -> None:
        from dreamlayer_site import celery  # noqa: F401 - whoever rings must ring this one
