"""The Celery application. The queue is in the database; a task message only makes a worker read it."""

from __future__ import annotations

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

TRANSPORT_ALIASES["embedded"] = "dreamlayer_site.embedded_broker:Transport"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dreamlayer_site.settings")

app = Celery("dreamlayer")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
app.autodiscover_tasks(["inpainting"])
