"""`manage.py check` refuses an API view of ours that does not say which scope a key needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import Error, register
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from accounts.models import Scope
from accounts.permissions import HasScope, scope_of

NOT_SCOPED = {"OPTIONS", "HEAD"}


@register("security", "urls")
def api_views_name_their_scope(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[Error]:
    views = {view for pattern in patterns_of(get_resolver()) if (view := api_view_of(pattern)) is not None}
    return [error for view in sorted(views, key=lambda view: view.__qualname__) for error in faults_of(view)]


def faults_of(view: type[APIView]) -> list[Error]:
    """A view that takes no keys at all (no authentication) needs no scope; any other needs one for every method."""
    if not view.authentication_classes:
        return []
    methods = [name.upper() for name in view.http_method_names if hasattr(view, name)]
    faults = [
        f"{method} names no scope"
        for method in methods
        if method not in NOT_SCOPED and scope_of(view, method) not in Scope.values
    ]
    if HasScope not in view.permission_classes:
        faults.append("its permission_classes lack HasScope")
    return [Error(f"{view.__module__}.{view.__qualname__}: {fault}.", id="accounts.E001") for fault in faults]


def api_view_of(pattern: URLPattern) -> type[APIView] | None:
    """The DRF view behind a route, where it is one of ours; other packages' views guard themselves."""
    view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
    if view is None or not issubclass(view, APIView):
        return None
    package = view.__module__.partition(".")[0]
    return view if package in {"accounts", "dreamlayer_site", "inpainting"} else None


def patterns_of(resolver: URLResolver) -> Iterator[URLPattern]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from patterns_of(entry)
        else:
            yield entry
