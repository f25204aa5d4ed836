"""The project as an app: for its `serve` command, and to load the Celery application in every process."""

from typing import Any

from django.apps import AppConfig
from django.apps import apps as all_apps
from django.core.management import call_command
from django.db.models.signals import post_migrate


class WiringConfig(AppConfig):
    name = "dreamlayer_site"
    verbose_name = "DreamLayer"

    def ready(self) -> None:
        # Tasks are sent through this Celery application; importing the others registers their system checks.
        from dreamlayer_site import celery, checks, scale_checks  # noqa: F401

        # Of this app no signal is sent, since it has no models.
        post_migrate.connect(create_cache_table, sender=all_apps.get_app_config("inpainting"))


def create_cache_table(*, using: str, **_: Any) -> None:
    """Create the table of the cache where it is in the database (see CACHES) and has none yet."""
    call_command("createcachetable", database=using, verbosity=0)
