"""The project as an app: for its `serve` command, and to load the Celery application in every process."""

from django.apps import AppConfig


class WiringConfig(AppConfig):
    name = "dreamlayer_site"
    verbose_name = "DreamLayer"

    def ready(self) -> None:
        # Tasks are sent through this Celery application; importing `checks` registers the system checks.
        from dreamlayer_site import celery, checks  # noqa: F401
