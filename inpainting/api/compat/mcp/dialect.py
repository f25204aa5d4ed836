"""The Model Context Protocol, as a dialect: JSON in one response, without streams or sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, re_path
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from accounts.authentication import is_same_origin
from inpainting.api.compat.mcp.call import SERVER, Mcp
from inpainting.api.compat.mcp.protocol import (
    INVALID_PARAMS,
    UNKNOWN_METHOD,
    VERSIONS,
    ProtocolError,
    agreed_version,
    params_of,
    read_message,
)
from inpainting.api.compat.mcp.tools import TOOLS
from inpainting.api.compat.mcp.uploads import SentFile
from inpainting.api.dialect import json_response
from inpainting.api.errors import api_error
from inpainting.api.parsers import JsonFormParser
from inpainting.api.views import DialectView

INSTRUCTIONS = (
    "Tools to change images: erase, fill, extend and upscale. Outside of what is marked no pixel changes. An image is "
    "an http or https URL, or a link that a tool gave; for a file of yours call upload, and pass its link on. Results "
    "are links, which expire, with a small preview: download what is to be kept."
)
ABILITIES = {"capabilities": {"tools": dict[str, Any]()}, "instructions": INSTRUCTIONS}
CACHING = {"ttlMs": 60_000, "cacheScope": "private"}


class Endpoint(DialectView):
    """`POST`: one message."""

    takes_images = True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what a browser sends for a page of another site, also where that site's name leads to this machine."""
        if not is_same_origin(request):
            raise PermissionDenied("Pages of this origin may not call this server.", code="origin_not_allowed")
        super().initial(request, *args, **kwargs)

    def post(self, request: Request) -> HttpResponseBase:
        try:
            message = read_message(request)
            if message.id is None:
                return HttpResponse(status=202)
            if message.method not in METHODS:
                raise ProtocolError(UNKNOWN_METHOD, "There is no such method.", reply_to=message)
            return METHODS[message.method](Mcp(message), request)
        except ProtocolError as error:
            return json_response(error.body, status=error.status)


def discover(call: Mcp, request: Request) -> HttpResponseBase:
    return call.respond({"supportedVersions": VERSIONS, **ABILITIES, **CACHING})


def initialize(call: Mcp, request: Request) -> HttpResponseBase:
    agreed = agreed_version(params_of(request))
    return call.respond({"protocolVersion": agreed, "serverInfo": SERVER, **ABILITIES})


def ping(call: Mcp, request: Request) -> HttpResponseBase:
    return call.respond({})


def list_tools(call: Mcp, request: Request) -> HttpResponseBase:
    return call.respond({"tools": [tool.describe(name) for name, tool in TOOLS.items()], **CACHING})


def call_tool(call: Mcp, request: Request) -> HttpResponseBase:
    params = params_of(request)
    if str(params.get("name")) not in TOOLS or not isinstance(params.get("arguments", {}), dict):
        message = f"There is no such tool, or its arguments are no object; the tools are: {', '.join(TOOLS)}."
        raise ProtocolError(INVALID_PARAMS, message, reply_to=call.message)
    try:
        return TOOLS[params["name"]].respond(call, request)
    except Exception as error:
        return call.render_error(api_error(error))


METHODS: dict[str, Callable[[Mcp, Request], HttpResponseBase]] = {
    "server/discover": discover,
    "initialize": initialize,
    "ping": ping,
    "tools/list": list_tools,
    "tools/call": call_tool,
}


class McpServer(Mcp):
    """The dialect under `/mcp`."""

    @property
    def urls(self) -> Sequence[URLPattern]:
        return [
            re_path(r"^mcp/?$", Endpoint.as_view(parser_classes=(JsonFormParser,))),
            path("mcp/uploads/<str:token>", SentFile.as_view(), name="mcp-upload"),
        ]


DIALECT = McpServer()
