"""Pages of administrators that do not exist for other users."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse

from accounts.models import SignedInRequest

Page = Callable[..., HttpResponse]


def is_administrator(user: Any, permission: str) -> bool:
    return bool(user.is_staff and user.has_perm(permission))


def for_administrators(permission: str) -> Callable[[Page], Page]:
    """Decorate a view: 404 for signed-in users who are no staff or lack the permission."""

    def decorated(page: Page) -> Page:
        @wraps(page)
        @login_required
        def guarded(request: SignedInRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not is_administrator(request.user, permission):
                raise Http404
            return page(request, *args, **kwargs)

        return guarded

    return decorated
