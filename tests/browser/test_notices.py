"""A person who is elsewhere is told that a long painting or batch has ended: in the title, by a notification and by a
sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, WebSocketRoute, expect

from tests.browser.conftest import sign_up, watched_page
from tests.browser.editor_page import (
    GENERATION_URL,
    close_settings,
    more_settings,
    open_photo,
    paint_line,
    start,
    wait_on_a_fake_generation,
)
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

ID = GENERATION_URL.split("/")[3]
RECORDED = """
window.told = []
window.isAway = false
Object.defineProperty(document, "hidden", { get: () => window.isAway })
window.Notification = class {
    static permission = "default"
    static async requestPermission() { return this.permission = window.answered ?? "granted" }
    constructor(title, { body }) { told.push(["notification", title, body]) }
}
const start = OscillatorNode.prototype.start
OscillatorNode.prototype.start = function (...times) {
    told.push(["sound", this.frequency.value])
    this.addEventListener("ended", () => setTimeout(() => told.push(["silence", this.context.state])))
    start.apply(this, times)
}
"""
UNTIL = """async (name) => { while (told.at(-1)?.[0] !== name) await new Promise((next) => setTimeout(next, 20)) }"""
TONE = ["sound", 660]
WISH = "Notify me, with a sound, when a long painting ends"


class Waiting:
    """An editor with a photo, whose generation is painted from `begin` until `end`."""

    def __init__(self, page: Page, photo_file: Path) -> None:
        self.page = page
        self.sockets: list[WebSocketRoute] = []
        page.add_init_script(RECORDED)
        sign_up(page)
        self.state, _ = wait_on_a_fake_generation(page)
        page.route_web_socket("**/ws/generations/", lambda socket: self.sockets.append(socket))
        page.reload()
        open_photo(page, photo_file)

    def begin(self) -> None:
        self.state.update(id=ID, status="running", seconds=None, source="/", mask="/", source_name="astronaut.png")
        self.state.update(images=[], parent=None, error=None, metadata={})
        paint_line(self.page, from_left=0.4, to_left=0.6)
        start(self.page)
        expect(self.page.locator("#leave")).to_be_enabled()
        self.sockets[-1].send(json.dumps({"id": ID, "type": "progress", "step": 1, "of": 4, "percent": 25}))
        expect(self.page).to_have_title("25 % · Editor – DreamLayer")

    def wish(self) -> None:
        more_settings(self.page)
        self.page.get_by_label(WISH).check()
        close_settings(self.page)

    def leave(self, *, away: bool = True) -> None:
        self.page.evaluate(
            "(away) => { window.isAway = away; document.dispatchEvent(new Event('visibilitychange')) }", away
        )

    def end(self, status: str, seconds: float) -> None:
        error = {"message": "The memory is full."} if status == "failed" else None
        self.state.update(status=status, seconds=seconds, error=error)
        with self.page.expect_response(f"**{GENERATION_URL}"):
            self.sockets[-1].send(json.dumps({"id": ID, "type": status}))

    @property
    def told(self) -> list[list[Any]]:
        told: list[list[Any]] = self.page.evaluate("told")
        return told


@pytest.fixture
def waiting(visitor: Page, photo_file: Path) -> Waiting:
    return Waiting(visitor, photo_file)


def test_one_who_is_elsewhere_is_told_by_title_notification_and_sound(waiting: Waiting) -> None:
    waiting.wish()
    waiting.begin()
    waiting.leave()
    waiting.end("failed", 12)
    expect(waiting.page).to_have_title("✗ Failed · Editor – DreamLayer")
    waiting.page.evaluate(UNTIL, "silence")
    assert waiting.told == [
        ["notification", "A photo could not be painted", "astronaut.png"],
        TONE,
        ["silence", "closed"],
    ]
    waiting.leave(away=False)
    expect(waiting.page).to_have_title("Editor – DreamLayer")


@pytest.mark.parametrize(
    ("wished", "away", "status", "seconds", "title"),
    [
        (False, True, "succeeded", 12, "✓ Done · "),
        (True, True, "succeeded", 9, "✓ Done · "),
        (True, True, "cancelled", 12, ""),
        (True, False, "succeeded", 12, ""),
    ],
    ids=["without the wish", "a short one", "a cancelled one", "a page that is looked at"],
)
def test_nobody_is_disturbed_by(
    waiting: Waiting, wished: bool, away: bool, status: str, seconds: float, title: str
) -> None:
    if wished:
        waiting.wish()
    waiting.begin()
    waiting.leave(away=away)
    waiting.end(status, seconds)
    expect(waiting.page).to_have_title(f"{title}Editor – DreamLayer")
    waiting.page.wait_for_timeout(100)
    assert waiting.told == []


def test_the_wish_is_remembered_and_taken_back_where_the_browser_refuses(waiting: Waiting) -> None:
    page, box = waiting.page, waiting.page.get_by_label(WISH)
    page.evaluate("window.answered = 'denied'")
    more_settings(page)
    box.click()
    expect(box).not_to_be_checked()
    page.evaluate("window.answered = 'granted'")
    box.click()
    expect(box).to_be_checked()
    page.add_init_script("Notification.permission = 'granted'")
    page.reload()
    expect(page.locator("#notices")).to_be_checked()


def test_the_browser_is_asked_for_its_permission(browser: Browser, site: Installation, photo_file: Path) -> None:
    """With Chromium's own permission and notification."""
    context = browser.new_context(base_url=site.url, permissions=["notifications"])
    for page in watched_page(context):
        sign_up(page)
        box = page.locator("#notices")
        expect(box).to_be_enabled()
        box.evaluate("(box) => box.click()")
        expect(box).to_be_checked()
        page.reload()
        expect(box).to_be_checked()
        assert page.evaluate("Notification.permission") == "granted"


