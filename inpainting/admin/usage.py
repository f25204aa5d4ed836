"""Usage per user: generations, seconds, storage, limits, and when each was last seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, F, FloatField, Func, Max, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts.models import User
from inpainting.accounting.limits import stored_bytes_of
from inpainting.models import Generation, Status, UserLimits, Verdict

PAGE_LENGTH = 25


class Epoch(Func):
    """A column with a time, in seconds since 1970. On SQLite, Django computes a difference of times in Python."""

    template, arity, output_field = "EXTRACT(EPOCH FROM %(expressions)s)", 1, FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Stored as YYYY-MM-DD HH:MM:SS.ffffff, without the fraction if that is 0.
        parts = "(strftime('%%%%s', %(expressions)s) + substr(%(expressions)s, 20))"
        return self.as_sql(compiler, connection, template=parts, **context)


@admin.site.admin_view
def usage_page(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    if not (user.has_perm("accounts.view_user") and user.has_perm("inpainting.view_generation")):
        raise PermissionDenied
    text = request.GET.get("q", "").strip()[:300]
    users = User.objects.filter(email__icontains=text) if text else User.objects.all()
    page = Paginator(users.order_by(F("last_login").desc(nulls_last=True), "pk"), PAGE_LENGTH).get_page(
        request.GET.get("page")
    )
    context = {"title": "Usage", "section": "usage", "rows": usage_of(list(page)), "page": page, "q": text}
    return TemplateResponse(request, "admin/usage.html", {**admin.site.each_context(request), **context})


def usage_of(users: list[User]) -> list[dict[str, Any]]:
    """Return one row for each user, in the same order. The number of queries does not depend on the number of users."""
    ids = [user.pk for user in users]
    counted = index_by_owner(
        Generation.objects.filter(owner__in=ids).order_by().values("owner").annotate(
            count=Count("pk"),
            failed=Count("pk", filter=Q(status=Status.FAILED)),
            removed=Count("pk", filter=Q(verdict=Verdict.REMOVED)),
            run_seconds=Sum(Epoch("finished_at") - Epoch("started_at")),
            last=Max("created_at"),
        )
    )  # fmt: skip
    stored = stored_bytes_of(ids)
    limits = {row.user_id: row for row in UserLimits.objects.filter(Q(user__in=ids) | Q(user=None))}
    keys = {row["pk"]: row["used"] for row in User.objects.filter(pk__in=ids).values("pk").annotate(
        used=Max("api_keys__last_used_at")
    )}  # fmt: skip
    rows = []
    for user in users:
        made: Mapping[str, Any] = counted.get(user.pk, {})
        seen = latest(user.last_login, made.get("last"), keys.get(user.pk))
        rows.append({
            "user": user,
            "count": made.get("count", 0),
            "failed": made.get("failed", 0),
            "removed": made.get("removed", 0),
            "seconds": made.get("run_seconds") or 0.0,
            "stored": stored.get(user.pk, 0),
            "limits": limits.get(user.pk) or limits.get(None),
            "own_limits": user.pk in limits,
            "seen": seen,
        })  # fmt: skip
    return rows


def index_by_owner(rows: Iterable[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    return {row["owner"]: row for row in rows}


def latest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time is not None), default=None)
