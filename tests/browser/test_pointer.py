"""The pointer, with a stub in place of the tool: pens, fingers, mice and the wheel."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Run

pytestmark = [pytest.mark.browser, pytest.mark.smoke]

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
