"""The Celery application. The database is the truth; a task only says "look"."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dreamlayer_site.settings")

app = Celery("dreamlayer")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
app.autodiscover_tasks(["inpainting"])


@worker_ready.connect
def look_out(**_: object) -> None:
    """A worker on its own looks by itself too, should a bell be lost; `serve` starts its own lookout."""
    from inpainting.generations.recover import start_lookout  # the models are there only now

    start_lookout()
