"""The browser example of the SD Inpainting API's documentation, on a page of an origin that may call this server."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support import image_host
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

SNIPPET = Path(__file__).parent.parent / "payloads" / "snippets" / "sd_inpaint" / "inpaint.ts.txt"
AROUND = """async ([image, mask]) => {
const file = (name, bytes) => new File([new Uint8Array(bytes)], name, {type: "image/png"});
const imageFile = file("input.png", image), maskFile = file("mask.png", mask), result = new Image();
EXAMPLE
await result.decode();
return [result.naturalWidth, result.naturalHeight, response.headers.get("X-DreamLayer-Engine")];
}"""
"""`result` gets the URL at the place where the example leaves its use open."""
USE = "// Use the URL to display or download the image"


def test_the_example_works_on_a_page_of_an_allowed_origin(
    browser: Browser, open_site: Installation, image_port: int
) -> None:
    example = SNIPPET.read_text().replace("http://localhost:8000", open_site.url)
    assert USE in example
    program = AROUND.replace("EXAMPLE", example.replace(USE, "result.src = url;"))
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{image_port}/")
    images = [list(image_host.encoded(image)) for image in (image_host.photo(), image_host.mask())]
    assert page.evaluate(program, images) == [*image_host.SIZE, "quick-fill"]
    context.close()
