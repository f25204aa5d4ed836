"""Helpers for one synchronous `POST /api/img2img`: its answer, its metadata and its result."""

from __future__ import annotations

from typing import Any

import numpy as np
from django.test import Client
from numpy.typing import NDArray

from inpainting.models import Generation
from tests.api.bodies import shape_a


def answer_for(client: Client, photo_png: bytes, mask_png: bytes, **fields: Any) -> dict[str, Any]:
    """Post a request; return its answer."""
    answer = client.post("/api/img2img", shape_a(photo_png, mask_png, seed="3", denoising_strength="1", **fields))
    content: dict[str, Any] = answer.json()
    return content


def metadata_for(client: Client, photo_png: bytes, mask_png: bytes, **fields: Any) -> dict[str, Any]:
    """Post a request that must succeed; return its metadata."""
    content = answer_for(client, photo_png, mask_png, **fields)
    assert content["status"] == "success", content
    metadata: dict[str, Any] = content["metadata"]
    return metadata


def result() -> NDArray[np.uint8]:
    """The pixels of the first generated image of the newest generation."""
    return np.asarray(Generation.objects.latest("created_at").images.get(index=0).read().pixels)
