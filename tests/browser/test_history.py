"""The history and the page of one generation, with mouse, keyboard and fingers, and without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, Page, Route, StorageState, expect

from tests.browser.conftest import sign_up, watched_page
from tests.browser.database import change
from tests.browser.devices import ON_A_PHONE_TOO, Device
from tests.browser.editor_page import is_red
from tests.browser.painting import paint
from tests.support.installation import Installation


@pytest.fixture(scope="module")
def collector(browser: Browser, site: Installation) -> StorageState:
    """A user with 27 photos, the last one with three steps."""
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    sign_up(page)
    paint(page, 26, wait=False)
    (root,) = paint(page, 1)
    paint(page, 2, parent=root)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def history(browser: Browser, site: Installation, collector: StorageState, device: Device) -> Iterator[Page]:
    for page in watched_page(device.context(browser, base_url=site.url, storage_state=collector)):
        page.goto("/history/")
        yield page


@ON_A_PHONE_TOO
def test_more_cards_come_as_one_scrolls_and_show_before_and_after(history: Page, device: Device) -> None:
    loaded: list[str] = []
    history.on("request", lambda request: loaded.append(request.url))
    history.reload()
    cards = history.locator(".card")
    expect(cards).to_have_count(24)
    assert not [url for url in loaded if "/source/thumbnail/" in url], "the photos as they were are not loaded yet"
    first = cards.first.locator(".card-link")
    expect(first.locator(".before")).to_be_hidden()
    if device.pointer == "mouse":
        first.hover()
        expect(first.locator(".before")).to_be_visible()
        history.mouse.move(0, 0)
    first.focus()
    history.keyboard.press("ArrowRight")
    focused = cards.nth(1).locator(".card-link")
    expect(focused).to_be_focused()
    expect(focused.locator(".before")).to_be_visible()
    assert any("/source/thumbnail/" in url for url in loaded)
    cards.last.scroll_into_view_if_needed()
    expect(cards).to_have_count(27)
    expect(history.get_by_role("link", name="Older")).to_have_count(0)
    expect(history.get_by_role("heading", name="Today")).to_have_count(1)
    expect(cards.first.locator(".strip img")).to_have_count(3)
    expect(cards.first).to_contain_text("3 steps")
    expect(cards.nth(1).locator(".strip")).to_have_count(0)
    cards.first.locator(".strip a").first.click()
    history.get_by_role("link", name="3 steps of this photo").click()
    expect(cards).to_have_count(3)
    expect(cards.last.locator(".card-tree")).to_contain_text("Step 3, from step 1")


@ON_A_PHONE_TOO
def test_a_selection_by_keyboard_is_marked_downloaded_deleted_and_restored(history: Page) -> None:
    cards, count = history.locator(".card"), history.locator("#selected-count")
    names = [cards.nth(index).locator(".card-link").get_attribute("href") for index in range(3)]
    cards.first.locator(".card-link").focus()
    history.keyboard.press("Space")
    expect(count).to_have_text("1 selected")
    history.keyboard.press("ArrowRight")
    history.keyboard.press("ArrowRight")
    history.keyboard.press("Shift+Space")
    expect(count).to_have_text("3 selected")
    with history.expect_download() as archive:
        history.get_by_role("button", name="Download").click()
    assert re.fullmatch(r"dreamlayer-[\d-]+\.zip", archive.value.suggested_filename)
    star = cards.nth(4).get_by_role("button", name="Favourite")
    cards.nth(4).hover()
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    history.goto("/history/?favourite=on")
    expect(cards).to_have_count(1)
    kept = cards.first.get_by_role("button", name="Favourite")
    kept.click()
    expect(kept).to_have_attribute("aria-pressed", "false")
    history.goto("/history/?favourite=on")
    expect(cards).to_have_count(0)  # as the other devices expect it
    history.goto("/history/")
    cards.first.locator(".card-link").focus()
    history.keyboard.press("Space")
    history.keyboard.press("ArrowRight")
    history.keyboard.press("Space")
    history.keyboard.press("Delete")
    undo = history.get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    expect(history.locator("#undo")).to_contain_text(
        re.compile(r"4 generations deleted. This can be undone for \d+ s.")  # three steps of the first photo
    )
    expect(cards.first.locator(".card-link")).to_have_attribute("href", names[2] or "")
    undo.click()
    expect(cards.first.locator(".card-link")).to_have_attribute("href", names[0] or "")
    expect(undo).to_be_hidden()


def test_arrow_keys_go_from_day_to_day(browser: Browser, site: Installation, device: Device) -> None:
    for page in watched_page(device.context(browser, base_url=site.url)):
        sign_up(page)
        page.goto("/history/")
        oldest, *_ = paint(page, 5)
        earlier = "UPDATE inpainting_generation SET created_at = datetime(created_at, '-1 day') WHERE id = ?"
        change(site.folder, earlier, [(oldest.replace("-", ""),)])
        page.reload()
        expect(page.locator(".day h2")).to_have_text(["Today", "Yesterday"])
        links = page.locator(".card-link")
        links.nth(0).focus()
        page.keyboard.press("ArrowDown")
        expect(links.nth(4)).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(links.nth(0)).to_be_focused()
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        expect(links.nth(4)).to_be_focused()
        page.keyboard.press("Delete")
        expect(page.locator(".day h2")).to_have_text(["Today"])
        expect(links.nth(0)).to_be_focused()
        expect(page.get_by_role("link", name="History")).to_have_attribute("aria-current", "page")
        page.goto("/storage/")
        expect(page.get_by_role("link", name="History")).not_to_have_attribute("aria-current", "page")
        page.get_by_role("link", name="Batches").click()
        expect(page.get_by_role("link", name="Batches")).to_have_attribute("aria-current", "page")


@ON_A_PHONE_TOO
def test_the_history_is_searched_and_filtered_on_the_page(history: Page) -> None:
    cards, count = history.locator(".card"), history.locator("#history-count")
    search = history.get_by_label("Search")
    search.fill("meadow-1.png")
    search.press("Enter")
    expect(cards).to_have_count(2)  # of 24 and of two that were painted together
    expect(search).to_have_value("meadow-1.png")
    history.get_by_role("link", name="Show everything").click()
    expect(count).to_have_text("27")
    history.get_by_text("Filter", exact=True).click()
    history.get_by_label("To", exact=True).fill("2020-01-01")
    history.get_by_role("button", name="Search").click()
    expect(history.get_by_text("Nothing found")).to_be_visible()
    expect(history.get_by_text("Filter (1)")).to_be_visible()
    history.get_by_label("To", exact=True).fill("")
    history.get_by_label("From", exact=True).fill("2020-01-01")
    history.get_by_label("State").select_option("Finished")
    history.get_by_role("button", name="Search").click()
    expect(count).to_have_text("27")


@ON_A_PHONE_TOO
def test_a_generation_opens_in_the_editor_with_its_photo_and_mask(history: Page) -> None:
    history.locator(".card-link").last.click()
    history.get_by_role("link", name="Open in editor").click()
    expect(history.locator("#photo-name")).to_have_text(re.compile(r"^meadow-\d+\.png$"))
    expect(history.locator("#photo-covered")).to_have_text("8.3 % to repaint")  # 16 x 16 of 64 x 48 pixels
    assert is_red(history, 26 / 64, 22 / 48)
    assert not is_red(history, 0.1, 0.1)


@ON_A_PHONE_TOO
def test_a_history_without_generations_says_what_comes_next(visitor: Page) -> None:
    sign_up(visitor)
    visitor.goto("/history/")
    expect(visitor.get_by_text("Everything you paint stays here")).to_be_visible()
    expect(visitor.get_by_role("search")).to_have_count(0)
    visitor.goto("/history/?text=nothing")
    expect(visitor.get_by_text("Nothing found")).to_be_visible()
    visitor.get_by_role("link", name="Show everything").click()
    visitor.get_by_role("link", name="Open the editor").click()
    visitor.wait_for_selector("#editor[data-state=empty]")


@ON_A_PHONE_TOO
def test_without_scripts_links_and_buttons_do_the_same(
    browser: Browser, site: Installation, collector: StorageState, device: Device
) -> None:
    context = device.context(browser, base_url=site.url, storage_state=collector, java_script_enabled=False)
    page = context.new_page()
    page.goto("/history/?text=meadow")
    page.get_by_role("link", name="Older").click()
    cards = page.locator(".card")
    assert cards.count() == 3
    expect(page.locator(".selection-bar")).to_be_hidden()
    cards.first.hover()
    cards.first.get_by_role("checkbox").check()
    page.get_by_role("button", name="Delete").click()
    assert cards.count() == 2
    page.get_by_role("button", name="Undo").click()
    assert cards.count() == 3
    context.close()


@pytest.mark.parametrize("device", ["phone"], indirect=True)
def test_on_a_phone_fingers_select_delete_and_undo(history: Page) -> None:
    cards = history.locator(".card")
    wide = history.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    history.locator(".filter-more summary").tap()
    assert history.evaluate("document.documentElement.scrollWidth") <= 390
    first = cards.first.locator(".card-link").get_attribute("href")
    cards.first.locator(".card-select").tap()
    expect(history.locator("#selected-count")).to_have_text("1 selected")
    history.get_by_role("button", name="Delete").tap()
    expect(cards.first.locator(".card-link")).not_to_have_attribute("href", first or "")
    history.get_by_role("button", name="Undo").tap()
    expect(cards.first.locator(".card-link")).to_have_attribute("href", first or "")


@ON_A_PHONE_TOO
def test_one_generation_is_compared_shared_and_deleted(history: Page, browser: Browser, site: Installation) -> None:
    loaded: list[str] = []
    history.on("request", lambda request: loaded.append(request.url))
    history.locator(".card-link").first.click()
    before = history.locator(".compare .before")
    expect(before).to_have_css("clip-path", re.compile(r"inset\(0px 100%"))
    history.get_by_label("How much of the photo as it was").fill("40")
    expect(before).to_have_css("clip-path", re.compile(r"inset\(0px 60%"))
    assert not [url for url in loaded if re.search(r"/(images/0|source|mask)/$", url)], "full size is asked for"
    history.get_by_label("The link ends after").select_option("30 days")
    history.get_by_role("button", name="Create a link").click()
    link = history.locator(".share-link code").text_content() or ""
    visitor = browser.new_context()
    guest = visitor.new_page()
    guest.goto(link)
    expect(guest.get_by_alt_text("The shared image")).to_have_js_property("naturalWidth", 64)
    expect(guest.get_by_role("slider")).to_have_count(0)
    assert "meadow" not in guest.content()
    history.get_by_role("button", name="Revoke").click()
    history.get_by_label("Name on the page").fill("Meadow at noon")
    history.get_by_label("Show the photo as it was, too").check()
    history.get_by_role("button", name="Create a link").click()
    guest.goto(history.locator(".share-link code").text_content() or "")
    expect(guest.get_by_role("heading", name="Meadow at noon")).to_be_visible()
    as_it_was = guest.get_by_alt_text("The photo as it was")
    expect(as_it_was).to_have_js_property("naturalWidth", 64)
    expect(as_it_was).to_have_css("clip-path", re.compile(r"inset\(0px 50%"))
    guest.get_by_role("slider").fill("80")
    expect(as_it_was).to_have_css("clip-path", re.compile(r"inset\(0px 20%"))
    history.get_by_role("button", name="Revoke").click()
    expect(history.locator(".share-link")).to_have_count(0)
    assert guest.goto(link).status == 404  # type: ignore[union-attr]  # a navigation has a response
    visitor.close()
    address = history.url.partition("#")[0]
    history.get_by_role("button", name="Delete").click()
    expect(history.get_by_role("button", name="Undo")).to_be_visible()
    gone = history.context.request.get(address)
    assert gone.status == 404
    history.get_by_role("button", name="Undo").click()
    expect(history.locator(".card")).to_have_count(24)


def test_a_link_that_is_clicked_as_the_generation_ends_is_followed(visitor: Page, site: Installation) -> None:
    sign_up(visitor)
    (generation,) = paint(visitor, 1)
    state = "UPDATE inpainting_generation SET status = ?, lease_until = datetime('now', ?) WHERE id = ?"
    row = generation.replace("-", "")
    change(site.folder, "DELETE FROM inpainting_generatedimage WHERE generation_id = ?", [(row,)])
    change(site.folder, state, [("queued", "+1 hour", row)])
    pages: list[Route] = []
    visitor.route("**/history/", lambda route: pages.append(route))  # Playwright marks the function
    visitor.route_web_socket("**/ws/generations/**", lambda socket: socket.close())
    visitor.goto(f"/generations/{generation}/")
    expect(visitor.get_by_text("Waiting for its turn")).to_be_visible()
    visitor.evaluate("performance.now = () => 0")  # however slow this machine is, the link was clicked a moment ago
    visitor.get_by_role("link", name="History").first.click(no_wait_after=True)
    change(site.folder, state, [("cancelled", "+0 hours", row)])
    visitor.wait_for_timeout(3000)  # asked for each second
    pages[0].continue_()
    visitor.wait_for_url("**/history/")


@ON_A_PHONE_TOO
def test_a_shared_link_ends_by_itself(history: Page, browser: Browser, site: Installation, device: Device) -> None:
    history.locator(".card-link").first.click()
    history.get_by_label("The link ends after").select_option("1 day")
    history.get_by_role("button", name="Create a link").click()
    link = history.locator(".share-link code").text_content() or ""
    for guest in watched_page(device.context(browser)):
        guest.goto(link)
        expect(guest.get_by_role("img", name="The shared image")).to_be_visible()
        image = guest.get_by_role("link", name="Download").get_attribute("href") or ""
        change(site.folder, "UPDATE inpainting_share SET expires_at = datetime(expires_at, '-2 days')")
        guest.reload()
        expect(guest.get_by_role("heading", name="This link has ended")).to_be_visible()
        assert guest.request.get(urljoin(link, image)).status == 404
    history.reload()
    expect(history.get_by_role("button", name="Create a link")).to_be_visible()
    expect(history.locator(".share-link")).to_have_count(0)


def test_the_undo_of_a_deletion_is_offered_for_thirty_seconds(history: Page) -> None:
    history.clock.install()
    history.reload()
    card = history.locator(".card-link").nth(1)  # of one step
    address = card.get_attribute("href")
    card.focus()
    history.keyboard.press("Delete")
    offer = history.get_by_text("1 generation deleted.")
    expect(offer).to_contain_text(re.compile(r"This can be undone for (29|30) s\."))
    history.clock.run_for(20_000)
    expect(offer).to_contain_text(re.compile(r"for (9|10) s\."))
    history.get_by_role("button", name="Undo").click()  # the others need it
    expect(card).to_have_attribute("href", str(address))
    card.focus()
    history.keyboard.press("Delete")
    expect(offer).to_be_visible()
    restore = history.locator("#undo form").evaluate("form => Object.fromEntries(new FormData(form))")
    history.clock.run_for(31_000)
    expect(offer).to_be_hidden()
    assert history.request.post("/history/restore/", form=restore).ok  # the page's clock alone has run
