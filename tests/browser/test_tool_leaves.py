"""Geometry of the tools, zoom and the pointer with a stub in place of the tool; no server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Run

pytestmark = [pytest.mark.browser, pytest.mark.smoke]
PHOTO = "const photo = { width: 600, height: 400 };"


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("boxOf([9, 2], [3, 8])", [3, 2, 9, 8]),
        ("squared([10, 10], [4, 30])", [-10, 30]),
        ("clipped([-5, 3, 700, 20], photo)", [0, 3, 600, 20]),
        ("clipped([601, 3, 700, 20], photo)", None),
        ("widened([10, 10, 30, 20], 0.5)", [0, 0, 40, 30]),
        ("rounded([0.2, 1, 2.1, 3.9])", [0, 1, 3, 4]),
        ("visible({ scale: 2, left: -100, top: 50 }, { width: 300, height: 300 }, photo)", [50, 0, 200, 125]),
        ("largestSize({ width: 6000, height: 4000 })", 2000),
        ("largestSize({ width: 60, height: 40 })", 100),
        ("[1, 9, 10, 99, 100].map((size) => nextSize(size, 1, 100))", [2, 10, 11, 100, 100]),
        ("[1, 100].map((size) => nextSize(size, -1, 100))", [1, 90]),
    ],
)
def test_boxes_and_sizes(run: Run, call: str, result: Any) -> None:
    assert run("editor/tools/geometry", PHOTO + f"const {{{NAMES}}} = m; return {call}") == result


NAMES = "boxOf, squared, clipped, widened, rounded, visible, largestSize, nextSize"


def test_the_size_slider_reaches_half_of_the_photo_in_even_steps(run: Run) -> None:
    body = "return [0, 0.5, 1].map((place) => m.sizeAt(place, 2000)).concat(m.placeOf(m.sizeAt(0.7, 2000), 2000))"
    smallest, middle, largest, place = run("editor/tools/geometry", body)
    assert (smallest, largest) == (1, 2000)
    assert middle == pytest.approx(2000**0.5, rel=0.02)
    assert place == pytest.approx(0.7, abs=0.01)


def test_a_frame_is_dragged_outward_only_and_as_far_as_the_api_accepts(run: Run) -> None:
    body = """
        const start = { left: 10, top: 0, right: 0, bottom: 0 }
        return [m.dragged(start, "left top", [-5.4, 30]), m.dragged(start, "right", [99999, 7])].map(Object.values)
    """
    assert run("editor/tools/frame_geometry", body) == [[15, 0, 0, 0], [10, 0, 16384, 0]]


def test_a_size_and_a_ratio_become_margins_around_the_photo(run: Run) -> None:
    body = (
        PHOTO
        + """
        const wide = m.withRatio(photo, "16:9"), tall = m.withRatio(photo, "1:1")
        const framed = m.framed(photo, { width: 701, height: 300 })
        return [m.sizeOf(photo, wide), m.sizeOf(photo, tall), Object.values(framed), m.fieldsOf(framed), m.fieldsOf({})]
    """
    )
    wide, tall, framed, fields, nothing = run("editor/tools/frame_geometry", body)
    assert (wide, tall) == ({"width": 711, "height": 400}, {"width": 600, "height": 600})
    assert framed == [50, 0, 51, 0]
    assert fields == {"outpaint_left": 50, "outpaint_top": 0, "outpaint_right": 51, "outpaint_bottom": 0}
    assert nothing == {}


def test_edges_and_corners_of_the_frame_are_found_within_reach(run: Run) -> None:
    body = (
        PHOTO
        + """
        const frame = { left: 100, top: 0, right: 0, bottom: 50 }
        return [[-98, 200], [-104, 447], [598, 1], [300, 200], [-130, 200]].map((at) => m.edgesAt(photo, frame, at, 5))
    """
    )
    assert run("editor/tools/frame_geometry", body) == ["left", "left bottom", "top right", "", ""]


def test_options_are_remembered_and_damaged_ones_are_not(run: Run) -> None:
    body = """
        const kept = new Map([["dreamlayer.tools", '{"size": "huge", "hardness": 0.5, "evil": 1}']])
        const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) }
        const options = new m.Options(storage)
        options.set({ tool: "lasso" })
        const { tool, size, hardness, evil } = new m.Options(storage).values
        return [tool, size, hardness, evil === undefined]
    """
    assert run("editor/tools/options", body) == ["lasso", 40, 0.5, True]


POINTER = """
    const surface = document.body.appendChild(document.createElement("div"))
    surface.style.cssText = "position: fixed; left: 0; top: 0; width: 400px; height: 300px; z-index: 99"
    surface.setPointerCapture = () => {}
    const calls = []
    const tool = {
        down: ({ x, y, pressure, type, erases }) => calls.push(["down", x, y, pressure, type, erases]),
        move: (points) => calls.push(["move", ...points.map(({ x }) => x)]),
        up: () => calls.push("up"), cancel: () => calls.push("cancel"),
    }
    const view = { viewport: { scale: 2, left: 0, top: 0 }, minScale: 0.1, setViewport(next) { this.viewport = next } }
    m.listen(surface, { view, tool })
    const send = (type, pointerType, pointerId, x, y, more = {}) => surface.dispatchEvent(new PointerEvent(type, {
        pointerType, pointerId, clientX: x, clientY: y, button: 0, buttons: 1, pressure: 0.5, cancelable: true, ...more,
    }))
