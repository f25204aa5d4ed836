"""Previews of the unfinished image: at most 256 pixels, with the part of the source image that they show."""

from __future__ import annotations

import base64
import threading
from dataclasses import replace
from uuid import uuid4

import cv2
import numpy as np
import pytest
from channels.db import database_sync_to_async as in_database
from numpy.typing import NDArray

from accounts.models import User
from inpainting.core.geometry import Box
from inpainting.engines import registry
from inpainting.engines.base import OnStep, Plan, Step
from inpainting.engines.quick_fill.declaration import QUICK_FILL
from inpainting.engines.quick_fill.engine import QuickFill
from inpainting.realtime import events
from inpainting.worker.progress import encode_preview
from inpainting.worker.run import run_waiting
from tests.realtime.conftest import Wait
from tests.realtime.sockets import events_until_end, session_socket
from tests.support.threads import with_own_connection

pytestmark = pytest.mark.django_db(transaction=True)
GREEN = (20, 200, 40)


class PreviewingEngine(QuickFill):
    """Paints everything green and sends one preview."""

    declaration = replace(QUICK_FILL, name="previewing")

    def inpaint(self, plan: Plan, on_step: OnStep) -> list[NDArray[np.uint8]]:
        size = plan.request.image.size
        image = np.full((size.height, size.width, 3), GREEN, np.uint8)
        on_step(Step(1, 3))
        on_step(Step(2, 3, preview=image))  # too soon after the first step to be stored
        on_step(Step(3, 3))
        return [image]


async def test_previews_are_sent_to_connected_clients(alice: User, wait: Wait, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.engines(), "previewing", PreviewingEngine())
    generation = await in_database(wait)(alice, engine="previewing")
    socket = await in_database(session_socket)(alice, f"/ws/generations/{generation.pk}/")
    await socket.connect()
    worker = threading.Thread(target=with_own_connection, args=(run_waiting,))
    worker.start()
    messages = await events_until_end(socket)
    worker.join()
    await socket.disconnect()
    assert messages[-1]["type"] == "succeeded"
    (shown,) = [message["preview"] for message in messages if "preview" in message]
    report = await in_database(lambda: generation.images.get().report)()
    assert shown["box"] == report["window"]
    image = decoded(shown["url"])
    left, top, right, bottom = shown["box"]
    assert image.shape == (bottom - top, right - left, 3)
    assert np.abs(image.astype(int) - GREEN).max() < 8


def test_a_preview_is_at_most_256_pixels_wide_or_high() -> None:
    step = Step(1, 2, preview=np.zeros((300, 1200, 3), np.uint8), box=Box(10, 20, 2410, 620))
    preview = encode_preview(step, None)
    assert preview is not None
    assert preview["box"] == [10, 20, 2410, 620]
    assert decoded(preview["url"]).shape == (64, 256, 3)


def test_a_step_without_preview_sends_none() -> None:
    assert encode_preview(Step(1, 2), None) is None


def decoded(url: str) -> NDArray[np.uint8]:
    start = "data:image/webp;base64,"
    assert url.startswith(start)
    data = np.frombuffer(base64.b64decode(url.removeprefix(start)), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert image is not None
    return image[:, :, ::-1].astype(np.uint8)


def test_the_last_preview_of_few_running_generations_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_PREVIEWS", 2)
    previews = [events.StepPreview(url=str(index), box=[]) for index in range(4)]
    pks = [uuid4() for _ in range(3)]
    for pk, preview in zip([*pks, pks[2]], previews, strict=True):
        events.publish(pk, 1, events.progress(1, 2, preview=preview))
    assert [events.last_preview(pk) for pk in pks] == [None, previews[1], previews[3]]
    events.publish(pks[1], 1, events.progress(2, 2))
    assert events.last_preview(pks[1]) == previews[1]
    for pk in pks:
        events.publish(pk, 1, events.cancelled())
    assert [events.last_preview(pk) for pk in pks] == [None] * 3
