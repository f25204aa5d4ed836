"""Usage per user: generations, seconds, storage, limits, and when each was last seen."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import F, Max, OuterRef, Q, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext

from accounts.models import User
from inpainting.models import Generation, OwnerTotals, UserLimits

PAGE_LENGTH = 25


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
    context = {"title": gettext("Usage"), "section": "usage", "rows": usage_of(list(page)), "page": page, "q": text}
    return TemplateResponse(request, "admin/usage.html", {**admin.site.each_context(request), **context})


def usage_of(users: list[User]) -> list[dict[str, Any]]:
    """Return one row for each user, in the same order. The number of queries does not depend on the number of users."""
    ids = [user.pk for user in users]
    totals = OwnerTotals.of(ids)
    limits = {row.user_id: row for row in UserLimits.objects.filter(Q(user__in=ids) | Q(user=None))}
    newest = Generation.objects.filter(owner=OuterRef("pk")).order_by("-created_at").values("created_at")[:1]
    active = User.objects.filter(pk__in=ids).annotate(used=Max("api_keys__last_used_at"), newest=Subquery(newest))
    seen = {pk: latest(*times) for pk, *times in active.values_list("pk", "last_login", "used", "newest")}
    return [
        {
            "user": user,
            "count": totals[user.pk]["generations"],
            "failed": totals[user.pk]["failed"],
            "removed": totals[user.pk]["removed"],
            "seconds": totals[user.pk]["run_milliseconds"] / 1000,
            "stored": totals[user.pk]["stored_bytes"],
            "limits": limits.get(user.pk) or limits.get(None),
            "own_limits": user.pk in limits,
            "seen": seen.get(user.pk),
        }
        for user in users
    ]


def latest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time is not None), default=None)
