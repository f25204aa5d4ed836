"""Requests of Deep-Image's API, and its answers."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from django.test import Client
from numpy.typing import NDArray

from inpainting.core.codecs import decode_image
from inpainting.core.errors import InvalidRequest
from tests.conftest import png

PHOTO_URL, MASK_URL = "https://photos.example/beach.jpg", "https://photos.example/beach-mask.png"
PROCESS, PROCESS_LATER = "/rest_api/process_result", "/rest_api/process"
GENERATE = "background.generate."


def serve_images(monkeypatch: pytest.MonkeyPatch, photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> None:
    """Download the images of the requests from memory. White in the mask is repainted."""
    images = {PHOTO_URL: png(photo), MASK_URL: png(hole)}

    def download(url: str, *, field: str, **_: object) -> bytes:
        if url not in images:
            raise InvalidRequest("The host of this URL does not exist.", code="url_not_found", field=field)
        return images[url]

    monkeypatch.setattr("inpainting.api.images.download_image", download)


def let_nothing_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.generations.submit.notify_workers", lambda *_: None)


def inpainting(**generate: Any) -> dict[str, Any]:
    return {
        "url": PHOTO_URL,
        "background": {"generate": {"adapter_type": "inpainting", "ip_image2": MASK_URL, **generate}},
    }


def outpainting(**fields: Any) -> dict[str, Any]:
    return {"url": PHOTO_URL, "width": 150, "height": 100, "fit": {"canvas": "outpainting"}, **fields}


def generating(**generate: Any) -> dict[str, Any]:
    return {"background": {"generate": generate}}


def post(client: Client, body: Any, path: str = PROCESS) -> Any:
    return client.post(path, body, content_type="application/json")


def download(url: str) -> bytes:
    got = Client().get(urlsplit(url).path)
    assert got.status_code == 200
    return b"".join(got.streaming_content) if got.streaming else got.content  # type: ignore[attr-defined]


def size_of(data: bytes) -> list[int]:
    size = decode_image(data).image.size
    return [size.width, size.height]


def refused(got: Any, status: int) -> dict[str, Any]:
    assert got.status_code == status, got.content
    assert got["Content-Type"] == "application/json"
    body: dict[str, Any] = json.loads(got.content)
    return body


def has_message(got: Any, status: int, message: str) -> None:
    assert refused(got, status)["message"] == message
