"""Tells open websockets at once that what let them in has ended: a key was revoked, somebody signed out.

A hint, like everything that goes through the channel layer: who misses it is found at the next look (sockets.py).
"""

from __future__ import annotations

import hashlib
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.http import HttpRequest


def group_of_key(pk: int) -> str:
    return f"key-{pk}"


def group_of_session(session_key: str) -> str:
    """Named by a hash: what a session is known by opens it."""
    return f"session-{hashlib.sha256(session_key.encode()).hexdigest()[:32]}"


def end(group: str) -> None:
    """Close the sockets of a group once the transaction holds. Robust: a hint that is lost must not undo anything."""
    transaction.on_commit(lambda: _send(group), robust=True)


def listen() -> None:
    user_logged_out.connect(_signed_out, dispatch_uid="accounts.live")


def _signed_out(request: HttpRequest | None, **_: Any) -> None:
    session_key = getattr(getattr(request, "session", None), "session_key", None)
    if session_key:
        end(group_of_session(session_key))


def _send(group: str) -> None:
    async_to_sync(get_channel_layer().group_send)(group, {"type": "access.ended"})