class RunningBatch:
    """The page of a batch of two photos, of which `counts` have ended, with a clock of its own."""

    def __init__(self, page: Page, photo_file: Path) -> None:
        self.page, self.counts = page, {"succeeded": 1, "running": 1}
        page.add_init_script(RECORDED)
        sign_up(page)
        page.goto("/batches/")
        page.wait_for_selector("#new-batch[data-ready]")
        page.set_input_files("#batch-input", photo_file)
        page.get_by_role("radio", name="Enlarge").check()
        page.get_by_role("button", name="Enlarge 1 photo").click()
        page.wait_for_url("**/batches/*-*/")
        page.route("**/api/batches/*/", self.answer)
        page.clock.install()
        page.reload()
        expect(page).to_have_title("50 % · Batch – DreamLayer")

    def answer(self, route: Route) -> None:
        states = ("succeeded", "failed", "refused", "cancelled", "queued", "running")
        counts = {state: self.counts.get(state, 0) for state in states}
        done = 2 - counts["running"]
        status = "done" if done == 2 else "running"
        route.fulfill(json={"counts": counts, "done": done, "total": 2, "status": status, "results": None, "items": []})

    def leave(self) -> None:
        self.page.evaluate("window.isAway = true; document.dispatchEvent(new Event('visibilitychange'))")

    def end(self, *, after_seconds: int, **counts: int) -> None:
        self.page.clock.run_for(1000 * after_seconds)
        self.counts = counts
        self.page.clock.run_for(2000)


@pytest.mark.parametrize(
    ("counts", "title", "told"),
    [
        ({"succeeded": 1, "failed": 1}, "✓ Done · ", ["Your batch is done", "1 finished, 1 without a result"]),
        ({"failed": 2}, "✗ Failed · ", ["No photo of your batch could be painted", "0 finished, 2 without a result"]),
        ({"cancelled": 2}, "", None),
    ],
    ids=["done", "failed", "cancelled"],
)
def test_one_who_is_elsewhere_is_told_that_a_batch_has_ended(
    visitor: Page, photo_file: Path, counts: dict[str, int], title: str, told: list[str] | None
) -> None:
    batch = RunningBatch(visitor, photo_file)
    visitor.get_by_label("Notify me, with a sound, when a long batch ends").check()
    batch.leave()
    batch.end(after_seconds=12, **counts)
    expect(visitor).to_have_title(f"{title}Batch – DreamLayer")
    if told:
        visitor.wait_for_function("told.length > 1")
    assert visitor.evaluate("told.slice(0, 2)") == ([["notification", *told], TONE] if told else [])


def test_a_short_batch_and_one_that_had_ended_before_disturb_nobody(visitor: Page, photo_file: Path) -> None:
    batch = RunningBatch(visitor, photo_file)
    visitor.get_by_label("Notify me, with a sound, when a long batch ends").check()
    batch.leave()
    batch.end(after_seconds=2, succeeded=2)
    expect(visitor).to_have_title("✓ Done · Batch – DreamLayer")
    visitor.reload()
    visitor.clock.run_for(20_000)
    expect(visitor).to_have_title("Batch – DreamLayer")
    assert visitor.evaluate("told") == []
