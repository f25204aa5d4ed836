"""A client of AUTOMATIC1111's API for the tests."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from django.test import Client
from numpy.typing import NDArray
from PIL import Image

IMG2IMG, TXT2IMG, OPTIONS = "/sdapi/v1/img2img", "/sdapi/v1/txt2img", "/sdapi/v1/options"
PAYLOADS = Path(__file__).parent.parent / "payloads" / "automatic1111"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def post(client: Client, path: str, body: Any = None, **headers: str) -> Any:
    return client.post(path, {} if body is None else body, content_type="application/json", headers=headers)


def painted(response: Any) -> dict[str, Any]:
    """The body of a success, with `info` parsed."""
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    assert list(body) == ["images", "parameters", "info", "meta"]
    return {**body, "info": json.loads(body["info"])}


def image_of(text: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(text)))


def pixels_of(text: str) -> NDArray[np.uint8]:
    return np.asarray(image_of(text))


def check_error(response: Any, status: int) -> str:
    """Check the shape of an error; return its message. FastAPI has its own for paths and fields."""
    assert response.status_code == status, response.content
    error = response.json()
    if "error" not in error:
        assert list(error) == ["detail"]
        return str(error["detail"])
    assert list(error) == ["error", "detail", "body", "errors"]
    assert error["detail"] == error["errors"] != ""
    return str(error["detail"])


def recorded(name: str, photo: bytes, mask: bytes) -> dict[str, Any]:
    """A recorded request with these images in place of its own."""
    text = (PAYLOADS / f"{name}.json").read_text()
    found: dict[str, Any] = json.loads(text.replace("{photo}", encoded(photo)).replace("{mask}", encoded(mask)))
    return found
