"""Websocket clients for the tests, on the site's ASGI application: pages with a session, programs with a ticket."""

from __future__ import annotations

from typing import Any

from channels.testing import WebsocketCommunicator
from django.test import Client

from accounts.models import User
from dreamlayer_site.asgi import application

ORIGIN = (b"origin", b"http://localhost")
HOST = (b"host", b"localhost")
ENDS = ("succeeded", "failed", "cancelled")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def session_socket(
    user: User | Client | None, path: str = "/ws/generations/", *, origin: tuple[bytes, bytes] = ORIGIN
) -> WebsocketCommunicator:
    """Return a page's socket: for a user (signed in first), for a test client's session, or anonymous."""
    client = signed_in(user) if isinstance(user, User) else user or Client()
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    return WebsocketCommunicator(application, path, headers=[HOST, origin, (b"cookie", cookies.encode())])


def ticket_socket(
    ticket: str, path: str = "/ws/generations/", *, headers: list[tuple[bytes, bytes]] | None = None
) -> WebsocketCommunicator:
    """Return a program's socket, which sends no Origin header."""
    return WebsocketCommunicator(application, f"{path}?ticket={ticket}", headers=[HOST, *(headers or [])])


async def events_until_end(socket: WebsocketCommunicator) -> list[dict[str, Any]]:
    """Receive messages up to the final one: succeeded, failed or cancelled."""
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1]["type"] not in ENDS:
        messages.append(await socket.receive_json_from(timeout=10))
    return messages


async def close_code(socket: WebsocketCommunicator) -> int:
    """Wait until the server closes the socket; skip the messages before that."""
    while (output := await socket.receive_output(timeout=10))["type"] != "websocket.close":
        pass
    code: int = output["code"]
    return code
