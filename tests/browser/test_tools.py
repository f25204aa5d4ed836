"""Each tool with mouse, pen, fingers and keys: checked is the mask PNG that the page would send."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, CDPSession, Locator, Page, Response, Route, StorageState, expect

from tests.browser.conftest import watched_page
from tests.browser.devices import ON_A_PHONE_TOO, Device, press, reveal
from tests.browser.editor_page import SIDE, Pixels, generate, kept_generation, open_photo, photo_box
from tests.conftest import png
from tests.support.installation import Installation

pytestmark = pytest.mark.browser
WIDTH, HEIGHT, SCALE = 300, 200, 3
"""Of the photo, and how many CSS pixels one of its pixels takes on the stage."""

STAGE = """async (photo) => {
    const modules = ["document/store", "document/document", "document/images", "view/mask_view", "tools/toolbox",
        "input/pointer", "input/commands", "input/zoom"]
    const imported = await Promise.all(modules.map((name) => import(`editor/${name}`)))
    const { Store, push, put, MaskView, Toolbox, listen, Commands, zoomCommands } = Object.assign({}, ...imported)
    document.body.insertAdjacentHTML("beforeend", `<div id="stage" tabindex="0" role="application" aria-label="Stage">
        <canvas id="photo"></canvas><canvas id="overlay"></canvas></div>`)
    const [surface, photoCanvas, overlay] = ["stage", "photo", "overlay"].map((id) => document.getElementById(id))
    Object.assign(surface.style, { position: "fixed", inset: "0 auto auto 0", width: "900px", height: "600px",
        touchAction: "none", background: "white", zIndex: 100 })
    for (const canvas of [photoCanvas, overlay]) Object.assign(canvas.style, { position: "absolute", inset: 0 })
    const blob = new Blob([Uint8Array.from(atob(photo), (each) => each.charCodeAt(0))], { type: "image/png" })
    const bitmap = await createImageBitmap(blob), { width, height } = bitmap
    const store = new Store(), said = []
    const mask = new MaskView({ surface, photo: photoCanvas, overlay })
    store.subscribe(() => mask.show(store.view.operations))
    mask.open(bitmap, { width, height, shown: blob })
    const id = await put(blob)
    store.update((document) => push(document, { kind: "photo", photo: { id, name: "room.png", width, height } }))
    const toolbox = new Toolbox({ surface, store, mask, url: "/api/masks/", planUrl: "/api/plan/", words: "grabcut",
        maxMargin: 500, showMessage: (text) => said.push(text) })
    mask.onView = () => toolbox.redraw()
    listen(surface, { view: mask, tool: toolbox, onHover: (at, point) => toolbox.hover(at, point) })
    const commands = new Commands({ surface })
    const hand = { run: () => { surface.dataset.hand = true }, end: () => { surface.dataset.hand = false } }
    commands.connect({ ...toolbox.commands, ...zoomCommands(mask), hand })
    toolbox.options.set({ unit: "photo", size: 20, hardness: 1 })
    window.editor = { store, mask, toolbox, commands, said, view: () => mask.viewport }
    await mask.drawn()
}"""


class Stage:
    """The stage with the toolbox, and the photo's pixels as coordinates."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.devtools: CDPSession = page.context.new_cdp_session(page)

    def at(self, x: float, y: float) -> tuple[float, float]:
        place: list[float] = self.page.evaluate(
            "([x, y]) => { const v = editor.view(); return [v.left + x * v.scale, v.top + y * v.scale] }", [x, y]
        )
        return place[0], place[1]

    def drag(self, *points: tuple[float, float], button: Any = "left") -> None:
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=6)
        self.page.mouse.up(button=button)

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def choose(self, tool: str, **options: Any) -> None:
        self.page.evaluate("(all) => editor.toolbox.options.set(all)", options)
        self.page.evaluate("(tool) => editor.toolbox.choose(tool)", tool)

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [dict(zip("xy", self.at(*point), strict=True)) | {"id": index} for index, point in enumerate(points)]
        self.devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def pen(self, kind: str, point: tuple[float, float], force: float) -> None:
        x, y = self.at(*point)
        self.devtools.send(
            "Input.dispatchMouseEvent",
            {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "pointerType": "pen", "force": force,
             "clickCount": 1},
        )  # fmt: skip

    def mask(self) -> Pixels:
        """The PNG that would be sent, as 255 = repaint."""
        encoded = self.page.evaluate(
            """async () => {
                const bytes = new Uint8Array(await (await editor.mask.png()).arrayBuffer())
                return btoa(String.fromCharCode(...bytes))
            }"""
        )
        pixels = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_GRAYSCALE)
        assert pixels is not None
        assert pixels.shape == (HEIGHT, WIDTH)
        return np.asarray(255 - pixels, np.uint8)

    def operations(self) -> list[str]:
        found: list[str] = self.page.evaluate("editor.store.view.operations.map(({ kind }) => kind)")
        return found


