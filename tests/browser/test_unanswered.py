"""A request whose answer is not known is kept and sent again under its key, and painted once."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, Response, expect

from tests.browser.conftest import sign_up, watched_page
from tests.browser.editor_page import is_red, open_photo, paint_line, start, white_square, written
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

LOSE_ANSWERS = """
    const listen = XMLHttpRequest.prototype.addEventListener
    XMLHttpRequest.prototype.addEventListener = function (type, callback) {
        const { lost } = sessionStorage
        if (type !== "load" || !lost) return listen.call(this, type, callback)
        if (lost === "connection") listen.call(this, type, () => this.dispatchEvent(new Event("error")))
    }
"""
"""JavaScript: answers to requests with files are lost; with sessionStorage.lost = "connection", the connection too."""


def test_a_request_without_an_answer_is_sent_again_under_its_key_and_painted_once(
    visitor: Page, photo_file: Path
) -> None:
    """The server accepts it, but the page is reloaded, or the connection is lost, before the answer arrives."""
    page = visitor
    page.add_init_script(LOSE_ANSWERS)
    sign_up(page)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.4, to_left=0.6)
    page.evaluate("sessionStorage.lost = 'answer'")
    with page.expect_response("**/api/img2img") as first:
        start(page)
    assert first.value.status == 202
    page.evaluate("sessionStorage.lost = ''")
    with page.expect_response("**/api/img2img") as repeated:
        page.reload()
    assert key_of(repeated.value) == key_of(first.value)
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    assert page.request.get("/api/generations/").json()["count"] == 1

    page.evaluate("sessionStorage.lost = 'connection'")
    with page.expect_response("**/api/img2img") as second:
        page.get_by_role("button", name="Try again").click()
    expect(page.locator("#generate-message")).to_contain_text("The server cannot be reached")
    page.evaluate("sessionStorage.lost = ''")
    with page.expect_response("**/api/img2img") as repeated:
        start(page)
    assert key_of(repeated.value) == key_of(second.value) != key_of(first.value)
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    assert page.request.get("/api/generations/").json()["count"] == 2


def key_of(answer: Response) -> str:
    return answer.request.headers["idempotency-key"]


def with_a_mask(page: Page, photo_file: Path) -> None:
    sign_up(page)
    open_photo(page, photo_file)
    paint_line(page, from_left=0.4, to_left=0.6)
    expect(page.locator("#saved")).to_have_text("Saved")


def is_painted_once(page: Page, keys: list[str]) -> None:
    """The result is shown, and the server has made it of several requests with one key."""
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    assert page.request.get("/api/generations/").json()["count"] == 1
    assert len(keys) > 1
    assert len(set(keys)) == 1


@pytest.fixture
def keys(visitor: Page) -> list[str]:
    """The keys of all requests to paint, in their order."""
    found: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/api/img2img"):
            found.append(request.headers["idempotency-key"])

    visitor.on("request", note)
    return found


def test_a_request_without_a_connection_is_sent_once_it_is_back(
    visitor: Page, photo_file: Path, keys: list[str]
) -> None:
    page = visitor
    with_a_mask(page, photo_file)
    page.context.set_offline(True)
    start(page)
    message = page.locator("#generate-message")
    expect(message).to_have_text(
        "The server cannot be reached. The request is kept, and sent again as soon as it can be."
    )
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    assert is_red(page)
    page.context.set_offline(False)
    is_painted_once(page, keys)
    expect(message).to_be_hidden()


def test_requests_without_a_connection_are_all_sent_in_their_order_once_it_is_back(
    visitor: Page, photo_file: Path, tmp_path: Path, keys: list[str]
) -> None:
    """Also after the page was closed meanwhile, in the shell of the installed app or where the server was stopped."""
    page, message = visitor, visitor.locator("#generate-message")
    with_a_mask(page, photo_file)
    page.route("**/api/img2img", lambda route: route.abort())
    start(page)
    expect(message).to_contain_text("The request is kept")
    paint_line(page, from_left=0.4, to_left=0.6, down=0.8)
    start(page)
    expect(message).to_contain_text("2 requests are kept")
    open_photo(page, written(white_square(), tmp_path / "second.png"))
    paint_line(page, from_left=0.2, to_left=0.3)
    start(page)
    expect(message).to_contain_text("3 requests are kept")
    expect(page.locator("#saved")).to_have_text("Saved")
    tried = list(dict.fromkeys(keys))
    assert len(tried) == 3
    keys.clear()
    page.unroute_all()
    page.reload()
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    expect(page.locator("#photo-name")).to_have_text("second.png")
    assert keys == tried
    expect(page.locator("#queue-button")).to_have_text("2 done")
    assert page.request.get("/api/generations/").json()["count"] == 3
    expect(page.locator("#saved")).to_have_text("Saved")
    keys.clear()
    page.reload()
    expect(page.locator("#editor")).to_have_attribute("data-state", "done")
    assert keys == []


def start_without_an_answer(page: Page, photo_file: Path, url: str) -> None:
    """Paint while requests to the URL fail; the request is kept."""
    with_a_mask(page, photo_file)
    page.route(url, lambda route: route.abort())
    start(page)
    expect(page.locator("#generate-message")).to_contain_text("The request is kept")


def test_a_request_is_sent_again_once_the_server_is_back(visitor: Page, photo_file: Path, keys: list[str]) -> None:
    page = visitor
    start_without_an_answer(page, photo_file, "**/api/**")
    expect(page.locator("#saved")).to_have_text("Offline: saved in this browser")
    page.unroute_all()
    is_painted_once(page, keys)


def test_a_request_that_was_not_answered_is_sent_again_after_a_reload(
    visitor: Page, photo_file: Path, keys: list[str]
) -> None:
    page = visitor
    start_without_an_answer(page, photo_file, "**/api/img2img")
    expect(page.locator("#saved")).to_have_text("Saved")
    page.unroute_all()
    page.reload()
    is_painted_once(page, keys)


def test_who_has_gone_on_meanwhile_finds_the_result_in_the_queue_on_any_device(
    visitor: Page, photo_file: Path, keys: list[str], browser: Browser, site: Installation
) -> None:
    """The server had accepted the request, and its answer was lost."""
    page, button = visitor, visitor.locator("#queue-button")
    page.add_init_script(LOSE_ANSWERS)
    with_a_mask(page, photo_file)
    page.evaluate("sessionStorage.lost = 'connection'")
    with page.expect_response("**/api/img2img"):
        start(page)
    expect(page.locator("#generate-message")).to_contain_text("The request is kept")
    page.evaluate("sessionStorage.lost = ''")
    paint_line(page, from_left=0.4, to_left=0.6, down=0.8)
    with page.expect_response("**/api/img2img"):  # the queue may show what is done before
        page.evaluate("window.dispatchEvent(new Event('online'))")
    expect(button).to_have_text("1 done")
    assert len(keys) == 2
    assert keys[0] == keys[1]
    expect(page.locator("#generate-message")).to_be_hidden()
    expect(page.locator("#editor")).to_have_attribute("data-state", "editing")
    assert is_red(page)
    assert is_red(page, down=0.8)
    expect(page.locator("#filmstrip li")).to_have_count(2)
    expect(page.locator("#saved")).to_have_text("Saved")
    page.reload()
    expect(button).to_have_text("1 done")
    expect(page.locator("#filmstrip li")).to_have_count(2)
    context = browser.new_context(base_url=site.url, storage_state=page.context.storage_state())
    for other in watched_page(context):
        other.goto("/")
        other.locator("#queue-button").click()
        expect(other.locator("#queue-list li")).to_have_count(1)
        other.get_by_role("button", name=f"Open {photo_file.name}").click()
        expect(other.locator("#editor")).to_have_attribute("data-state", "done")
        expect(other.locator("#queue-button")).to_be_hidden()
        expect(other.locator("#saved")).to_have_text("Saved")
    page.reload()
    page.wait_for_selector("#editor[data-ready]")
    expect(button).to_be_hidden()
    assert page.request.get("/api/generations/").json()["count"] == 1
