"""`/metrics` for Prometheus: of this process and, unless it is a worker alone, of the database."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from inpainting.worker.queue.queue_metrics import QueueCollector

database_registry = CollectorRegistry(auto_describe=False)
database_registry.register(QueueCollector())


def metrics_page(request: HttpRequest) -> HttpResponse:
    """Return the metrics as text. 404 without DREAMLAYER_METRICS_TOKEN, 401 for a request that does not send it."""
    if not settings.METRICS_TOKEN:
        return HttpResponse(status=404)
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    text = generate_latest(REGISTRY)
    if settings.ROLE != "worker":
        text += generate_latest(database_registry)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)
