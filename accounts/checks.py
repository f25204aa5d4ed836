"""System check: every API view of this project declares the API key scope that each of its methods requires."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import Error
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from accounts.models import Scope
from accounts.permissions import HasScope, required_scope

METHODS_WITHOUT_SCOPE = {"OPTIONS", "HEAD"}


def api_views_declare_their_scope() -> list[Error]:
    views = {view for pattern in url_patterns(get_resolver()) if (view := api_view(pattern)) is not None}
    return [error for view in sorted(views, key=lambda view: view.__qualname__) for error in scope_errors(view)]


def scope_errors(view: type[APIView]) -> list[Error]:
    """Return an error for each method without a scope. Views without authentication accept no keys and need none."""
    if not view.authentication_classes:
        return []
    methods = [name.upper() for name in view.http_method_names if hasattr(view, name)]
    problems = [
        f"{method} has no required_scope"
        for method in methods
        if method not in METHODS_WITHOUT_SCOPE and required_scope(view, method) not in Scope.values
    ]
    if HasScope not in view.permission_classes:
        problems.append("permission_classes lacks HasScope")
    return [Error(f"{view.__module__}.{view.__qualname__}: {problem}.", id="accounts.E001") for problem in problems]


def api_view(pattern: URLPattern) -> type[APIView] | None:
    """Return the DRF view of a route if this project defines it; None for views of other packages."""
    view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
    if view is None or not issubclass(view, APIView):
        return None
    package = view.__module__.partition(".")[0]
    return view if package in {"accounts", "dreamlayer_site", "inpainting"} else None


def url_patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from url_patterns(entry)
        else:
            yield entry
