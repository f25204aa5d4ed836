"""IOPaint's own web app, from its package, with the session of this site: from loading to what it has erased."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, expect

from tests.browser.conftest import PATIENCE_MS, sign_up
from tests.browser.editor_page import Pixels
from tests.support.installation import Installation

pytestmark = [pytest.mark.browser, pytest.mark.clients]

RECORDING = "DREAMLAYER_RECORD_IOPAINT"
PAYLOADS = Path("tests/payloads/iopaint")
NAMES = {
    ("GET", "/api/v1/server-config"): "web_app_server_config",
    ("GET", "/api/v1/model"): "web_app_model",
    ("GET", "/api/v1/inputimage"): "web_app_input_image",
    ("GET", "/socket.io/"): "web_app_socket",
    ("POST", "/api/v1/gen-info"): "web_app_gen_info",
    ("POST", "/api/v1/inpaint"): "web_app_inpaint",
}
"""What the app sends from loading to what it has erased -> the name of the recorded request."""
IN_PATH = ("--in-path-of", "iopaint")
REPORTED = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`refused by policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`))
"""
KEEPING = """
const create = URL.createObjectURL;
URL.createObjectURL = (blob) => {
  const url = create.call(URL, blob);
  if (blob.type.startsWith("image/") && !(blob instanceof File)) window.lastBlob = url;
  return url;
};
const send = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (body) {
  if (body instanceof FormData) window.lastForm = [...body];
  return send.call(this, body);
};"""
FILES_OF_FORM = """() => Promise.all(window.lastForm.map(async ([name, file]) => (
  {name, filename: file.name, type: file.type, file: [...new Uint8Array(await file.arrayBuffer())]})))"""
SHOWN = """([x, y, colour]) => [...document.querySelectorAll("canvas")].some((canvas) =>
  canvas.getContext("2d").getImageData(x, y, 1, 1).data.slice(0, 3).join() === colour.join())"""


