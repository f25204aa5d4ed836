"""A webhook receiver: parses and verifies messages by the specification, independent of the product's code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

from django.utils import timezone
from pytest_django import Settings

from inpainting.models import WebhookDelivery, WebhookPause
from tests.net.fake_network import Listener


@dataclass(frozen=True)
class Message:
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verifies_with(self, secret: str) -> bool:
        assert secret.startswith("whsec_")
        key = base64.b64decode(secret[6:], validate=True)
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split(" ")


def message(request: bytes) -> Message:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
    return Message({name.lower(): value for name, _, value in lines}, body)


def messages(receiver: Listener) -> list[Message]:
    return [message(request) for request in receiver.requests]


def open_to(settings: Settings, *receivers: Listener) -> None:
    """Allow the receiver's loopback address and port, as an administrator would."""
    settings.ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    settings.ALLOWED_PORTS = [receiver.port for receiver in receivers]


def url_of(receiver: Listener) -> str:
    return f"http://127.0.0.1:{receiver.port}/hook"


def let_time_pass() -> None:
    """Make all pending deliveries due, and all leases and pauses expired."""
    long_ago = timezone.now() - timedelta(hours=1)
    WebhookDelivery.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=long_ago)
    WebhookDelivery.objects.filter(lease_until__isnull=False).update(lease_until=long_ago)
    WebhookPause.objects.update(until=long_ago)


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - jitter, the same every time
