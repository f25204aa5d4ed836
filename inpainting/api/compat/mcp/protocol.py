"""Messages of the Model Context Protocol: JSON-RPC 2.0, one message for each POST, without state between them.

Revision 2026-07-28 names its version in every request; the earlier ones agree on a version with `initialize`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from rest_framework.request import Request

from inpainting.api.parsers import body_of

STATELESS_VERSIONS = ("2026-07-28",)
HANDSHAKE_VERSIONS = ("2025-11-25", "2025-06-18")
"""The newest first. Earlier ones would have to accept several messages in one request."""
VERSIONS = [*STATELESS_VERSIONS, *HANDSHAKE_VERSIONS]
PREFIX = "io.modelcontextprotocol/"
VERSION_KEY, CAPABILITIES_KEY = f"{PREFIX}protocolVersion", f"{PREFIX}clientCapabilities"
PARSE_ERROR, INVALID_MESSAGE, UNKNOWN_METHOD, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022
HTTP_STATUSES = {UNKNOWN_METHOD: 404}
"""Of errors in responses to stateless requests, and to messages that cannot be read; 400 for all others."""
ENCODED = re.compile(r"=\?base64\?(.*)\?=")
"""A header with the name of a tool that is not plain ASCII."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request without its `params`, whose images are not kept while its response waits; or, without an id, a
    notification or a response."""

    id: str | int | None
    method: str
    is_stateless: bool = False


@dataclass(slots=True)
class ProtocolError(Exception):
    """An error of the protocol, such as an unknown method. What goes wrong with a tool is the result of its call."""

    code: int
    message: str
    _: KW_ONLY
    reply_to: Message | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status. The earlier revisions answer a request with 200."""
        if self.reply_to is not None and not self.reply_to.is_stateless and self.code != UNSUPPORTED_VERSION:
            return 200
        return HTTP_STATUSES.get(self.code, 400)

    @property
    def body(self) -> dict[str, Any]:
        error = {"code": self.code, "message": self.message, **({"data": self.data} if self.data else {})}
        return reply(self.reply_to, {"error": error})


def reply(message: Message | None, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response to a message with its result or error; without an id where that could not be read."""
    return {"jsonrpc": "2.0", **({} if message is None or message.id is None else {"id": message.id}), **content}


def params_of(request: Request) -> dict[str, Any]:
    """Return the `params` of a message that `read_message` has checked."""
    params: dict[str, Any] = body_of(request).get("params", {})
    return params


def read_message(request: Request) -> Message:
    """Read and check the message of a request. Raises ProtocolError, and ParseError for a body that is no object."""
    body = body_of(request)
    number, method, params = body.get("id"), body.get("method"), body.get("params", {})
    is_valid_id = isinstance(number, str | int) and not isinstance(number, bool)
    if body.get("jsonrpc") != "2.0" or ("id" in body and not is_valid_id):
        raise ProtocolError(INVALID_MESSAGE, 'A message has "jsonrpc": "2.0" and an id that is a text or a number.')
    if method is None and number is not None and ("result" in body or "error" in body):
        return Message(None, "")
    message = Message(number, str(method))
    if not isinstance(method, str):
        raise ProtocolError(INVALID_MESSAGE, "A request has a method.", reply_to=message)
    if not isinstance(params, dict) or not isinstance(params.get("_meta", {}), dict):
        raise ProtocolError(INVALID_PARAMS, "params and its _meta must be objects.", reply_to=message)
    header, meta = request.headers.get("MCP-Protocol-Version"), params.get("_meta", {})
    if message.id is not None and (VERSION_KEY in meta or header in STATELESS_VERSIONS):
        message = Message(number, method, is_stateless=True)
        check_stateless(message, params, request)
    elif header is not None and header not in VERSIONS:
        raise unsupported(message, header)
    return message


def check_stateless(message: Message, params: Mapping[str, Any], request: Request) -> None:
    """Check the version, and that the headers say what the body says. Raises ProtocolError."""
    meta = params.get("_meta", {})
    if missing := [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in meta]:
        raise ProtocolError(INVALID_PARAMS, f"params._meta lacks {' and '.join(missing)}.", reply_to=message)
    expected = {"MCP-Protocol-Version": meta[VERSION_KEY], "Mcp-Method": message.method}
    if message.method == "tools/call":
        expected["Mcp-Name"] = params.get("name")
    for name, value in expected.items():
        if decoded(request.headers.get(name)) != value:
            text = f"The header {name} must say what the body says."
            raise ProtocolError(HEADER_MISMATCH, text, reply_to=message)
    if meta[VERSION_KEY] not in STATELESS_VERSIONS:
        raise unsupported(message, meta[VERSION_KEY])


def decoded(header: str | None) -> str | None:
    found = ENCODED.fullmatch(header or "")
    if found is None:
        return header
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def unsupported(message: Message, version: str) -> ProtocolError:
    data = {"supported": VERSIONS, "requested": version}
    return ProtocolError(UNSUPPORTED_VERSION, "Unsupported protocol version", reply_to=message, data=data)


def agreed_version(params: Mapping[str, Any]) -> str:
    """Return the version for a client that sends `initialize`: its own, or the newest one that it may know."""
    requested = params.get("protocolVersion")
    return requested if requested in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[0]
