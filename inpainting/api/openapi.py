"""`/api/schema/` and `/api/docs/`: the API described, for programs and for people."""

from __future__ import annotations

from typing import Any

from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

Endpoint = tuple[str, str, str, Any]


def ours_once(endpoints: list[Endpoint]) -> list[Endpoint]:
    """What the schema describes: of two slash forms the one without, and signed links as they are handed out."""
    paths = {path for path, *_ in endpoints}
    twins = {path for path in paths if path.startswith("/api/images/") or path.rstrip("/") in paths - {path}}
    return [one for one in endpoints if one[0] not in twins]


class Schema(SpectacularAPIView):
    authentication_classes = ()
    permission_classes = ()


class Docs(SpectacularSwaggerSplitView):
    """Everything it loads is ours: scripts and styles come with drf-spectacular-sidecar."""

    authentication_classes = ()
    permission_classes = ()
    url_name = "schema"
    template_name = "api_docs.html"
