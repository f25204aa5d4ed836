"""The account page: sign-in, usage against limits, and the user's data."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.models import SignedInRequest, User
from accounts.overview import overview
from inpainting.accounting.limits import spent, stored_bytes, waiting
from inpainting.generations import history
from inpainting.models import Retention, UserLimits


@dataclass(frozen=True, slots=True)
class Usage:
    """What a user has used of one limit; limit: None for no limit."""

    label: str
    used: int
    limit: int | None

    @property
    def is_reached(self) -> bool:
        return self.limit is not None and self.used >= self.limit


@never_cache
@require_GET
@login_required
def account(request: SignedInRequest) -> HttpResponse:
    used_bytes = stored_bytes(request.user)
    context = {
        "signs_in": overview(request.user),
        "usages": usages(request.user, used_bytes),
        "count": history.for_user(request.user).count(),
        "stored_bytes": used_bytes,
        "kept_days": Retention.for_user(request.user),
    }
    return render(request, "account.html", context)


def usages(user: User, used_bytes: int) -> list[Usage]:
    """The user's usage of each limit, in the order of the page."""
    limits, used = UserLimits.for_user(user) or UserLimits(), spent(user)
    return [
        Usage("Generations queued or running", waiting(user), limits.waiting),
        Usage("Generations in the last minute", used["per_minute"], limits.per_minute),
        Usage("Generations in the last 24 hours", used["per_day"], limits.per_day),
        Usage("Megapixels in the last 24 hours", used["megapixels_per_day"], limits.megapixels_per_day),
        Usage("Megabytes stored", used_bytes // 10**6, limits.stored_megabytes),
    ]
