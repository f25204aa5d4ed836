"""The views of Deep-Image's API."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from accounts.models import ApiKey, Scope, User
from inpainting.accounting.limits import spent
from inpainting.api.dialect import json_response
from inpainting.api.views import InpaintView, KeyedView
from inpainting.generations import history
from inpainting.generations.delete import delete_and_record, was_deleted
from inpainting.models import UserLimits

UNLIMITED_CREDITS = 1_000_000
"""The `credits` of a user without a limit per day."""


class Process(InpaintView, KeyedView):
    """The views `process` and `process_result`."""


class Result(KeyedView):
    """A generation of the caller: `GET` and `DELETE`."""

    required_scope = {"GET": Scope.READ, "DELETE": Scope.MANAGE}  # noqa: RUF012 - read by DRF, never changed

    def get(self, request: Request, job: str) -> HttpResponseBase:
        pk = uuid_of(job)
        if pk is not None and was_deleted(request.user, pk):
            return json_response({"message": "Image deleted", "status": "complete"}, status=404)
        generation = pk and history.find(request.user, pk, service=self.dialect.name)
        return self.dialect.response(generation, request) if generation else job_not_found()

    def delete(self, request: Request, job: str) -> HttpResponseBase:
        pk = uuid_of(job)
        generation = pk and history.find(request.user, pk, service=self.dialect.name)
        if not generation:
            return job_not_found()
        delete_and_record(generation)
        return json_response({"message": "Image deleted", "status": "complete", "job": str(pk)})


class Me(KeyedView):
    """The caller's account. Its key is not echoed: only the prefix, by which the pages list it."""

    required_scope = Scope.READ

    def get(self, request: Request) -> HttpResponseBase:
        user, key = cast(User, request.user), cast(ApiKey, request.auth)
        limits = UserLimits.for_user(user)
        per_day = None if limits is None else limits.per_day
        return json_response(
            {
                "username": user.email,
                "email": user.email,
                "credits": UNLIMITED_CREDITS if per_day is None else max(0, per_day - spent(user)["per_day"]),
                "api_key": f"{key.prefix}…",
                "language": settings.LANGUAGE_CODE[:2],
                "webhooks": {},
                "billing_address": {},
            }
        )


def uuid_of(job: str) -> UUID | None:
    try:
        return UUID(job)
    except ValueError:
        return None


def job_not_found() -> HttpResponse:
    return json_response({"message": "Job not found"}, status=404)
