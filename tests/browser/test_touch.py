"""The editor with fingers and a pen: painting, zoom, palms, every tool, the frame, the divider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.conftest import empty_draft, watched_page
from tests.browser.devices import DEVICES, Point, drag, point_at, press
from tests.browser.editor_page import generate, is_red, more_settings, open_photo, photo_box
from tests.browser.touch import Place, Touch
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

TURN_PEN_OVER = """() => {
    const eraser = { button: { value: 5 }, buttons: { value: 32 } }
    const turn = (event) => event.pointerType === "pen" && Object.defineProperties(event, eraser)
    for (const type of ["pointerdown", "pointermove"]) addEventListener(type, turn, { capture: true })
}"""
"""The buttons of an eraser by the Pointer Events specification, section 4.1.1.2; the DevTools protocol has none."""


@pytest.fixture
def phone(browser: Browser, site: Installation, signed_up: StorageState, photo_file: Path) -> Iterator[Page]:
    """The editor with an open photo."""
    for page in watched_page(DEVICES["phone"].context(browser, base_url=site.url, storage_state=signed_up)):
        empty_draft(page)
        page.goto("/")
        open_photo(page, photo_file)
        yield page


def at(page: Page, across: float, down: float) -> Place:
    """This point of the photo, 0 to 1, on the page."""
    box = photo_box(page)
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


@pytest.mark.smoke
def test_one_finger_paints_two_zoom_and_pan_and_palms_do_nothing(phone: Page) -> None:
    touch = Touch(phone)
    undo, zoom = phone.get_by_role("button", name="Undo"), phone.locator("#zoom-shown")
    touch.drag(at(phone, 0.4, 0.5), at(phone, 0.6, 0.5))
    assert is_red(phone)
    painted = phone.locator("#photo-covered").inner_text()

    fitted, before = zoom.inner_text(), photo_box(phone)
    touch.pinch((at(phone, 0.4, 0.3), at(phone, 0.6, 0.3)), (at(phone, 0.2, 0.3), at(phone, 0.8, 0.3)))
    expect(zoom).not_to_have_text(fitted)
    zoomed = photo_box(phone)
    assert zoomed["width"] == pytest.approx(3 * before["width"], rel=0.15)
    touch.pinch((at(phone, 0.4, 0.5), at(phone, 0.5, 0.5)), (at(phone, 0.35, 0.4), at(phone, 0.45, 0.4)))
    panned = photo_box(phone)
    assert panned["width"] == pytest.approx(zoomed["width"], rel=0.01)
    assert panned["x"] < zoomed["x"] - 10
    assert panned["y"] < zoomed["y"] - 10
    expect(phone.locator("#photo-covered")).to_have_text(painted)
    phone.get_by_role("button", name="Fit").tap()
    expect(zoom).to_have_text(fitted)

    touch.event("touchStart", at(phone, 0.8, 0.9))  # the palm is there before the pen
    touch.pen(at(phone, 0.2, 0.2), at(phone, 0.3, 0.2))
    touch.event("touchMove", at(phone, 0.9, 0.9))
    touch.event("touchEnd")
    touch.drag(at(phone, 0.5, 0.9), at(phone, 0.7, 0.9))  # and after it
    assert is_red(phone, 0.25, 0.2)
    assert not is_red(phone, 0.6, 0.9)
    assert not is_red(phone, 0.85, 0.9)
    undo.tap()
    expect(phone.locator("#photo-covered")).to_have_text(painted)
    assert not is_red(phone, 0.25, 0.2)
    assert phone.evaluate("[scrollX, scrollY, visualViewport.scale]") == [0, 0, 1]


def test_on_a_phone_the_bar_has_room_to_say_that_the_work_is_saved(phone: Page) -> None:
    saved = phone.locator("#saved")
    is_cut_off = """(element) => {
        const text = document.createRange()
        text.selectNodeContents(element)
        return text.getBoundingClientRect().width > element.getBoundingClientRect().width
    }"""
    expect(phone.locator("#photo-name")).to_have_text("astronaut.png")
    expect(phone.locator("#generate-hint")).to_have_text("Brush over what should go.")  # nothing is dropped on a phone
    for words in ("Saving…", "Saved"):
        saved.evaluate("(element, words) => { element.textContent = words }", words)
        assert not saved.evaluate(is_cut_off)
    Touch(phone).drag(at(phone, 0.4, 0.5), at(phone, 0.6, 0.5))
    expect(phone.locator("#photo-covered")).to_contain_text("% to repaint")
    for words in ("Saving…", "Saved"):
        saved.evaluate("(element, words) => { element.textContent = words }", words)
        assert not saved.evaluate(is_cut_off)


@pytest.mark.parametrize(
    "device", ["phone", *(pytest.param(name, marks=pytest.mark.full) for name in ("tablet", "desktop"))], indirect=True
)
def test_every_tool_is_used_by_finger_pen_and_mouse(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    covered, nothing = page.locator("#photo-covered"), "nothing to repaint yet"
    corners = ((0.2, 0.2), (0.4, 0.2), (0.4, 0.4), (0.2, 0.4))

    def over(*points: Point) -> None:
        drag(page, "#in-place", *points)

    def on(*points: Point) -> None:
        for point in points:
            point_at(page, "#in-place", point)

    shapes: dict[str, Callable[[], None]] = {
        "Rectangle": lambda: over(corners[0], corners[2]),
        "Ellipse": lambda: over(corners[0], corners[2]),
        "Lasso": lambda: over(*corners),
        "Polygon": lambda: on(*corners, corners[0]),
    }
    for name, draw in shapes.items():
        press(page, name)
        draw()
        assert is_red(page, 0.3, 0.3), name
        assert not is_red(page, 0.6, 0.6), name
        assert is_red(page, 0.22, 0.22) is (name != "Ellipse"), name
        press(page, "Undo")
        expect(covered).to_have_text(nothing)
    selections: list[tuple[str, Callable[[], None]]] = [
        ("Magic wand", lambda: on((0.5, 0.4))),
        ("Select an object", lambda: on((0.5, 0.4))),
        ("Select an object", lambda: over((0.2, 0.1), (0.8, 0.7))),
    ]
    for name, select in selections:
        press(page, name)
        select()
        expect(covered).not_to_have_text(nothing)
        assert not is_red(page, 0.02, 0.02), name
        press(page, "Undo")
        expect(covered).to_have_text(nothing)

    press(page, "Brush")
    over((0.2, 0.5), (0.8, 0.5))
    press(page, "Eraser")
    over((0.45, 0.5), (0.55, 0.5))
    assert is_red(page, 0.25, 0.5)
    assert not is_red(page)
    press(page, "Extend the photo")
    press(page, "Zoom out")
    width = page.locator("#tool-frame-width")  # among the options
    expect(width).to_have_value("256")
    over((1, 0.5), (1.1, 0.5))
    expect(width).not_to_have_value("256")


@pytest.mark.parametrize("device", ["tablet"], indirect=True)
def test_the_other_end_of_a_pen_erases(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    covered = page.locator("#photo-covered")
    drag(page, "#in-place", (0.2, 0.5), (0.8, 0.5))
    page.evaluate(TURN_PEN_OVER)
    drag(page, "#in-place", (0.45, 0.5), (0.55, 0.5))
    assert is_red(page, 0.25, 0.5)
    assert not is_red(page)
    press(page, "Undo")
    assert is_red(page)
    press(page, "Rectangle")
    drag(page, "#in-place", (0.4, 0.4), (0.6, 0.6))
    assert not is_red(page)
    assert is_red(page, 0.25, 0.5)
    press(page, "Undo")
    press(page, "Undo")
    expect(covered).to_have_text("nothing to repaint yet")


def test_a_pens_pressure_can_be_switched_off(phone: Page) -> None:
    touch, covered = Touch(phone), phone.locator("#photo-covered")

    def stroke(force: float) -> str:
        """The share of the photo that a stroke of the pen covers."""
        touch.pen(at(phone, 0.3, 0.5), at(phone, 0.7, 0.5), force=force)
        assert is_red(phone)
        share = covered.inner_text()
        press(phone, "Undo")
        expect(covered).to_have_text("nothing to repaint yet")
        return share

    hard, light = stroke(1), stroke(0.3)
    assert hard != light
    press(phone, "Options")
    phone.get_by_label("Pen pressure").uncheck()
    phone.keyboard.press("Escape")
    assert stroke(0.3) == hard


def test_straight_lines_are_drawn_by_finger(phone: Page) -> None:
    press(phone, "Options")
    straight = phone.get_by_role("button", name="Straight lines")
    expect(straight).to_have_attribute("aria-pressed", "false")
    straight.tap()  # closes the options
    for point in ((0.1, 0.2), (0.9, 0.2)):
        point_at(phone, "#in-place", point)
    drag(phone, "#in-place", (0.1, 0.5), (0.5, 0.8), (0.9, 0.5))
    assert is_red(phone, 0.5, 0.2)
    assert is_red(phone, 0.5, 0.5)
    assert not is_red(phone, 0.5, 0.8)
    press(phone, "Options")
    expect(straight).to_have_attribute("aria-pressed", "true")


def test_the_main_button_is_pressed_while_the_settings_are_open(phone: Page) -> None:
    drag(phone, "#in-place", (0.48, 0.5), (0.52, 0.5))
    more_settings(phone)
    last = phone.get_by_role("button", name="Back to the defaults")
    last.scroll_into_view_if_needed()
    button = phone.locator("#generate")
    below, above = button.bounding_box(), last.bounding_box()
    assert below is not None
    assert above is not None
    assert above["y"] + above["height"] <= below["y"]
    button.tap()
    expect(phone.locator("#result")).to_be_visible()
    expect(phone.get_by_label("Engine")).to_be_hidden()


def test_fingers_drag_the_edges_of_the_frame_and_the_divider(phone: Page) -> None:
    touch = Touch(phone)
    size = phone.locator("#tool-frame-width")  # among the options
    press(phone, "Extend the photo")
    phone.get_by_role("button", name="Zoom out").tap()
    expect(size).to_have_value("256")
    x, y = at(phone, 1, 0.5)
    touch.drag((x + 20, y), (x + 50, y))  # a finger beside the edge
    expect(size).not_to_have_value("256")
    wide = int(size.input_value())
    x, y = at(phone, 0, 1)
    touch.drag((x, y), (x - 30, y + 30))
    assert int(size.input_value()) > wide
    phone.get_by_role("button", name="Undo").tap()
    expect(size).to_have_value(str(wide))
    phone.get_by_role("button", name="Undo").tap()
    expect(size).to_have_value("256")

    phone.get_by_role("button", name="Fit").tap()
    phone.get_by_role("button", name="Brush", exact=True).tap()
    touch.drag(at(phone, 0.45, 0.5), at(phone, 0.55, 0.5))
    generate(phone)
    phone.get_by_role("button", name="Divider", exact=True).tap()
    divider = phone.get_by_role("slider", name="Divider")
    expect(divider).to_have_attribute("aria-valuenow", "50")
    before = photo_box(phone)
    touch.drag(at(phone, 0.5, 0.1), at(phone, 0.25, 0.3))
    expect(divider).to_have_attribute("aria-valuenow", "25")
    assert photo_box(phone) == before
    hold = phone.get_by_role("button", name="Hold").bounding_box()
    assert hold is not None
    result = phone.locator("#result-image")
    touch.event("touchStart", (hold["x"] + hold["width"] / 2, hold["y"] + hold["height"] / 2))
    expect(result).to_have_css("visibility", "hidden")
    touch.event("touchEnd")
    expect(result).to_have_css("visibility", "visible")
    touch.drag(at(phone, 0.7, 0.2), at(phone, 0.7, 0.4))  # elsewhere a finger moves the result
    assert photo_box(phone)["y"] > before["y"] + 10

    photo, step = phone.locator("#filmstrip button").first, phone.locator("#filmstrip button").nth(1)
    photo.tap()
    expect(phone.locator("#result")).to_be_hidden()
    expect(photo).to_have_attribute("aria-current", "step")
    step.tap()
    expect(step).to_have_attribute("aria-current", "step")
