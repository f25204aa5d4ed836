"""Websockets of pages and of programs, on the real application."""

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


def socket_of(
    user: User | Client | None, path: str = "/ws/generations/", *, origin: tuple[bytes, bytes] = ORIGIN
) -> WebsocketCommunicator:
    """A page's: of a user who signs in for it, of a client who has, or of nobody."""
    client = signed_in(user) if isinstance(user, User) else user or Client()
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    return WebsocketCommunicator(application, path, headers=[HOST, origin, (b"cookie", cookies.encode())])


def socket_with(
    ticket: str, path: str = "/ws/generations/", *, headers: list[tuple[bytes, bytes]] | None = None
) -> WebsocketCommunicator:
    """A program's, which names no origin."""
    return WebsocketCommunicator(application, f"{path}?ticket={ticket}", headers=[HOST, *(headers or [])])


async def heard(socket: WebsocketCommunicator) -> list[dict[str, Any]]:
    """Every message up to the one that it has ended."""
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1]["type"] not in ENDS:
        messages.append(await socket.receive_json_from(timeout=10))
    return messages


async def closed_with(socket: WebsocketCommunicator) -> int:
    """The close code, once it comes; what is told before is passed over."""
    while (said := await socket.receive_output(timeout=10))["type"] != "websocket.close":
        pass
    code: int = said["code"]
    return code
