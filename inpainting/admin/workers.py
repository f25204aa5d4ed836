"""The page of workers: what each serves, has and runs, with buttons that drain and resume it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext, pgettext_lazy
from django.views.decorators.http import require_GET, require_POST

from accounts.administrators import for_administrators, is_administrator
from accounts.models import SignedInRequest
from inpainting.database.fair_tags import queued_models
from inpainting.models import Status, Worker
from inpainting.worker.drain import drain, resume

PAGE_LENGTH = 25
BADGES = {"ready": "succeeded", "drained": "running", "not ready": "failed", "not answering": "failed"}
"""The state of a worker -> the class of its badge."""
STATES = {
    "ready": pgettext_lazy("a worker", "Ready"),
    "drained": pgettext_lazy("a worker", "Drained"),
    "not ready": pgettext_lazy("a worker", "Not ready"),
    "not answering": pgettext_lazy("a worker", "Not answering"),
    "stopped": pgettext_lazy("a worker", "Stopped"),
}
"""The state of a worker -> its words on the page."""


@require_GET
@for_administrators("inpainting.view_worker")
def workers_page(request: SignedInRequest) -> HttpResponse:
    page = Paginator(Worker.recent(), PAGE_LENGTH).get_page(request.GET.get("page"))
    workers = list(page)
    running = count_running([worker.name for worker in workers])
    context = {
        "title": gettext("Workers"),
        "section": "workers",
        "rows": [
            {
                "worker": worker,
                "badge": BADGES.get(worker.state, ""),
                "label": STATES[worker.state],
                "queues": [(queue, worker.slots.get(queue, 0)) for queue in worker.queues],
                "running": running[worker.name],
                "since": worker.started_at if worker.is_live else worker.stopped_at or worker.seen_at,
            }
            for worker in workers
        ],
        "page": page,
        "may_change": is_administrator(request.user, "inpainting.change_worker"),
    }
    return TemplateResponse(request, "admin/workers.html", {**admin.site.each_context(request), **context})


def count_running(names: Sequence[str]) -> Counter[str]:
    """Return how much each of these workers runs, by their names."""
    running: Counter[str] = Counter()
    for model in queued_models():
        held = model.objects.filter(status=Status.RUNNING, worker__in=names).order_by()
        running.update(dict(held.values_list("worker").annotate(Count("pk"))))
    return running


@require_POST
@for_administrators("inpainting.change_worker")
def drain_worker(request: SignedInRequest, pk: int) -> HttpResponse:
    worker = get_object_or_404(Worker, pk=pk)
    if drain(worker, by=request.user):
        messages.success(request, gettext("{worker} claims no more work; what it runs goes on.").format(worker=worker))
    return redirect("workers-page")


@require_POST
@for_administrators("inpainting.change_worker")
def resume_worker(request: SignedInRequest, pk: int) -> HttpResponse:
    worker = get_object_or_404(Worker, pk=pk)
    if resume(worker, by=request.user):
        messages.success(request, gettext("{worker} claims work again.").format(worker=worker))
    return redirect("workers-page")
