"""A client of FooocusAPI for the tests."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from django.test import Client
from numpy.typing import NDArray

from inpainting.models import Generation

URL = "/v1/engine/generate"


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def post(client: Client, body: Any, url: str = URL, **headers: str) -> Any:
    return client.post(url, body, content_type="application/json", headers=headers)


def task_of(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()
    return found


def stored_mask() -> NDArray[np.uint8]:
    return Generation.objects.latest("created_at").mask.read_pixels()
