"""What a key may do: a view names the scope that it needs, and a key that lacks it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.models import ApiKey

if TYPE_CHECKING:  # views load the permissions that the settings name, this one among them
    from rest_framework.views import APIView


class HasScope(BasePermission):
    """Reads `view.required_scope`: one scope, or {method: scope}. Sessions have all scopes; keys those they were given.

    A view that names none is closed to keys, and `manage.py check` refuses it (accounts/checks.py).
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.auth is None or request.method == "OPTIONS":
            return True
        if not isinstance(request.auth, ApiKey):
            return False
        scope = scope_of(view, request.method or "")
        if scope is None:  # a method that the view does not have is answered 405 by the view itself
            return not hasattr(view, (request.method or "").lower())
        if scope not in request.auth.scopes:
            has = ", ".join(request.auth.scopes)
            raise PermissionDenied(f"This API key lacks the scope “{scope}”; it has {has}.", code="scope_missing")
        return True


def scope_of(view: APIView | type[APIView], method: str) -> str | None:
    """The scope that a method of a view needs, or None where the view does not say."""
    required: Any = getattr(view, "required_scope", None)
    if not isinstance(required, Mapping):
        return required
    return required.get("GET" if method == "HEAD" else method)
