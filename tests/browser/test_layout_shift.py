"""What is on a page stays where it is while its images arrive."""

from __future__ import annotations

import time

import numpy as np
import pytest
from playwright.sync_api import Browser, FilePayload, Page, Route, StorageState, expect

from tests.browser.conftest import watched_page
from tests.browser.devices import ON_A_PHONE_TOO, Device
from tests.browser.editor_page import Pixels
from tests.conftest import png
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

REVIEW = "/admin/inpainting/generation/"
SECONDS_LATE = 0.4
SIZES = [(1200, 900), (600, 1100)]
OBSERVE = """
    window.shifts = []
    new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map(({ value, sources }) =>
        [value, sources.map(({ node }) => node?.nodeType === 1 ? node.outerHTML.slice(0, 100) : String(node?.data))]
    ))).observe({ type: "layout-shift", buffered: true })
"""
"""Layout Instability API, https://wicg.github.io/layout-instability/: the score of each shift, and what moved."""


@pytest.fixture(scope="module")
def site(administered_site: Installation) -> Installation:
    return administered_site


def inpaint(page: Page, photo: Pixels, size: tuple[int, int]) -> str:
    """The id of a new generation with a photo of this width and height."""
    width, height = size
    image = np.ascontiguousarray(photo.repeat(5, axis=0).repeat(5, axis=1)[:height, :width])
    mask = np.full((height, width), 255, np.uint8)
    mask[100:140, 100:140] = 0
    fields: dict[str, str | float | bool | bytes | FilePayload] = {"prompt": ""}
    for name, pixels in (("image", image), ("mask", mask)):
        fields[name] = {"name": f"{name}.png", "mimeType": "image/png", "buffer": png(pixels)}
    token = page.request.get("/session/").json()["csrf_token"]
    answer = page.request.post("/api/img2img", multipart=fields, headers={"X-CSRFToken": token})
    assert answer.ok, answer.text()
    pk: str = answer.json()["id"]
    return pk


def late(route: Route) -> None:
    time.sleep(SECONDS_LATE)
    route.continue_()


@ON_A_PHONE_TOO
def test_nothing_moves_while_images_arrive(
    browser: Browser, site: Installation, administrator: StorageState, photo: Pixels, device: Device
) -> None:
    context = device.context(browser, base_url=site.url, storage_state=administrator)
    context.add_init_script(OBSERVE)
    found = {}
    for page in watched_page(context):
        page.goto("/history/")
        ids = [inpaint(page, photo, size) for size in SIZES]
        page.goto(f"/generations/{ids[0]}/")
        page.get_by_role("button", name="Create a link").click()
        shared = page.locator(".share-link code").first.inner_text()
        page.route("**/*", lambda route: late(route) if route.request.resource_type == "image" else route.fallback())
        paths = (
            "/",
            "/history/",
            "/account/",
            shared,
            *(f"/generations/{pk}/" for pk in ids),
            REVIEW,
            f"{REVIEW}{ids[1]}/change/",
        )
        for path in paths:
            page.goto(path)
            for image in page.locator("main img:visible").all():
                expect(image).to_have_js_property("complete", True)
            page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
            found[path] = page.evaluate("window.shifts")
    assert {path: shifts for path, shifts in found.items() if shifts} == {}
