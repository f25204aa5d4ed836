"""Metrics of the queues and webhooks in the database, at a cost that does not grow with the number of waiting rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from django.db import DatabaseError, InterfaceError
from django.db.models import QuerySet
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inpainting.database.fair_tags import model_in
from inpainting.engines.base import Queue
from inpainting.models import Status, WebhookDelivery, Worker
from inpainting.models.queued_work import QueuedWork
from inpainting.models.worker import STATE_COLUMNS
from inpainting.worker.queue.models_in_queue import models_in

MAX_COUNTED = 10_000
"""Rows of one queue and model that are counted: the last entries of an index that a scrape reads."""
MAX_MODELS = 50
"""Models of one queue that a scrape reports."""


class QueueCollector(Collector):
    """Depth and age of each queue by model, and of the webhooks that are due; the workers."""

    def collect(self) -> Iterator[Metric]:
        labels = ["queue", "model"]
        depth = GaugeMetricFamily("dreamlayer_queue_depth", f"Waiting work, up to {MAX_COUNTED}.", labels=labels)
        age = GaugeMetricFamily("dreamlayer_queue_oldest_seconds", "Age of the oldest of them.", labels=labels)
        running = GaugeMetricFamily("dreamlayer_running", "Running work of all processes.", labels=labels)
        due = GaugeMetricFamily("dreamlayer_webhooks_due", f"Webhooks that are due, up to {MAX_COUNTED}.")
        lag = GaugeMetricFamily("dreamlayer_webhook_lag_seconds", "How long the first of them has been due.")
        workers = GaugeMetricFamily("dreamlayer_workers", "Workers of the site by their state.", labels=["state"])
        up = GaugeMetricFamily("dreamlayer_database_up", "Whether the database answered this scrape.")
        try:
            for queue in Queue:
                for model in models_in(queue, Status.QUEUED, limit=MAX_MODELS):
                    waiting = live_rows(queue, Status.QUEUED).filter(model=model)
                    depth.add_metric([queue, model], count(waiting))
                    oldest = waiting.order_by("created_at").values_list("created_at", flat=True).first()
                    age.add_metric([queue, model], seconds_since(oldest))
                for model in models_in(queue, Status.RUNNING, limit=MAX_MODELS):
                    running.add_metric([queue, model], count(live_rows(queue, Status.RUNNING).filter(model=model)))
            pending = WebhookDelivery.waiting()
            first = pending.order_by("next_attempt_at").values_list("next_attempt_at", flat=True).first()
            due.add_metric([], pending.order_by()[:MAX_COUNTED].count())
            lag.add_metric([], seconds_since(first))
            states = Counter(worker.state for worker in Worker.recent().only(*STATE_COLUMNS))
            for state, number in states.items():
                workers.add_metric([state], number)
        except (DatabaseError, InterfaceError):
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield from (up, depth, age, running, due, lag, workers)


def live_rows(queue: Queue, status: Status) -> QuerySet[QueuedWork]:
    rows: QuerySet[QueuedWork] = model_in(queue).objects.filter(finished_at=None, queue=queue, status=status)
    return rows.order_by()


def count(work: QuerySet[QueuedWork]) -> int:
    """As many as there are, up to MAX_COUNTED. Reads the index alone, not the rows."""
    return work.values("queue")[:MAX_COUNTED].count()


def seconds_since(moment: datetime | None) -> float:
    """0 for None, and where the clock was set back."""
    return 0.0 if moment is None else max(0.0, (timezone.now() - moment).total_seconds())
