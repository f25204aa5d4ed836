"""What the editor shows of the live channel: the place in line, the time, the unfinished picture inside the mask."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.editor_page import is_red, open_photo, paint_line

pytestmark = pytest.mark.browser

HERE = "/api/generations/7c0e3f5a-6b1d-4d3a-9a51-0d9a4f1c2b3d/"
GREEN = (20, 200, 40)


@pytest.fixture
def tell(page: Page, photo_file: Path) -> Callable[[dict[str, Any]], None]:
    """tell(message): sends it to the page, which waits for the picture that it has asked for."""
    state: dict[str, Any] = {"status": "queued", "position": 3, "eta": 12.4, "progress": None}
    accepted = {"status": "processing", "id": HERE.split("/")[3], "url": HERE}
    sockets: list[WebSocketRoute] = []
    page.route("**/api/img2img", lambda route: route.fulfill(status=202, json=accepted))
    page.route(f"**{HERE}**", lambda route: route.fulfill(json=state))
    page.route_web_socket("**/ws/generations/**", lambda socket: sockets.append(socket))
    open_photo(page, photo_file)
    paint_line(page, from_left=0.45, to_left=0.55)
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#progress-text")).to_have_text("Waiting for its turn…")

    def send(message: dict[str, Any]) -> None:
        state["status"] = message["type"] if message["type"] != "progress" else "running"
        sockets[-1].send(json.dumps(message))

    return send


def preview_of(pixels: np.ndarray, box: list[int]) -> dict[str, Any]:
    data = cv2.imencode(".webp", pixels[:, :, ::-1])[1].tobytes()
    return {"url": "data:image/webp;base64," + base64.b64encode(data).decode(), "box": box}


def test_who_waits_sees_the_place_in_line_and_the_time(page: Page, tell: Callable[[dict[str, Any]], None]) -> None:
    detail = page.locator("#progress-detail")
    tell({"type": "queued", "position": 3, "eta": 12.4})
    expect(detail).to_have_text("3rd in line · about 12 s to go")
    tell({"type": "queued", "position": 1, "eta": None})
    expect(detail).to_have_text("1st in line")
    tell({"type": "progress", "step": 3, "of": 12, "percent": 25, "seconds_left": 75.2})
    expect(detail).to_have_text("Step 3 of 12 · about 1 min 15 s left")
    tell({"type": "progress", "step": 11, "of": 12, "percent": 91, "seconds_left": 0.2})
    expect(detail).to_have_text("Step 11 of 12 · about 1 s left")


def test_the_unfinished_picture_is_shown_inside_the_mask_alone(
    page: Page, tell: Callable[[dict[str, Any]], None]
) -> None:
    assert is_red(page)
    green = preview_of(np.full((64, 64, 3), GREEN, np.uint8), [0, 0, 256, 256])
    tell({"type": "progress", "step": 3, "of": 12, "percent": 25, "seconds_left": 9, "preview": green})
    page.wait_for_function(
        """() => {
            const canvas = document.getElementById("mask-canvas")
            const [x, y] = [Math.floor(canvas.width / 2), Math.floor(canvas.height / 2)]
            const [red, green, blue, alpha] = canvas.getContext("2d").getImageData(x, y, 1, 1).data
            return red < 60 && green > 150 && alpha === 255
        }"""
    )
    outside = page.evaluate(
        """() => {
            const canvas = document.getElementById("mask-canvas")
            return canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 4, 1, 1).data[3]
        }"""
    )
    assert outside == 0
    tell({"type": "cancelled"})
    expect(page.locator("#generate-message")).to_have_text("Cancelled. Your mask is still here.")
    assert is_red(page)
