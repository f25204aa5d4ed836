"""The server-sent events of FooocusAPI: progress, previews as PNG, pings, and the last event of every end."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from asgiref.sync import sync_to_async
from numpy.typing import NDArray
from PIL import Image

from accounts.models import User
from inpainting.api.compat.fooocus import DIALECT, events
from inpainting.core.codecs import thumbnail_webp
from inpainting.core.image import CanonicalImage
from inpainting.core.request import InpaintRequest
from inpainting.models import Generation
from inpainting.realtime.events import GenerationEvent, StepPreview, progress, queued, running

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def generation(alice: User, photo: NDArray[np.uint8], hole: NDArray[np.uint8]) -> Generation:
    request = InpaintRequest(CanonicalImage(photo), hole)
    made = Generation.from_request(request, owner=alice, engine="quick-fill", service="fooocus")
    made.save_new()
    return made


def content_of(sent: bytes) -> dict[str, Any]:
    """The JSON of an event in the service's exact form."""
    text = sent.decode()
    assert text.startswith("data: {")
    assert text.endswith("}\r\ndata: \r\n\r\n")
    found: dict[str, Any] = json.loads(text.splitlines()[0][6:])
    assert [name for name in found if name != "meta"] == ["progress", "preview", "message", "images"]
    return found


@pytest.mark.parametrize("shows_previews", [True, False])
async def test_progress_and_previews_are_sent(
    generation: Generation, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, shows_previews: bool
) -> None:
    webp = base64.b64encode(thumbnail_webp(CanonicalImage(photo), side=64)).decode()
    preview: StepPreview = {"url": f"data:image/webp;base64,{webp}", "box": [0, 0, 96, 64]}

    async def follow(pk: object) -> AsyncIterator[GenerationEvent | None]:
        for event in (queued(), None, running(), progress(1, 2, preview=preview), progress(2, 2)):
            yield event

    monkeypatch.setattr(events, "follow", follow)
    sent = [chunk async for chunk in events.stream(generation.pk, shows_previews=shows_previews, meta=DIALECT.meta)]
    assert sent.pop(1) == b": ping\r\n\r\n"
    waiting, first, second, interrupted = map(content_of, sent)
    assert not any("meta" in event for event in (waiting, first, second, interrupted)), "it belongs to the end"
    assert (waiting["progress"], interrupted["message"]) == (0, events.INTERRUPTED)
    assert (first["progress"], first["message"], first["images"]) == (50, "Step 1 of 2", [])
    assert (second["progress"], second["preview"]) == (99, None), "100 is the last event"
    if shows_previews:
        kind, _, data = first["preview"].partition(",")
        assert kind == "data:image/png;base64"
        assert Image.open(BytesIO(base64.b64decode(data))).format == "PNG"
    else:
        assert first["preview"] is None


async def last_message(generation: Generation) -> dict[str, Any]:
    sent = [chunk async for chunk in events.stream(generation.pk, shows_previews=True, meta=DIALECT.meta)]
    return content_of(sent[-1])


async def test_a_failure_is_the_last_event(generation: Generation) -> None:
    assert await sync_to_async(generation.start)()
    assert await sync_to_async(generation.fail)(code="crash", message="There was a crash.")
    last = await last_message(generation)
    assert (last["progress"], last["message"], last["images"]) == (100, "There was a crash.", [])
    assert (last["meta"]["engine"], last["meta"]["error"]) == ("quick-fill", "There was a crash.")


async def test_a_cancelled_or_deleted_task_is_stopped(generation: Generation) -> None:
    assert await sync_to_async(generation.cancel)()
    assert (await last_message(generation))["message"] == "Stopped"
    await generation.adelete()
    assert (await last_message(generation))["message"] == "Stopped"