"""


def test_pens_press_mice_do_not_and_the_other_button_erases(run: Run) -> None:
    body = (
        POINTER
        + """
        send("pointerdown", "mouse", 1, 20, 10); send("pointermove", "mouse", 1, 30, 10)
        send("pointerup", "mouse", 1, 30, 10)
        send("pointerdown", "pen", 2, 20, 10, { pressure: 0.25 }); send("pointerup", "pen", 2, 20, 10)
        send("pointerdown", "mouse", 1, 20, 10, { button: 2, buttons: 2 }); send("pointerup", "mouse", 1, 20, 10)
        return calls
    """
    )
    assert run("editor/input/pointer", body) == [
        *(["down", 10, 5, 1, "mouse", False], ["move", 15], "up"),
        *(["down", 10, 5, 0.25, "pen", False], "up", ["down", 10, 5, 1, "mouse", True], "up"),
    ]


def test_two_fingers_zoom_and_a_palm_beside_a_pen_does_nothing(run: Run) -> None:
    body = (
        POINTER
        + """
        send("pointerdown", "touch", 1, 100, 100); send("pointerdown", "touch", 2, 200, 100)
        send("pointermove", "touch", 2, 300, 100); send("pointerup", "touch", 2, 300, 100)
        send("pointermove", "touch", 1, 120, 100); send("pointerup", "touch", 1, 120, 100)
        const { scale } = view.viewport, first = calls.splice(0)
        send("pointerdown", "pen", 3, 20, 10); send("pointerdown", "touch", 4, 200, 200)
        send("pointermove", "touch", 4, 210, 200); send("pointerup", "pen", 3, 20, 10)
        send("pointerup", "touch", 4, 210, 200)
        send("pointerdown", "touch", 5, 200, 200); send("pointerup", "touch", 5, 200, 200)
        return [first.map((each) => each[0].length > 1 ? each[0] : each), scale, calls.map((each) => each[4] ?? each)]
    """
    )
    first, scale, with_pen = run("editor/input/pointer", body)
    assert first == ["down", "cancel"]
    assert scale == 4
    assert with_pen == ["pen", "up"]


def test_the_wheel_zooms_at_the_pointer_and_the_middle_button_drags(run: Run) -> None:
    body = (
        POINTER
        + """
        surface.dispatchEvent(new WheelEvent("wheel", { deltaY: -100, clientX: 50, clientY: 50, cancelable: true }))
        const { scale, left } = view.viewport
        send("pointerdown", "mouse", 1, 0, 0, { button: 1, buttons: 4 }); send("pointermove", "mouse", 1, 7, 9)
        send("pointerup", "mouse", 1, 7, 9)
        return [scale, (50 - left) / scale, view.viewport.left - left, calls]
    """
    )
    scale, under, moved, calls = run("editor/input/pointer", body)
    assert scale == pytest.approx(2 * 2.718281828**0.2)
    assert (under, moved, calls) == (pytest.approx(25), pytest.approx(7), [])
