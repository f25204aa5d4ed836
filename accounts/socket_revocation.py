"""Closes open websockets as soon as their authorization ends: a key is revoked, or a user signs out.

Best effort, like everything sent over the channel layer: a socket that misses the message is closed by its next
periodic check (`websocket_auth.is_still_authorized`).
"""

from __future__ import annotations

import hashlib
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.http import HttpRequest


def key_group(pk: int) -> str:
    """Return the channel group of all sockets that were opened with an API key."""
    return f"key-{pk}"


def session_group(session_key: str) -> str:
    """Return the channel group of a session's sockets: a hash, because the session key itself is a credential."""
    return f"session-{hashlib.sha256(session_key.encode()).hexdigest()[:32]}"


def close_sockets(group: str) -> None:
    """Close the group's sockets on commit. Robust: a failing channel layer does not fail the request."""
    transaction.on_commit(lambda: _send(group), robust=True)


def connect_signals() -> None:
    user_logged_out.connect(_on_logged_out, dispatch_uid="accounts.socket_revocation")


def _on_logged_out(request: HttpRequest | None, **_: Any) -> None:
    session_key = getattr(getattr(request, "session", None), "session_key", None)
    if session_key:
        close_sockets(session_group(session_key))


def _send(group: str) -> None:
    async_to_sync(get_channel_layer().group_send)(group, {"type": "access.revoked"})
