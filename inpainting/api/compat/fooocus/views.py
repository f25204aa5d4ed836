"""The routes beside `/v1/engine/generate`: tasks, control, lists of models and styles."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework.request import Request

from accounts.models import ApiKey, Scope
from inpainting.api.compat import fastapi
from inpainting.api.compat.control import end
from inpainting.api.compat.fooocus.body import ControlQuery, TaskQuery, TaskSelection
from inpainting.api.compat.fooocus.styles import STYLES
from inpainting.api.compat.fooocus.tasks import task
from inpainting.api.dialect import json_response
from inpainting.api.views import DialectView
from inpainting.catalog.lookup import Catalog
from inpainting.generations import history
from inpainting.generations.delete import delete
from inpainting.models import Generation, Status
from inpainting.models.queued_work import ENDED

MAX_DELETED = 1_000
"""Generations that one request deletes."""
CONTROLS = {"stop": "task stoped", "skip": "task skiped"}
"""Action -> the service's message, in its spelling."""


class TaskView(DialectView):
    required_scope = Scope.READ

    def own_generations(self) -> QuerySet[Generation]:
        return history.for_user(self.request.user).filter(service=self.dialect.name)

    def task(self, generation: Generation) -> dict[str, Any]:
        return task(generation, self.dialect.meta(generation))


class TaskDetail(TaskView):
    def get(self, request: Request, task_id: str) -> HttpResponse:
        """The task, or an empty list for an unknown id, as the service answers."""
        try:
            generation = history.find(request.user, UUID(task_id), service=self.dialect.name)
        except ValueError:
            generation = None
        return json_response([] if generation is None else self.task(generation))


class TaskList(TaskView):
    def get(self, request: Request) -> HttpResponse:
        query = fastapi.validate(TaskQuery, request.query_params.dict(), place="query")
        found = self.own_generations().order_by("-created_at")
        if query.start_at:
            found = found.filter(created_at__gte=convert_to_utc(query.start_at))
        if query.end_at:
            found = found.filter(created_at__lte=convert_to_utc(query.end_at))
        if query.action == "delete":
            if isinstance(request.auth, ApiKey) and Scope.MANAGE not in request.auth.scopes:
                raise PermissionDenied
            for generation in found.filter(status__in=ENDED)[:MAX_DELETED]:
                delete(generation)
            return HttpResponse("null", content_type="application/json")
        page = slice(query.page * query.page_size, (query.page + 1) * query.page_size)
        lists = {
            TaskSelection.HISTORY: found.filter(status__in=ENDED)[page],
            TaskSelection.CURRENT: found.filter(status=Status.RUNNING).order_by("started_at")[:1],
            TaskSelection.PENDING: found.filter(status=Status.QUEUED).order_by("created_at")[page],
        }
        shown = {name for name in lists if query.query in (name, TaskSelection.ALL)}
        return json_response({
            name.value: [self.task(generation) for generation in rows] if name in shown else []
            for name, rows in lists.items()
        })  # fmt: skip


class ControlView(TaskView):
    required_scope = Scope.GENERATE

    def post(self, request: Request) -> HttpResponse:
        """Cancel the caller's running task. The service answers everything with 200."""
        action = fastapi.validate(ControlQuery, request.query_params.dict(), place="query").action
        if action not in CONTROLS:
            return json_response({"message": "Invalid control action"})
        running = (
            self.own_generations().filter(status=Status.RUNNING, cancel_requested=False).order_by("started_at").first()
        )
        if running is None or not end(running, action):
            return json_response({"message": "No task running"})
        return json_response({"message": CONTROLS[action]})


class AllModels(DialectView):
    required_scope = Scope.READ

    def get(self, request: Request) -> HttpResponse:
        catalog = Catalog()
        models, loras = [row.slug for row in catalog.installed()], [row.slug for row in catalog.loras]
        return json_response({"model_filenames": models, "lora_filenames": loras})


class StyleList(DialectView):
    required_scope = Scope.READ

    def get(self, request: Request) -> HttpResponse:
        return json_response(list(STYLES))


def convert_to_utc(time: datetime) -> datetime:
    """Return the time in UTC, which is that of one without a time zone; beyond the first and the last year the nearest
    one."""
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        nearest = datetime.min if time.year == datetime.min.year else datetime.max
        return nearest.replace(tzinfo=UTC)
