"""Bodies of the ModelsLab API, and answers to them."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray

from inpainting import tasks
from inpainting.core.codecs import decode_image

INPAINT, FETCH = "/api/v6/images/inpaint", "/api/v6/images/fetch"


def encoded(png: bytes) -> str:
    return base64.b64encode(png).decode()


def white_repaints(hole: NDArray[np.uint8]) -> bytes:
    """A PNG in the polarity of this API: white is repainted."""
    done, data = cv2.imencode(".png", hole)
    assert done
    return data.tobytes()


def post(path: str, body: Any, **headers: str) -> Any:
    return Client(headers=headers).post(path, body, content_type="application/json")


def success(body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """Post a request that must be painted at once; return its answer."""
    answer = post(INPAINT, body, **headers)
    content: dict[str, Any] = answer.json()
    assert (answer.status_code, content["status"]) == (200, "success"), content
    return content


def error(answer: Any, status: int) -> str:
    """Check that the answer has the shape of an error; return its message."""
    assert answer.status_code == status, answer.content
    content = answer.json()
    assert content["status"] == "error"
    assert content["message"] == content["messege"] != ""
    return str(content["message"])


def pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode_image(png).image.pixels)


def keep_waiting(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Let requests be answered with `processing`; `run_waiting` paints them."""
    settings.MODELSLAB_WAIT_SECONDS = 0.0
    monkeypatch.setattr(tasks.run_waiting, "apply_async", lambda *arguments, **options: None)
