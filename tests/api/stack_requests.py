"""Requests that edit a photo in steps, and that store, change and show its stack."""

from __future__ import annotations

import json
from typing import Any, cast

import cv2
import numpy as np
from django.http import HttpResponse
from django.test import Client

from inpainting.core.codecs import decode_image
from inpainting.core.image import CanonicalImage, Mask
from tests.api.bodies import shape_a
from tests.conftest import png

Json = dict[str, Any]


def disc(x: int, y: int, radius: int = 8) -> Mask:
    mask = np.zeros((64, 96), np.uint8)
    cv2.circle(mask, (x, y), radius, 255, -1)
    return mask


LEFT, MIDDLE, RIGHT = disc(20, 30), disc(32, 30), disc(70, 40)


def edit(client: Client, image: bytes, mask: Mask, parent: str | None = None, **fields: Any) -> str:
    """The id of a generation that has painted the mask."""
    more = {**fields, **({} if parent is None else {"parent": parent}), "seed": "3", "prompt": ""}
    answer = client.post("/api/img2img", shape_a(image, png(255 - mask), **more))
    assert answer.status_code == 200, answer.content
    return str(answer.json()["id"])


def result_of(client: Client, generation: str, index: int = 0) -> bytes:
    return client.get(f"/api/generations/{generation}/images/{index}/").getvalue()


def decoded(data: bytes) -> CanonicalImage:
    return decode_image(data).image


def store(client: Client, generation: str) -> Json:
    answer = client.post("/api/stacks/", json.dumps({"generation": generation}), content_type="application/json")
    assert answer.status_code == 200, answer.content
    return cast("Json", answer.json())


def as_sent(step: Json) -> Json:
    return {name: step[name] for name in ("generation", "image", "hidden", "painted_back", "made_on")}


def patch(client: Client, stack: Json, steps: list[Json], revision: int | None = None) -> tuple[int, Json]:
    body = {"revision": stack["revision"] if revision is None else revision, "steps": steps}
    answer = cast(
        "HttpResponse", client.patch(f"/api/stacks/{stack['id']}/", json.dumps(body), content_type="application/json")
    )
    return answer.status_code, json.loads(answer.content)


def changed(client: Client, stack: Json, **by_place: Json) -> Json:
    """The stack with changes to some of its steps: `step_1={"hidden": True}`."""
    steps = [as_sent(step) | by_place.get(f"step_{place}", {}) for place, step in enumerate(stack["steps"])]
    status, answer = patch(client, stack, steps)
    assert status == 200, answer
    return answer


def image_of(client: Client, stack: Json, **query: str) -> bytes:
    answer = client.get(f"/api/stacks/{stack['id']}/image/", query)
    assert answer.status_code == 200, answer
    return answer.getvalue()


def chain(client: Client, image: bytes, *masks: Mask) -> list[str]:
    """Edits of a photo, each made on the result of the one before."""
    made: list[str] = []
    for mask in masks:
        made.append(edit(client, image, mask, made[-1] if made else None))
        image = result_of(client, made[-1])
    return made