@pytest.fixture
def stage(browser: Browser, site: Installation, signed_up: StorageState) -> Iterator[Stage]:
    context = browser.new_context(
        base_url=site.url, viewport={"width": 1000, "height": 700}, storage_state=signed_up, has_touch=True
    )
    for page in watched_page(context):
        page.goto("/keys/")
        page.evaluate(STAGE, base64.b64encode(png(room())).decode())
        yield Stage(page)


def room() -> Pixels:
    """A grey wall with a red disc of radius 30 around (200, 100) and a blue square from (40, 60) to (80, 100)."""
    pixels = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    cv2.circle(pixels, (200, 100), 30, (220, 30, 30), -1)
    pixels[60:100, 40:80] = (30, 60, 220)
    noise = np.random.default_rng(5).integers(-8, 9, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def drawn(draw: Callable[[Any], object]) -> Pixels:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    draw(expected)
    return expected


def overlap(found: Pixels, expected: Pixels) -> float:
    return float(
        np.count_nonzero((found > 127) & (expected > 127)) / np.count_nonzero((found > 127) | (expected > 127))
    )


def line(*points: tuple[int, int], size: int = 20) -> Pixels:
    return drawn(lambda mask: cv2.polylines(mask, [np.array(points)], False, 255, size, cv2.LINE_AA))


def test_the_brush_paints_straight_lines_with_shift_and_the_right_button_erases(stage: Stage) -> None:
    stage.drag((60, 50), (150, 50))
    stage.page.keyboard.down("Shift")
    stage.click(150, 150)
    stage.page.keyboard.up("Shift")
    assert overlap(stage.mask(), line((60, 50), (150, 50), (150, 150))) > 0.93
    stage.drag((150, 80), (150, 190), button="right")
    assert stage.mask()[100, 150] == 0
    stage.choose("eraser")
    stage.drag((60, 50), (100, 50))
    mask = stage.mask()
    assert (mask[50, 80], mask[50, 130]) == (0, 255)
    for _ in range(3):
        stage.page.keyboard.press("Control+Z")
    assert overlap(stage.mask(), line((60, 50), (150, 50))) > 0.93
    stage.page.keyboard.press("Control+Shift+Z")
    assert stage.mask()[100, 150] == 255


def test_straight_lines_are_dragged_or_clicked_from_end_to_end(stage: Stage) -> None:
    stage.drag((30, 30), (60, 30))
    stage.page.keyboard.press("s")
    stage.click(60, 100)  # not joined to the stroke before
    stage.click(200, 100)
    stage.drag((60, 150), (130, 190), (200, 150))
    straight = line((60, 100), (200, 100)) | line((60, 150), (200, 150)) | line((30, 30), (60, 30))
    assert overlap(stage.mask(), straight) > 0.93
    stage.choose("eraser")
    stage.drag((100, 100), (130, 100))
    assert [stage.mask()[100, x] for x in (80, 115)] == [255, 0]
    before = stage.operations()
    stage.page.mouse.move(*stage.at(60, 100))
    stage.page.mouse.down()
    stage.page.mouse.move(*stage.at(90, 100), steps=3)
    stage.page.keyboard.press("Escape")
    stage.page.mouse.up()
    assert stage.operations() == before
    stage.choose("brush")
    stage.page.keyboard.press("s")
    stage.drag((20, 120), (20, 180), (50, 180))
    assert stage.mask()[180, 20] == 255


def test_the_brush_has_a_size_on_the_screen_a_hardness_and_no_small_limit(stage: Stage) -> None:
    stage.choose("brush", unit="screen", size=60)
    stage.click(100, 100)
    assert np.count_nonzero(stage.mask()[100] > 127) == pytest.approx(60 / SCALE, abs=1)
    stage.choose("brush", size=9000)
    stage.click(100, 100)
    assert np.count_nonzero(stage.mask()[100] > 127) == pytest.approx(100, abs=1), "half of the shorter side"
    stage.page.keyboard.press("Control+Z")
    stage.choose("brush", unit="photo", size=40, hardness=0.2)
    stage.click(250, 150)
    profile = stage.mask()[150, 230:271].astype(int)
    assert profile.max() == 255
    assert len(np.unique(profile)) > 5, "a soft edge has greys"
    stage.page.keyboard.press("}")
    stage.page.keyboard.press("]")
    assert stage.page.evaluate("[editor.toolbox.options.values.hardness, editor.toolbox.options.values.size]") == [
        0.3,
        44,
    ]


def test_a_pens_pressure_makes_the_stroke_thinner(stage: Stage) -> None:
    stage.choose("brush", size=40)
    for x, force in ((80, 1.0), (220, 0.25)):
        stage.pen("mousePressed", (x, 60), force)
        stage.pen("mouseMoved", (x, 140), force)
        stage.pen("mouseReleased", (x, 140), 0)
    row = stage.mask()[100]
    hard, light = np.count_nonzero(row[:150] > 127), np.count_nonzero(row[150:] > 127)
    assert hard == pytest.approx(40, abs=2)
    assert 4 <= light <= 24


def test_one_finger_paints_two_zoom_and_neither_does_beside_a_pen(stage: Stage) -> None:
    stage.touch("touchStart", (100, 100))
    stage.touch("touchMove", (140, 100))
    stage.touch("touchEnd")
    painted = stage.mask()
    assert overlap(painted, line((100, 100), (140, 100))) > 0.9
    stage.touch("touchStart", (100, 50))
    stage.touch("touchStart", (100, 50), (140, 50))
    stage.touch("touchMove", (80, 50), (160, 50))
    stage.touch("touchEnd")
    assert stage.page.evaluate("editor.view().scale") > SCALE
    assert np.array_equal(stage.mask(), painted)
    stage.page.keyboard.press("0")
    stage.pen("mousePressed", (200, 150), 1)
    stage.pen("mouseReleased", (200, 150), 0)
    with_pen = stage.mask()
    stage.touch("touchStart", (100, 160))
    stage.touch("touchMove", (140, 160))
    stage.touch("touchEnd")
    assert np.array_equal(stage.mask(), with_pen)


def test_space_pans_after_a_stroke_and_keys_zoom(stage: Stage) -> None:
    stage.drag((60, 50), (150, 50))
    before, painted = stage.at(0, 0), stage.mask()
    stage.page.keyboard.down("Space")
    stage.drag((100, 100), (110, 105))
    stage.page.keyboard.up("Space")
    after = stage.at(0, 0)
    assert np.subtract(after, before) == pytest.approx([30, 15], abs=1)
    assert np.array_equal(stage.mask(), painted)
    stage.page.keyboard.press("+")
    assert stage.page.evaluate("editor.view().scale") == pytest.approx(1.5 * SCALE)
    stage.page.keyboard.press("1")
    assert stage.page.evaluate("editor.view().scale") == pytest.approx(1)
    stage.page.keyboard.press("0")
    assert stage.page.evaluate("editor.view().scale") == pytest.approx(SCALE)
    stage.page.mouse.move(*stage.at(100, 100))
    stage.page.mouse.wheel(0, -100)
    assert stage.page.evaluate("editor.view().scale") > SCALE


def test_shapes_fill_what_they_surround(stage: Stage) -> None:
    stage.choose("rectangle")
    stage.drag((20, 30), (70, 60))
    expected = drawn(lambda mask: cv2.rectangle(mask, (20, 30), (69, 59), 255, -1))
    assert overlap(stage.mask(), expected) > 0.98
    stage.choose("ellipse")
    stage.drag((120, 20), (200, 80))
    cv2.ellipse(expected, (160, 50), (40, 30), 0, 0, 360, 255, -1)
    assert overlap(stage.mask(), expected) > 0.97
    stage.choose("lasso")
    stage.drag((30, 100), (110, 100), (110, 180), (30, 180))
    cv2.rectangle(expected, (30, 100), (109, 179), 255, -1)
    assert overlap(stage.mask(), expected) > 0.96
    stage.choose("polygon")
    for corner in ((200, 110), (280, 110), (240, 180)):
        stage.click(*corner)
    assert stage.operations() == ["shape"] * 3
    stage.page.keyboard.press("Enter")
    cv2.fillPoly(expected, [np.array([(200, 110), (280, 110), (240, 180)])], 255)
    assert overlap(stage.mask(), expected) > 0.96
    stage.choose("rectangle", erases=True)
    stage.drag((0, 0), (300, 90))
    expected[:90] = 0
    assert overlap(stage.mask(), expected) > 0.96


def test_shift_makes_a_square_escape_drops_a_shape_and_a_click_is_none(stage: Stage) -> None:
    stage.choose("rectangle")
    stage.click(50, 50)
    assert stage.operations() == []
    stage.page.mouse.move(*stage.at(50, 50))
    stage.page.mouse.down()
    stage.page.mouse.move(*stage.at(80, 60))
    stage.page.keyboard.press("Escape")
    stage.page.mouse.up()
    assert not stage.mask().any()
    stage.page.keyboard.down("Shift")
    stage.drag((50, 50), (80, 60))
    stage.page.keyboard.up("Shift")
    assert np.count_nonzero(stage.mask()) == pytest.approx(900, rel=0.05)


def test_the_wand_selects_one_colour_connected_or_all(stage: Stage) -> None:
    stage.choose("wand")
    stage.click(200, 100)
    disc = drawn(lambda mask: cv2.circle(mask, (200, 100), 30, 255, -1))
    assert overlap(stage.mask(), disc) > 0.95
    stage.page.keyboard.down("Alt")
    stage.click(200, 100)
    stage.page.keyboard.up("Alt")
    assert not stage.mask().any()


def test_the_last_click_of_the_wand_is_tuned_in_one_step_of_undo(stage: Stage) -> None:
    stage.choose("rectangle")
    stage.drag((10, 10), (20, 20))
    before = stage.mask()
    stage.choose("wand", tolerance=0)
    stage.click(200, 100)
    narrow = np.count_nonzero(stage.mask())
    tune = "(all) => editor.toolbox.options.set(all)"
    for tolerance in (64, 255, 128):
        stage.page.evaluate(tune, {"tolerance": tolerance})
    assert np.count_nonzero(stage.mask()) > narrow
    stage.page.evaluate(tune, {"tolerance": 255, "contiguous": False})
    assert (stage.mask() == 255).all()
    assert stage.operations() == ["shape", "wand"]
    stage.page.keyboard.press("Control+Z")
    assert np.array_equal(stage.mask(), before)
    stage.page.evaluate(tune, {"tolerance": 10})
    assert np.array_equal(stage.mask(), before)
    stage.page.keyboard.press("Control+Shift+Z")
    assert (stage.mask() == 255).all()


def test_the_mask_grows_shrinks_and_softens_as_previewed(stage: Stage) -> None:
    stage.choose("rectangle")
    stage.drag((100, 60), (200, 140))
    run = stage.page.evaluate
    run("editor.commands.run('grow')")
    run("editor.toolbox.adjustment.set(10)")
    previewed = stage.mask()
    assert previewed[100, 92] == 255
    assert stage.operations() == ["shape"]
    stage.page.keyboard.press("Escape")
    assert stage.mask()[100, 92] == 0
    run("editor.commands.run('grow')")
    run("editor.toolbox.adjustment.set(10)")
    stage.page.keyboard.press("Enter")
    assert np.array_equal(stage.mask(), previewed)
    run("editor.commands.run('shrink')")
    run("editor.commands.run('finish')")
    assert np.count_nonzero(stage.mask()) < np.count_nonzero(previewed)
    run("editor.commands.run('feather')")
    run("editor.commands.run('finish')")
    assert len(np.unique(stage.mask())) > 5
    assert stage.operations() == ["shape", "grow", "grow", "feather"]


def test_holes_are_filled_and_the_mask_is_inverted_cleared_and_downloaded(stage: Stage) -> None:
    stage.choose("rectangle")
    stage.drag((50, 50), (150, 150))
    stage.choose("rectangle", erases=True)
    stage.drag((80, 80), (120, 120))
    assert stage.mask()[100, 100] == 0
    stage.page.evaluate("editor.commands.run('fill-holes')")
    assert stage.mask()[100, 100] == 255
    stage.page.keyboard.press("x")
    mask = stage.mask()
    assert (mask[100, 100], mask[10, 10]) == (0, 255)
    with stage.page.expect_download() as download:
        stage.page.evaluate("editor.commands.run('mask-download')")
    assert download.value.suggested_filename == "room-mask.png"
    with Image.open(download.value.path()) as image:
        assert np.array_equal(255 - np.asarray(image.convert("L")), mask)
    stage.page.keyboard.press("Delete")
    assert not stage.mask().any()


def test_a_click_or_a_box_selects_an_object_a_second_click_adds_and_alt_removes(stage: Stage) -> None:
    disc = drawn(lambda mask: cv2.circle(mask, (200, 100), 30, 255, -1))
    square = drawn(lambda mask: cv2.rectangle(mask, (40, 60), (79, 99), 255, -1))
    stage.choose("object")
    stage.click(205, 95)
    assert overlap(selected(stage, 1), disc) > 0.9
    stage.drag((30, 50), (90, 110))
    assert overlap(selected(stage, 2), disc | square) > 0.9
    stage.page.keyboard.down("Alt")
    stage.click(205, 95)
    stage.page.keyboard.up("Alt")
    mask = selected(stage, 3)
    assert overlap(mask, square) > 0.85
    assert mask[100, 200] == 0
    assert stage.page.evaluate("editor.said.at(-1)") == ""


def test_keys_alone_paint_a_dot_a_line_and_a_shape(stage: Stage) -> None:
    stage.page.locator("#stage").focus()
    stage.page.keyboard.press("ArrowRight")
    stage.page.keyboard.press("Enter")
    assert stage.mask()[100, 150] == 255
    for _ in range(4):
        stage.page.keyboard.press("Shift+ArrowRight")
    stage.page.keyboard.press("Shift+Enter")
    end = 150 + 4 * 40 // SCALE
    assert overlap(stage.mask(), line((150, 100), (end, 100))) > 0.9
    stage.page.keyboard.press("r")
    stage.page.keyboard.press("Enter")
    for key in ("ArrowLeft", "ArrowDown"):
        for _ in range(3):
            stage.page.keyboard.press(f"Shift+{key}")
    stage.page.keyboard.press("Enter")
    assert stage.operations() == ["stroke", "stroke", "shape"]
    assert stage.mask()[130, end - 30] == 255


def test_the_frame_is_dragged_and_becomes_the_fields_of_the_api(stage: Stage) -> None:
    stage.page.keyboard.press("-")
    stage.choose("frame")
    stage.drag((300, 100), (350, 100))
    stage.drag((0, 0), (-20, -30))
    frame = stage.page.evaluate("editor.store.view.frame")
    assert frame == pytest.approx({"left": 20, "top": 30, "right": 50, "bottom": 0}, abs=1)
    fields = stage.page.evaluate(
        "import('editor/tools/frame_geometry').then(({ fieldsOf }) => fieldsOf(editor.store.view.frame))"
    )
    assert fields == {f"outpaint_{side}": margin for side, margin in frame.items()}
    stage.page.keyboard.press("Control+Z")
    assert stage.page.evaluate("editor.store.view.frame.top") == 0
    assert not stage.mask().any()


@pytest.mark.smoke
@ON_A_PHONE_TOO
def test_the_page_has_the_options_of_each_tool_and_sends_mask_and_frame(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    options, covered = page.locator("#tool-options"), page.locator("#photo-covered")
    press(page, "Rectangle")
    numbers = reveal(page, options.get_by_role("group", name="By numbers", include_hidden=True))
    for label, pixels in (("Left", 10), ("Top", 20), ("Width", 64), ("Height", 128)):
        numbers.get_by_label(label).fill(str(pixels))
    numbers.get_by_label("Height").press("Enter")
    expect(covered).to_have_text("13 % to repaint")
    numbers.get_by_label("Left").fill("999")
    numbers.get_by_role("button", name="Add").click()
    expect(page.locator("#tool-message")).to_have_text("This lies outside the photo.")

    press(page, "Grow")
    options.get_by_label("Grow by").fill("30")
    expect(covered).to_have_text("28 % to repaint")
    options.get_by_role("button", name="Cancel").click()
    expect(covered).to_have_text("13 % to repaint")

    def number(label: str) -> Locator:
        return options.get_by_role("spinbutton", name=label)

    press(page, "Extend the photo")
    reveal(page, options.get_by_label("Ratio")).select_option("16:9")
    expect(number("Width")).to_have_value("455")
    expect(number("Left")).to_have_value("99")
    number("Bottom").fill("32")
    number("Bottom").press("Enter")
    expect(number("Height")).to_have_value(str(SIDE + 32))
    press(page, "Undo")
    reveal(page, options.get_by_label("Ratio"))
    expect(number("Height")).to_have_value(str(SIDE))

    page.keyboard.press("Escape")
    generate(page)
    expect(page.locator(".guides")).to_have_css("opacity", "0")  # the result is not covered by the frame's red
    stored = kept_generation(page)
    assert [stored["metadata"][name] for name in ("source_width", "source_height")] == [SIDE, SIDE]
    with Image.open(io.BytesIO(page.request.get(stored["mask"]).body())) as mask:
        repainted = np.asarray(mask.convert("L"))
    assert repainted.shape == (SIDE, 455)
    expected = np.full((SIDE, 455), 255, np.uint8)
    expected[:, 99 : 99 + SIDE] = 0
    expected[20:148, 109:173] = 255
    assert np.array_equal(repainted, expected)
    result, before = (page.locator(selector).bounding_box() for selector in ("#result-image", "#result-source"))
    assert result is not None
    assert before is not None
    assert result["width"] / before["width"] == pytest.approx(455 / SIDE, rel=0.01)


@ON_A_PHONE_TOO
def test_no_frame_takes_the_frame_away_and_undo_brings_it_back(page: Page, photo_file: Path, device: Device) -> None:
    open_photo(page, photo_file)
    press(page, "Extend the photo")
    sides = reveal(page, page.get_by_role("group", name="Pixels to add on each side", include_hidden=True))
    for side, pixels in (("Left", 40), ("Bottom", 24)):
        sides.get_by_label(side).fill(str(pixels))
        sides.get_by_label(side).press("Tab")
    generate = page.locator("#generate")
    expect(generate).to_be_enabled()
    framed = photo_box(page)
    assert framed["x"] >= 40  # room to drag the edges outward
    assert framed["x"] + framed["width"] <= device.width - 40
    page.get_by_role("button", name="No frame").click()
    for side in ("Left", "Top", "Right", "Bottom"):
        expect(sides.get_by_label(side)).to_have_value("0")
    expect(page.get_by_role("spinbutton", name="Height")).to_have_value(str(SIDE))
    expect(generate).to_be_disabled()
    page.keyboard.press("Control+z")
    expect(sides.get_by_label("Bottom")).to_have_value("24")
    expect(generate).to_be_enabled()


def test_the_page_lists_its_keys_and_the_image_follows_the_keyboard(page: Page, photo_file: Path) -> None:
    open_photo(page, photo_file)
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys and gestures")
    for words in ("Extend the photo", "Move the crosshair", "Ctrl+Enter", "S, Shift+click"):
        expect(sheet).to_contain_text(words)
    page.get_by_role("button", name="Close").click()
    page.locator("#surface").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#tool-message")).to_contain_text("Crosshair at 128, 128")
    page.keyboard.press("Shift+ArrowUp")
    expect(page.locator("#tool-message")).not_to_contain_text("128, 128")
    page.keyboard.press("Enter")
    expect(page.locator("#generate")).to_be_enabled()


def selected(stage: Stage, count: int) -> Pixels:
    """The mask once it consists of so many operations."""
    stage.page.wait_for_function("(count) => editor.store.view.operations.length === count", arg=count)
    return stage.mask()


def test_the_outline_of_what_a_click_would_select_is_shown_while_the_mouse_rests(stage: Stage) -> None:
    stage.choose("object")
    outline = stage.page.locator("#stage .guides path.guide-dark")
    stage.page.mouse.move(*stage.at(205, 95))
    expect(outline).to_have_count(1)
    box, (left, top), (right, bottom) = outline.bounding_box(), stage.at(170, 70), stage.at(230, 130)
    assert box is not None
    shown = [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]
    assert shown == pytest.approx([left, top, right, bottom], abs=6 * SCALE)
    stage.page.mouse.move(*stage.at(206, 97))
    expect(outline).to_have_count(0)
    assert stage.operations() == []


def test_clicks_add_to_the_last_object_and_take_away_and_undo_returns_to_the_clicks_before(stage: Stage) -> None:
    disc = drawn(lambda mask: cv2.circle(mask, (200, 100), 30, 255, -1))
    square = drawn(lambda mask: cv2.rectangle(mask, (40, 60), (79, 99), 255, -1))
    stage.choose("object", belongs="new")
    stage.click(205, 95)
    assert overlap(selected(stage, 1), disc) > 0.9
    stage.page.keyboard.down("Shift")
    stage.click(60, 80)
    assert overlap(selected(stage, 2), disc | square) > 0.85
    stage.page.keyboard.up("Shift")
    stage.choose("object", belongs="less")
    stage.click(62, 82)
    assert overlap(selected(stage, 3), disc) > 0.85
    stage.page.keyboard.press("Control+Z")
    assert overlap(selected(stage, 2), disc | square) > 0.85
    stage.click(58, 78)
    assert overlap(selected(stage, 3), disc) > 0.85


def test_soft_edges_are_greys_which_further_clicks_change_to_those_of_the_answer(stage: Stage) -> None:
    stage.page.evaluate(STAGE, base64.b64encode(png(cv2.GaussianBlur(room(), (0, 0), 2))).decode())

    def is_answer(response: Response) -> bool:
        hovers = b"svg" in (response.request.post_data_buffer or b"")
        return response.url.endswith("/api/masks/") and not hovers

    def click(x: float, y: float) -> Pixels:
        """The mask of the answer to a click."""
        with stage.page.expect_response(is_answer) as answered:
            stage.click(x, y)
        encoded = answered.value.json()["mask"].partition(",")[2]
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            return np.asarray(image)

    stage.choose("object", belongs="new", softEdges=True)
    answer = click(205, 95)
    disc = selected(stage, 1)
    assert np.count_nonzero((disc > 20) & (disc < 235)) > 100
    assert np.abs(disc.astype(int) - answer).max() <= 1
    stage.choose("object", belongs="more")
    answer = click(60, 80)
    both = selected(stage, 2)
    assert both[80, 60] == 255
    assert np.abs(both.astype(int) - np.maximum(disc, answer)).max() <= 2
    stage.choose("object", belongs="less")
    answer = click(62, 82)
    assert np.abs(selected(stage, 3).astype(int) - np.minimum(both, answer)).max() <= 3


def test_a_click_takes_the_place_of_the_one_before_and_counts_with_it_on_the_same_object(stage: Stage) -> None:
    disc = drawn(lambda mask: cv2.circle(mask, (200, 100), 30, 255, -1))
    square = drawn(lambda mask: cv2.rectangle(mask, (40, 60), (79, 99), 255, -1))
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if b"svg" in (route.request.post_data_buffer or b""):  # where the mouse rests
            return route.abort()
        held.append(route)
        return route.continue_() if len(held) in (2, 4) else None

    def click(x: float, y: float) -> None:
        before = len(held)
        stage.click(x, y)
        while len(held) == before:
            stage.page.wait_for_timeout(10)

    stage.page.route("**/api/masks/", hold_the_first)
    stage.choose("object", belongs="new")
    with stage.page.expect_event("requestfailed", lambda request: request.url.endswith("/api/masks/")):
        click(60, 80)
        click(205, 95)
    assert overlap(selected(stage, 1), disc) > 0.9
    assert stage.page.evaluate("editor.said.at(-1)") == ""
    with stage.page.expect_event("requestfailed", lambda request: request.url.endswith("/api/masks/")):
        click(60, 80)
        stage.page.evaluate("editor.toolbox.options.set({ belongs: 'more' })")
        click(195, 105)
    assert overlap(selected(stage, 2), disc | square) > 0.85
    stage.page.keyboard.press("Control+Z")
    assert overlap(selected(stage, 1), disc) > 0.9


def test_a_rough_lasso_is_snapped_to_the_edges_in_it(stage: Stage) -> None:
    disc = drawn(lambda mask: cv2.circle(mask, (200, 100), 30, 255, -1))
    stage.choose("lasso", snaps=True)
    stage.drag((160, 60), (240, 65), (245, 140), (158, 138), (160, 62))
    assert overlap(selected(stage, 1), disc) > 0.9
    assert stage.operations() == ["image"]
    stage.page.keyboard.press("Control+Z")
    assert stage.operations() == []
    stage.choose("lasso", snaps=False)
    stage.drag((160, 60), (240, 65), (245, 140), (158, 138), (160, 62))
    assert stage.operations() == ["shape"]


def test_words_are_sent_to_the_segmenter_that_reads_them(stage: Stage) -> None:
    """The installation of the tests has none, so that its refusal is shown."""
    stage.choose("object")
    stage.page.evaluate("editor.toolbox.tool.words('the red disc')")
    stage.page.wait_for_function("editor.said.at(-1).includes('does not read words')")
    stage.page.goto("/")
    expect(stage.page.locator("#tool-words")).to_have_count(0)
