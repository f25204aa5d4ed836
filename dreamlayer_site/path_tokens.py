"""Takes the token out of paths such as `/t/TOKEN/sdapi/v1/img2img`, so that the service is called without it.

Logs, links, redirects and errors are made of the path, and therefore do not contain the token.
"""

from __future__ import annotations

import re
from typing import Any

from accounts.path_tokens import SCOPE_ENTRY, PathToken
from dreamlayer_site.server.body_limit import Application, Message, Receive, Send
from inpainting.api.dialects import service_of_path_token

PATH = re.compile(r"/t/([^/]+)/*(.*)", re.DOTALL)
"""Slashes after the token count as one: clients add their paths to an address that may end with one."""
ELSEWHERE = "/t/"
"""The path of all requests with a token to what none opens, such as the pages of this site. Nothing is there."""
HEADERS = {
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",  # Caches take answers to requests without an Authorization header for public ones.
}


def split_token(path: str) -> tuple[PathToken | None, str]:
    """Return the token in a path, or None, and the path without it."""
    match = PATH.fullmatch(path)
    if match is None:
        return None, path
    rest = f"/{match[2]}"
    service = service_of_path_token(rest)
    return PathToken(match[1], service), rest if service else ELSEWHERE


def without_token(scope: dict[str, Any]) -> dict[str, Any]:
    """Return the scope of a request to the path without the token, which is under SCOPE_ENTRY then."""
    token, path = split_token(scope["path"])
    return scope if token is None else {**scope, SCOPE_ENTRY: token, "path": path, "raw_path": None}


class PathTokenMiddleware:
    """An ASGI middleware: takes the token out of the path of a request or a websocket.

    Pages do not pass the address on to other sites, and caches keep no response.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        found = without_token(scope)

        async def send_privately(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in HEADERS]
                message = {**message, "headers": [*kept, *HEADERS.items()]}
            await send(message)

        await self.application(found, receive, send if found is scope else send_privately)
