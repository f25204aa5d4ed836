"""The editor shows WebSocket events: queue position, remaining time, the preview inside the mask."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE_MS
from tests.browser.devices import ON_A_PHONE_TOO
from tests.browser.editor_page import is_red, open_photo, overlay_colour, paint_line, start, wait_on_a_fake_generation

pytestmark = pytest.mark.browser

GREEN = (20, 200, 40)


@pytest.fixture
def send_event(page: Page, photo_file: Path) -> Callable[[dict[str, Any]], None]:
    """send_event(message) sends a WebSocket message to a page that waits for its generation."""
    state, sockets = wait_on_a_fake_generation(page)
    state["status"] = "queued"
    open_photo(page, photo_file)
    paint_line(page, from_left=0.45, to_left=0.55)
    start(page)
    expect(page.locator("#progress-text")).to_have_text("Waiting for its turn…")

    def send(message: dict[str, Any]) -> None:
        state["status"] = message["type"] if message["type"] != "progress" else "running"
        sockets[-1].send(json.dumps(message))

    return send


def preview_of(pixels: np.ndarray, box: list[int]) -> dict[str, Any]:
    data = cv2.imencode(".webp", pixels[:, :, ::-1])[1].tobytes()
    return {"url": "data:image/webp;base64," + base64.b64encode(data).decode(), "box": box}


@ON_A_PHONE_TOO
def test_the_page_shows_queue_position_and_remaining_time(
    page: Page, send_event: Callable[[dict[str, Any]], None]
) -> None:
    detail = page.locator("#progress-detail")
    send_event({"type": "queued", "position": 3, "eta": 12.4})
    expect(detail).to_have_text("Place 3 in line · about 12 s to go")
    send_event({"type": "queued", "position": 1, "eta": None})
    expect(detail).to_have_text("Place 1 in line")
    send_event({"type": "running"})
    text = page.locator("#progress-text")
    expect(text).to_have_text("Preparing…")
    send_event({"type": "running", "loading": {"model": "Stable Diffusion", "bytes": 2_200_000_000}})
    expect(text).to_have_text("Loading the model…")
    expect(detail).to_have_text("Stable Diffusion · 2.0 GB")
    send_event({"type": "progress", "step": 3, "of": 12, "percent": 25, "seconds_left": 75.2})
    expect(text).to_have_text("Painting…")
    expect(detail).to_have_text("Step 3 of 12 · about 1 min 15 s left")
    send_event({"type": "progress", "step": 11, "of": 12, "percent": 91, "seconds_left": 0.2})
    expect(detail).to_have_text("Step 11 of 12 · about 1 s left")


@ON_A_PHONE_TOO
def test_the_preview_is_shown_only_inside_the_mask(page: Page, send_event: Callable[[dict[str, Any]], None]) -> None:
    assert is_red(page)
    green = preview_of(np.full((64, 64, 3), GREEN, np.uint8), [0, 0, 256, 256])
    send_event({"type": "progress", "step": 3, "of": 12, "percent": 25, "seconds_left": 9, "preview": green})
    for _ in range(PATIENCE_MS // 100):
        r, g, b, a = overlay_colour(page)
        if r < 60 and g > 150 and a == 255:
            break
        page.wait_for_timeout(100)
    else:
        pytest.fail(f"no preview inside the mask: {(r, g, b, a)}")
    assert overlay_colour(page, down=0.25)[3] == 0
    send_event({"type": "cancelled"})
    expect(page.locator("#generate-message")).to_have_text("Cancelled. Your mask is still here.")
    assert is_red(page)
