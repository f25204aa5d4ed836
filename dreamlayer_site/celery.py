"""The Celery application. The database is the truth; a task only says "look".

A worker on its own hears the queues that it is told of, and without a word `cpu` alone: `-Q cpu,gpu,hooks` for all.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from kombu.transport import TRANSPORT_ALIASES

TRANSPORT_ALIASES["embedded"] = "dreamlayer_site.embedded_broker:Transport"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dreamlayer_site.settings")

app = Celery("dreamlayer")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
app.autodiscover_tasks(["inpainting"])


@worker_ready.connect
def look_out(sender: Any, **_: object) -> None:
    """A worker on its own looks by itself too, should a bell be lost, and one for the GPU loads the model that is set.

    `serve` starts both itself.
    """
    from inpainting.generations.recovery import start_lookout  # the models are there only now
    from inpainting.moderation import warn_where_unavailable
    from inpainting.worker.warm_up import start_warming_up

    start_lookout()
    warn_where_unavailable()
    if "gpu" in sender.app.amqp.queues.consume_from:
        start_warming_up()
