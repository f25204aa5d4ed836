"""One request to the native API that is painted at once, what it is answered, and the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from django.test import Client
from numpy.typing import NDArray

from inpainting.models import Generation
from tests.api.bodies import shape_a


def sent(client: Client, photo_png: bytes, mask_png: bytes, **fields: Any) -> dict[str, Any]:
    answer = client.post("/api/img2img", shape_a(photo_png, mask_png, seed="3", denoising_strength="1", **fields))
    told: dict[str, Any] = answer.json()
    return told


def asked(client: Client, photo_png: bytes, mask_png: bytes, **fields: Any) -> dict[str, Any]:
    """The metadata of a success."""
    told = sent(client, photo_png, mask_png, **fields)
    assert told["status"] == "success", told
    metadata: dict[str, Any] = told["metadata"]
    return metadata


def result() -> NDArray[np.uint8]:
    """The first picture of the newest generation."""
    return np.asarray(Generation.objects.latest("created_at").images.get(index=0).read().pixels)
