"""API key scopes: each view declares the scope that it requires, and keys without it are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.models import ApiKey

if TYPE_CHECKING:  # importing DRF's views loads DEFAULT_PERMISSION_CLASSES, which includes this module
    from rest_framework.views import APIView


class HasScope(BasePermission):
    """Checks the API key against `view.required_scope`: one scope, or {method: scope}. Sessions have all scopes.

    A view that declares none refuses keys, and `manage.py check` reports it (accounts/checks.py).
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.auth is None or request.method == "OPTIONS":
            return True
        if not isinstance(request.auth, ApiKey):
            return False
        scope = required_scope(view, request.method or "")
        if scope is None:  # the view itself answers 405 to a method that it does not implement
            return not hasattr(view, (request.method or "").lower())
        check_scope(request, scope)
        return True


def check_scope(request: Request, scope: str) -> None:
    """Raise PermissionDenied if the request's API key lacks the scope. Sessions have all scopes."""
    if isinstance(request.auth, ApiKey) and scope not in request.auth.scopes:
        has = ", ".join(request.auth.scopes)
        raise PermissionDenied(
            gettext("This API key lacks the scope “{scope}”; it has {has}.").format(scope=scope, has=has),
            code="scope_missing",
        )


def required_scope(view: APIView | type[APIView], method: str) -> str | None:
    """Return the scope that a method of a view requires, or None if the view declares none."""
    declared: Any = getattr(view, "required_scope", None)
    if not isinstance(declared, Mapping):
        return declared
    return declared.get("GET" if method == "HEAD" else method)
