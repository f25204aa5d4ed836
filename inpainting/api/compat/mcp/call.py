"""The calls of tools, each as a dialect of its own that knows the message which it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern
from rest_framework.request import Request

from inpainting.api.compat.mcp import answers
from inpainting.api.compat.mcp.arguments import ARGUMENTS, ROWS
from inpainting.api.compat.mcp.protocol import (
    INTERNAL_ERROR,
    INVALID_MESSAGE,
    PARSE_ERROR,
    PREFIX,
    Message,
    params_of,
    reply,
)
from inpainting.api.compat.mcp.translation import NAME, read_request
from inpainting.api.dialect import Dialect, json_response
from inpainting.api.errors import ApiError
from inpainting.core.request import InpaintRequest
from inpainting.generations.submit import Submission
from inpainting.models import Generation

SERVER = {"name": "dreamlayer", "title": "DreamLayer", "version": version("dreamlayer")}
WAIT_SECONDS = 45.0
"""How long a call waits for its result. Clients give up after 60 seconds."""


class Mcp(Dialect):
    """Responds to one message; without one, with the errors of the protocol. What goes wrong with a tool is a result
    with `isError`, which an agent reads."""

    name: ClassVar[str] = NAME
    prefixes: ClassVar[tuple[str, ...]] = ("/mcp",)
    settings_by_field: ClassVar[Mapping[str, str]] = {row.public_name: row.name for row in ROWS}
    answers_before_the_end = True

    def __init__(self, message: Message | None = None) -> None:
        self.message = message
        # The revision demands it ("Cancellation"); the earlier ones forbid it.
        self.cancels_on_disconnect = message is not None and message.is_stateless

    @property
    def urls(self) -> Sequence[URLPattern]:
        return ()

    def parse(self, request: Request) -> tuple[InpaintRequest, Submission]:
        return read_request(params_of(request)["name"], self.read_arguments(request), request)

    @staticmethod
    def read_arguments(request: Request) -> dict[str, Any]:
        """Return the validated arguments of the tool that a message calls. Raises InvalidRequest."""
        params = params_of(request)
        return ARGUMENTS[params["name"]].read(params.get("arguments", {})).sent()

    def max_wait_seconds(self, request: Request) -> float | None:
        return WAIT_SECONDS

    def render(self, generation: Generation, request: Request) -> HttpResponseBase:
        if not generation.has_ended:
            return self.result(*answers.waiting(generation))
        return self.result(*answers.painted(generation, self.meta(generation), request))

    def render_error(self, error: ApiError) -> HttpResponse:
        if self.message is not None:
            about = {
                "error": error.message,
                "code": error.code,
                "field": error.field,
                "id": error.generation_id,
                "retry_after_seconds": error.headers.get("Retry-After"),
            }
            said = answers.text({name: value for name, value in about.items() if value is not None})
            return self.result(said, is_error=True, headers=error.headers)
        code = INTERNAL_ERROR if error.status >= 500 else INVALID_MESSAGE
        if isinstance(getattr(error.cause, "__cause__", None), json.JSONDecodeError | UnicodeDecodeError):
            code = PARSE_ERROR
        body = reply(None, {"error": {"code": code, "message": error.message, "data": {"code": error.code}}})
        return json_response(body, status=error.status, headers=error.headers)

    def result(
        self, *content: Mapping[str, Any], is_error: bool = False, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """Return the response with the result of a tool."""
        return self.respond({"content": content, "isError": is_error}, headers=headers)

    def respond(self, result: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> HttpResponse:
        """Return the response with a result."""
        if self.message is not None and self.message.is_stateless:
            result = {"resultType": "complete", **result, "_meta": {f"{PREFIX}serverInfo": SERVER}}
        return json_response(reply(self.message, {"result": result}), headers=headers)
