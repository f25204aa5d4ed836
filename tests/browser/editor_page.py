"""Actions on the editor page: open a photo, paint a mask, choose settings, generate."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import FloatRect, Page, WebSocketRoute, expect

from tests.browser.devices import drag

AT_FIRST = "PNG files are lossless, so their quality cannot be chosen."
"""Why some settings are greyed out before any is changed."""
MS_TO_LOAD = 120_000
"""The first painting imports torch."""
SIDE = 256
GENERATION_URL = "/api/generations/7c0e3f5a-6b1d-4d3a-9a51-0d9a4f1c2b3d/"
"""Of a generation that is not there."""
Pixels = NDArray[np.uint8]


def written(pixels: Pixels, path: Path) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def white_square(side: int = SIDE) -> Pixels:
    """A black image with a white square in the middle, an eighth of its width."""
    mask = np.zeros((side, side), np.uint8)
    middle, half = side // 2, side // 16
    mask[middle - half : middle + half, middle - half : middle + half] = 255
    return mask


def drop(page: Page, selector: str, *paths: Path) -> None:
    """Dispatch a drop event with files on an element."""
    types = {".png": "image/png", ".jpg": "image/jpeg", ".tif": "image/tiff"}
    files = [[path.name, list(path.read_bytes()), types.get(path.suffix, "")] for path in paths]
    page.evaluate(
        """([selector, files]) => {
            const dataTransfer = new DataTransfer()
            for (const [name, bytes, type] of files) {
                dataTransfer.items.add(new File([new Uint8Array(bytes)], name, { type }))
            }
            for (const type of ["dragenter", "dragover", "drop"]) {
                const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true })
                document.querySelector(selector).dispatchEvent(event)
            }
        }""",
        [selector, files],
    )


def open_photo(page: Page, path: Path) -> None:
    page.wait_for_selector("#editor[data-ready]")
    page.set_input_files("#photo-input", path)
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")


def overlay_colour(page: Page, across: float = 0.5, down: float = 0.5) -> tuple[int, int, int, int]:
    """RGBA of the overlay at this point of the photo (0 to 1), after the next frame is drawn."""
    red, green, blue, alpha = page.evaluate(
        """async ([across, down]) => {
            const canvas = document.getElementById("mask-canvas")
            const frame = () => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))
            do await frame(); while (canvas.ariaBusy === "true") // the worker draws
            await frame()
            const [stage, photo] = ["mask-canvas", "in-place"].map((id) =>
                document.getElementById(id).getBoundingClientRect())
            const density = canvas.width / stage.width
            const x = Math.floor(density * (photo.left - stage.left + photo.width * across))
            const y = Math.floor(density * (photo.top - stage.top + photo.height * down))
            return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data]
        }""",
        [across, down],
    )
    return red, green, blue, alpha


def is_red(page: Page, across: float = 0.5, down: float = 0.5) -> bool:
    """Whether the overlay is red at this point of the photo (0 to 1), after the next frame is drawn."""
    red, green, blue, alpha = overlay_colour(page, across, down)
    return bool(alpha > 64 and red > 200 and green < 100 and blue < 120)


def photo_box(page: Page) -> FloatRect:
    """Where the photo is on the page, in CSS pixels."""
    box = page.locator("#in-place").bounding_box()
    assert box is not None
    return box


def paint_line(page: Page, *, from_left: float, to_left: float, down: float = 0.5) -> None:
    """Drag across the photo; coordinates from 0 to 1."""
    drag(page, "#in-place", (from_left, down), (to_left, down))


def choose_task(page: Page, task: str) -> None:
    """Choose "Remove", "Replace" or "Extend", in the row or behind the caret of the main button."""
    radio = page.get_by_role("radio", name=task, exact=True, include_hidden=True)
    if page.locator("#tasks-button").is_visible():
        page.locator("#tasks-button").click()
    page.locator("#tasks label").filter(has=radio).click()
    expect(radio).to_be_checked()


def enter_prompt(page: Page, prompt: str) -> None:
    """Say what should be there, which only replacing and extending ask for."""
    if page.locator("#prompt").is_hidden():
        choose_task(page, "Replace")
    page.get_by_label("Prompt", exact=True).fill(prompt)


def start(page: Page) -> None:
    """Press the main button, whatever it is called."""
    page.locator("#generate").click()


def generate(page: Page) -> None:
    start(page)
    expect(page.locator("#result")).to_be_visible()
    expect(page.locator("#figure-outside")).to_have_text("0")


def wait_on_a_fake_generation(page: Page) -> tuple[dict[str, Any], list[WebSocketRoute]]:
    """Answer the next request with a generation that stays as the first value; the sockets that follow it."""
    state: dict[str, Any] = {"status": "running", "position": None, "eta": None, "progress": None}
    sockets: list[WebSocketRoute] = []
    accepted = {"status": "processing", "id": GENERATION_URL.split("/")[3], "url": GENERATION_URL}
    page.route("**/api/img2img", lambda route: route.fulfill(status=202, json=accepted))
    page.route(f"**{GENERATION_URL}**", lambda route: route.fulfill(json=state))
    page.route_web_socket("**/ws/generations/**", lambda socket: sockets.append(socket))
    return state, sockets


def more_settings(page: Page) -> None:
    """Open all settings, which the gear hides."""
    if page.locator("#more").get_attribute("open") is None:
        page.locator("#more > summary").click()
    expect(page.get_by_label("Engine")).to_be_visible()
    if page.locator("#advanced").get_attribute("open") is None:
        page.locator("#advanced > summary").click()


def close_settings(page: Page) -> None:
    page.get_by_role("button", name="Close the settings").click()
    expect(page.get_by_label("Engine")).to_be_hidden()


def kept_generation(page: Page) -> dict[str, Any]:
    """The generation on the page, as the server stores it."""
    generation = re.search(r"generation=([0-9a-f-]{36})", page.url)
    assert generation is not None
    stored: dict[str, Any] = page.request.get(f"/api/generations/{generation[1]}/").json()
    return stored


def kept_metadata(page: Page) -> dict[str, Any]:
    metadata: dict[str, Any] = kept_generation(page)["metadata"]
    return metadata


def open_details(page: Page) -> None:
    """From a result to the page of its generation."""
    page.get_by_role("button", name="Figures of this result").click()
    page.get_by_role("link", name="All details").click()


def downloaded(page: Page) -> Pixels:
    """The result of editing astronaut.png, as its button downloads it."""
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "astronaut-2.png"
    with Image.open(download.value.path()) as image:
        return np.asarray(image)


def stored_mask(page: Page) -> Pixels:
    """The mask that the server stored: 255 = repaint."""
    generation = re.search(r"generation=([0-9a-f-]{36})", page.url)
    assert generation is not None
    answer = page.request.get(f"/api/generations/{generation[1]}/mask/")
    with Image.open(io.BytesIO(answer.body())) as image:
        return np.asarray(image.convert("L"))
