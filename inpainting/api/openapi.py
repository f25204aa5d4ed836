"""The OpenAPI document: how operations are described, and the views that serve it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from drf_spectacular.drainage import set_override
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import Direction, OpenApiParameter, OpenApiResponse, extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from pydantic import BaseModel

from inpainting.api.json_schema import DocumentSchema, DocumentSchemaWithNull
from inpainting.api.native.schemas.base import Problem

Endpoint = tuple[str, str, str, Any]
Described = TypeVar("Described", bound=Callable[..., Any])

MEANINGS = {
    400: "The request is invalid; `field`, `limit` and `actual` have the details.",
    401: "The key is missing, invalid, expired or revoked.",
    403: "The key lacks the scope, or the request of a page its CSRF token.",
    404: "It does not exist, or belongs to someone else.",
    408: "The request arrived too slowly; the connection is closed.",
    409: "The request does not fit the state of the object.",
    410: "The file of this image is gone, or an administrator removed the generation.",
    413: "The body, or an image in it, is too large.",
    415: "The media type of the body is not supported.",
    416: "The range lies beyond the image.",
    422: "The same Idempotency-Key was sent with another request.",
    429: "A limit of this user is reached; Retry-After says when to try again.",
    500: "The generation failed.",
    503: "The server is temporarily overloaded; Retry-After says when to try again.",
    507: "There is no space left on the server.",
}
READING = (400, 408, 413, 415)
"""Statuses of the errors of operations that read a body."""
ACCEPTING = (*READING, 409, 422, 429, 503, 507)
"""Statuses of the errors of operations that accept generations."""
SIGNED_IN: list[dict[str, list[str]]] = [{"bearerKey": []}, {"headerKey": []}, {"session": []}]
HOW_LONG = OpenApiParameter(
    "Prefer", str, OpenApiParameter.HEADER,
    description="respond-async: answer 202 at once. wait=N: wait at most N seconds. Otherwise: wait for the result.",
)  # fmt: skip
KEY = OpenApiParameter(
    "Idempotency-Key", {"type": "string", "minLength": 1, "maxLength": 255},
    OpenApiParameter.HEADER, description="A repeated request with the same key returns the same generation.",
)  # fmt: skip
DOWNLOAD = OpenApiParameter("download", str, description="If present, the response is a download with a file name.")


class PydanticModels(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describes bodies and answers that are pydantic models."""

    target_class = BaseModel
    match_subclasses = True
    priority = 1

    def get_name(self, auto_schema: AutoSchema, direction: Direction) -> str:
        set_override(self.target, "suppress_collision_warning", True)  # it may be known as a part of another already
        return str(self.target.__name__)

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        schema: dict[str, Any] = self.target.model_json_schema(
            ref_template="#/components/schemas/{model}",
            mode="validation" if direction == "request" else "serialization",
            schema_generator=DocumentSchemaWithNull
            if getattr(self.target, "documents_null", False)
            else DocumentSchema,
        )
        for name, definition in schema.pop("$defs", {}).items():
            component = ResolvedComponent(name, ResolvedComponent.SCHEMA, definition, name)  # type: ignore[no-untyped-call]
            auto_schema.registry.register_on_missing(component)
        return schema


def file_answers(media_type: str) -> dict[Any, Any]:
    return {
        (200, media_type): OpenApiTypes.BINARY,
        (206, media_type): OpenApiTypes.BINARY,
        304: OpenApiResponse(description="Unchanged, see ETag."),
    }


IMAGE, THUMBNAIL = file_answers("image/png"), file_answers("image/webp")
RESULT = {**IMAGE, **file_answers("image/jpeg"), **THUMBNAIL}


def documented(
    summary: str,
    answers: Mapping[Any, Any],
    *,
    problems: Iterable[int] = (),
    request: Any = None,
    parameters: Sequence[Any] = (),
    name: str | None = None,
    is_public: bool = False,
) -> Callable[[Described], Described]:
    """Describe an operation: its answers, and the statuses of its errors besides those of authentication.

    name: the operationId, where the one derived from the path is misleading.
    """
    statuses = sorted({*problems, *(() if is_public else (401, 403))})
    return extend_schema(
        operation_id=name,
        summary=summary,
        auth=cast("list[str]", [] if is_public else SIGNED_IN),
        request=request,
        parameters=list(parameters),
        responses={**answers, **{code: OpenApiResponse(Problem, MEANINGS[code]) for code in statuses}},
    )


def drop_duplicate_paths(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Keep, as a hook of drf-spectacular, one of the two slash forms of a path, and one of the two paths of signed
    links."""
    paths = {path for path, *_ in endpoints}
    twins = {path for path in paths if path.startswith("/api/images/") or path.rstrip("/") in paths - {path}}
    return [endpoint for endpoint in endpoints if endpoint[0] not in twins]


class Schema(SpectacularAPIView):
    authentication_classes = ()
    permission_classes = ()


class Docs(SpectacularSwaggerSplitView):
    """Swagger UI, with scripts and styles from drf-spectacular-sidecar instead of a CDN."""

    authentication_classes = ()
    permission_classes = ()
    url_name = "schema"
    template_name = "api_docs.html"
