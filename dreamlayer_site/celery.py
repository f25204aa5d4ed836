"""The Celery application. The queue is in the database; a task message only makes a worker read it.

A standalone worker consumes only `cpu` by default: start it with `-Q cpu,gpu,hooks` for all queues.
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
def start_background_threads(sender: Any, **_: object) -> None:
    """In a standalone worker, poll the queue in case a task message is lost, and warm up the model for the GPU queue.

    `serve` starts the same threads itself.
    """
    from inpainting.generations.recovery import start_poller  # not at the top: models need the loaded apps
    from inpainting.moderation import warn_where_unavailable
    from inpainting.worker.warm_up import start_warming_up

    start_poller()
    warn_where_unavailable()
    if "gpu" in sender.app.amqp.queues.consume_from:
        start_warming_up()