@pytest.fixture(scope="module")
def app_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with the app of the package iopaint, which need not be imported, nor its dependencies be there."""
    package = find_spec("iopaint")
    if package is None or package.origin is None:
        pytest.skip("iopaint is not installed; .ci/full installs it")
    folder = Path(package.origin).parent / "web_app"
    site = Installation(tmp_path_factory.mktemp("app-site"), DREAMLAYER_IOPAINT_APP=str(folder))
    site.migrate_with_key()
    with site.serving():
        yield site


@pytest.fixture
def sent() -> list[Request]:
    """What the app has sent."""
    return []


@pytest.fixture(params=["session"])
def app(
    request: pytest.FixtureRequest,
    browser: Browser,
    app_site: Installation,
    photo_file: Path,
    sent: list[Request],
) -> Iterator[Page]:
    """The app with a photo, of somebody who has a session, or a path token alone.

    Errors of its scripts, and what the policy refuses, fail; it does without what is 404.
    """
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "404" not in message.text:
            errors.append(message.text)

    context = browser.new_context(base_url=app_site.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(REPORTED)
    context.on("console", note)
    context.on("request", lambda each: sent.append(each))
    context.on("weberror", lambda error: errors.append(str(error.error)))
    page = context.new_page()
    page.add_init_script(KEEPING)
    place = "/iopaint/"
    if request.param == "session":
        sign_up(page)
    else:
        place = f"/t/{app_site.manage('create_api_key', 'a@b.example', '--create-user', *IN_PATH).strip()}{place}"
    with page.expect_response("**/api/v1/server-config"):
        page.goto(place)
    with page.expect_response("**/api/v1/gen-info"):
        page.set_input_files("input[type=file]", photo_file)
    expect(page.locator("canvas")).to_have_count(2)
    yield page
    assert bool(context.cookies()) is (request.param == "session")
    context.close()
    assert errors == []


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(data)))


def answer_of(page: Page) -> NDArray[np.uint8]:
    """The image that the app has got: Playwright does not have the bodies that it reads as blobs."""
    script = "fetch(window.lastBlob).then((got) => got.arrayBuffer()).then((data) => [...new Uint8Array(data)])"
    Installation.wait_until(lambda: page.evaluate("window.lastBlob"))
    return pixels_of(bytes(page.evaluate(script)))


def sent_image(data_url: str) -> NDArray[np.uint8]:
    return pixels_of(base64.b64decode(data_url.partition(",")[2]))


def choose_plugin(page: Page, *names: str) -> None:
    page.locator("button[aria-haspopup=menu]").first.click()
    for name in names:
        page.get_by_role("menuitem", name=name).click()


def erase(app: Page) -> Response:
    """Draw a stroke over the middle, and return the response to its request."""
    box = app.locator("canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    app.mouse.move(x - 40, y)
    app.mouse.down()
    app.mouse.move(x + 40, y, steps=8)
    with app.expect_response("**/api/v1/inpaint") as found:
        app.mouse.up()
    return found.value


def recorded(request: Request, app: Page, photo: Pixels) -> dict[str, Any]:
    """Return a request as `tests/payloads` has it, with `{photo}` and `{brush}` in place of its images."""
    address, headers = urlsplit(request.url), request.all_headers()
    query = re.sub(r"&t=[^&]*$", "", address.query)  # the time
    path = f"{address.path}?{query}" if query else address.path
    call: dict[str, Any] = {"method": request.method, "path": path, "headers": {"accept": headers["accept"]}}
    if headers.get("content-type", "").startswith("multipart/"):
        call["parts"] = app.evaluate(FILES_OF_FORM)  # Playwright does not have the files of forms.
        for part in call["parts"]:
            assert np.array_equal(pixels_of(bytes(part["file"])), photo)
            part["file"] = "{photo}"
    elif request.post_data is not None:
        call["json"] = json.loads(request.post_data)
        assert np.array_equal(sent_image(call["json"]["image"]), photo)
        start = "data:image/png;base64,"
        call["json"] |= {"image": f"{start}{{photo}}", "mask": f"{start}{{brush}}"}
    return call


def test_the_app_sends_what_is_recorded(app: Page, sent: list[Request], photo: Pixels) -> None:
    """With RECORDING in the environment, what it sends is stored."""
    assert erase(app).status == 200
    found = {(call.method, urlsplit(call.url).path): call for call in sent}
    for route, name in NAMES.items():
        call, file = recorded(found[route], app, photo), PAYLOADS / f"{name}.json"
        if RECORDING in os.environ:
            file.write_text(f"{json.dumps(call, indent=2)}\n")
        assert call == json.loads(file.read_text()), name
    assert {file.stem for file in PAYLOADS.glob("*.json")} == {*NAMES.values()}


@pytest.mark.parametrize("app", ["session", "path token"], indirect=True)
def test_a_stroke_erases_what_it_covers_and_nothing_else(app: Page, photo: Pixels) -> None:
    response = erase(app)
    assert response.status == 200, response.text()
    mask = sent_image(json.loads(response.request.post_data or "")["mask"])
    assert mask.shape[2] == 4
    marked, painted = mask[:, :, 0] > 127, answer_of(app)[:, :, :3]
    changed = np.any(painted != photo, axis=2)
    assert np.count_nonzero(changed[~marked]) == 0
    assert changed[marked].mean() > 0.5
    row, column = np.argwhere(changed & (np.abs(painted.astype(int) - photo).sum(axis=2) > 30))[0]
    shown = [int(column), int(row), painted[row, column].tolist()]
    Installation.wait_until(lambda: app.evaluate(SHOWN, shown))


def test_the_background_is_removed(app: Page) -> None:
    with app.expect_response("**/api/v1/run_plugin_gen_image") as found:
        choose_plugin(app, "RemoveBG", "Remove Background")
    assert found.value.status == 200, found.value.text()
    cut = answer_of(app)
    assert cut.shape[2] == 4
    assert {0, 255} <= set(np.unique(cut[:, :, 3]))


def test_a_click_selects_an_object(app: Page) -> None:
    choose_plugin(app, "Interactive Segmentation")
    box = app.locator("canvas").first.bounding_box()
    assert box is not None
    with app.expect_response("**/api/v1/run_plugin_gen_mask") as found:
        app.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert found.value.status == 200, found.value.text()
    mask = answer_of(app)[:, :, 3]
    assert 0 < np.count_nonzero(mask) < mask.size


def test_another_model_is_chosen(app: Page) -> None:
    app.keyboard.press("s")
    app.get_by_text("quick-fill", exact=True).click()
    with app.expect_response(
        lambda response: response.url.endswith("/api/v1/model") and response.request.method == "POST"
    ) as found:
        app.keyboard.press("s")
    assert found.value.json()["name"] == "quick-fill"
