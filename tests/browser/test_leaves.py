"""JavaScript modules without DOM access, run in a browser: strokes, undo, coordinates, masks, number formats."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Run

pytestmark = pytest.mark.browser


def test_undo_and_redo_walk_through_the_history(run: Run) -> None:
    body = """
        const history = new m.History()
        const seen = []
        const note = () => seen.push([history.marks.join(""), history.canUndo, history.canRedo])
        for (const mark of "abc") history.push(mark)
        note(); history.undo(); history.undo(); note(); history.redo(); note(); history.push("d"); note()
        return [seen, history.redo(), history.undo(), history.marks]
    """
    seen, redone, undone, marks = run("editor/history", body)
    assert seen == [["abc", True, False], ["a", True, True], ["ab", True, True], ["abd", True, False]]
    assert (redone, undone, marks) == (False, True, ["a", "b"])


def test_undo_of_an_empty_history_does_nothing(run: Run) -> None:
    assert run("editor/history", "return new m.History().undo()") is False


def test_a_point_converts_to_screen_coordinates_and_back(run: Run) -> None:
    body = """
        const viewport = { scale: 0.37, left: -12.5, top: 40 }
        return m.toImage(viewport, m.toScreen(viewport, { x: 123.25, y: 7.5 }))
    """
    point = run("editor/viewport", body)
    assert point == pytest.approx({"x": 123.25, "y": 7.5})


def test_an_image_point_is_not_accepted_as_a_screen_point(run: Run) -> None:
    body = "return Number.isNaN(m.toImage({ scale: 1, left: 0, top: 0 }, { x: 1, y: 1 }).x)"
    assert run("editor/viewport", body) is True


def test_a_fitted_photo_is_whole_and_centred(run: Run) -> None:
    fitted = run("editor/viewport", "return m.fit({ width: 400, height: 200 }, { width: 220, height: 300 }, 10)")
    assert fitted == pytest.approx({"scale": 0.5, "left": 10, "top": 100})


def test_zooming_keeps_the_point_under_the_pointer(run: Run) -> None:
    body = """
        const before = { scale: 0.5, left: 10, top: 20 }, under = { left: 77, top: 88 }
        const after = m.zoomAt(before, under, 3, 0.1)
        const smallest = m.zoomAt(before, under, 0.01, 0.2).scale
        return [after.scale, m.toImage(before, under), m.toImage(after, under), smallest]
    """
    scale, before, after, smallest = run("editor/viewport", body)
    assert scale == pytest.approx(1.5)
    assert after == pytest.approx(before)
    assert smallest == 0.2


def test_a_pinch_keeps_the_points_under_the_fingers(run: Run) -> None:
    body = """
        const viewport = { scale: 1, left: 0, top: 0 }
        const before = [{ left: 10, top: 10 }, { left: 30, top: 10 }]
        const after = [{ left: 50, top: 40 }, { left: 90, top: 40 }]
        const pinched = m.pinch(viewport, before, after, 0.1)
        return after.map((point) => m.toImage(pinched, point))
    """
    assert run("editor/viewport", body) == [{"x": 10, "y": 10}, {"x": 30, "y": 10}]


@pytest.mark.parametrize(("wanted", "size"), [(0, 1), (-5, 1), (7.4, 7), (100, 100), (1000, 100), ("NaN", 1)])
def test_a_brush_is_one_to_a_hundred_pixels_wide(run: Run, wanted: float | str, size: int) -> None:
    assert run("editor/strokes", f"return m.brushSize({wanted})") == size


def test_a_stroke_cannot_be_changed_afterwards(run: Run) -> None:
    body = """
        const points = [{ x: 1, y: 1 }]
        const stroke = m.stroke({ size: 5, erases: false, points })
        points.push({ x: 2, y: 2 })
        return [stroke.points.length, Object.isFrozen(stroke), Object.isFrozen(stroke.points)]
    """
    assert run("editor/strokes", body) == [1, True, True]


def test_the_mask_file_is_kept_until_it_is_cleared(run: Run) -> None:
    body = """
        const file = m.maskFile({ name: "a.png", picture: null })
        return [[file, m.INVERT], [file, m.CLEAR], [m.INVERT]].map((marks) => m.fileBeneath(marks)?.name ?? null)
    """
    assert run("editor/strokes", body) == ["a.png", None, None]


# Four RGBA pixels, of which the last differs.
WHITE, BLACK, CLEAR = "255,255,255,255", "0,0,0,255", "0,0,0,0"


@pytest.mark.parametrize(
    ("pixels", "alphas", "repaints"),
    [
        ([BLACK, BLACK, BLACK, WHITE], [0, 0, 0, 255], "light"),
        ([WHITE, WHITE, WHITE, BLACK], [0, 0, 0, 255], "dark"),
        ([WHITE, WHITE, BLACK, BLACK], [0, 0, 255, 255], "dark"),
        ([BLACK, BLACK, BLACK, CLEAR], [0, 0, 0, 255], "transparent"),
        ([CLEAR, CLEAR, CLEAR, WHITE], [0, 0, 0, 255], "opaque"),
        ([CLEAR, WHITE, WHITE, BLACK], [0, 0, 0, 255], "dark"),
        ([WHITE, WHITE, WHITE, "64,64,64,255"], [0, 0, 0, 191], "dark"),
    ],
)
def test_the_smaller_part_of_a_mask_file_is_repainted(
    run: Run, pixels: list[str], alphas: list[int], repaints: str
) -> None:
    body = f"""
        const rgba = new Uint8ClampedArray([{",".join(pixels)}])
        const read = m.readMask(rgba)
        return [[3, 7, 11, 15].map((i) => rgba[i]), read.repaints, read.flat]
    """
    assert run("editor/mask", body) == [alphas, repaints, False]


@pytest.mark.parametrize("colour", [WHITE, BLACK, CLEAR])
def test_a_mask_of_one_colour_repaints_nothing(run: Run, colour: str) -> None:
    body = f"""
        const rgba = new Uint8ClampedArray([{colour},{colour}])
        return [m.readMask(rgba).flat, rgba[3] + rgba[7]]
    """
    assert run("editor/mask", body) == [True, 0]


def test_a_known_polarity_is_not_guessed(run: Run) -> None:
    body = f"""
        const rgba = new Uint8ClampedArray([{WHITE},{WHITE},{WHITE},{BLACK}])
        m.readMask(rgba, "light")
        return [3, 7, 11, 15].map((i) => rgba[i])
    """
    assert run("editor/mask", body) == [255, 255, 255, 0]


DRAWN = """
    const size = { width: 20, height: 20 }
    const context = new OffscreenCanvas(20, 20).getContext("2d", { willReadFrequently: true })
    const at = (x, y) => [...context.getImageData(x, y, 1, 1).data]
    const dot = (x, erases = false) => ({ kind: "stroke", size: 8, erases, points: [{ x, y: 10 }] })
    const INVERT = { kind: "invert" }
"""


def test_strokes_become_pixels_and_the_eraser_removes_them(run: Run) -> None:
    body = f"""{DRAWN}
        m.draw(context, [dot(5), dot(15), dot(15, true)], size, "red")
        return [at(5, 10), at(15, 10)[3], at(5, 1)[3]]
    """
    assert run("editor/mask", body) == [[255, 0, 0, 255], 0, 0]


def test_inverting_twice_restores_the_mask(run: Run) -> None:
    body = f"""{DRAWN}
        const pixels = (marks) => {{
            m.draw(context, marks, size, "red")
            return [...context.getImageData(0, 0, 20, 20).data]
        }}
        const [once, twice] = [pixels([dot(5), INVERT]), pixels([dot(5), INVERT, INVERT])]
        return [once[3], once[4 * (10 * 20 + 5) + 3], String(twice) === String(pixels([dot(5)]))]
    """
    assert run("editor/mask", body) == [255, 0, True]


def test_the_sent_mask_is_black_where_the_server_repaints(run: Run) -> None:
    body = f"""{DRAWN}
        m.drawForServer(context, [dot(5)], size)
        const all = [...context.getImageData(0, 0, 20, 20).data]
        return [at(5, 10), at(15, 10), all.every((value, i) => i % 4 < 3 || value === 255)]
    """
    assert run("editor/mask", body) == [[0, 0, 0, 255], [255, 255, 255, 255], True]


def test_coverage_is_the_share_of_opaque_pixels(run: Run) -> None:
    body = f"return m.coverage(new Uint8ClampedArray([{BLACK},{CLEAR},{CLEAR},{CLEAR}]))"
    assert run("editor/mask", body) == 0.25


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("bytes(10 * 1024 ** 2)", "10 MB"),
        ("bytes(900)", "900 bytes"),
        ("bytes(1536)", "1.5 KB"),
        ("share(0)", "0 %"),
        ("share(0.0001)", "under 0.1 %"),
        ("share(0.126)", "13 %"),
        ("share(0.9999)", "over 99.9 %"),
        ("share(1)", "100 %"),
        ("duration(3.14159)", "3.1 s"),
        ("duration(75.2)", "1 min 15 s"),
        ("roughly(3.14159)", "3 s"),
        ("roughly(0)", "1 s"),
        ("roughly(75.2)", "1 min 15 s"),
        ("ordinal(1)", "1st"),
        ("ordinal(12)", "12th"),
        ("ordinal(23)", "23rd"),
        ("ordinal(102)", "102nd"),
        ("ordinal(111)", "111th"),
        ("stem('holiday.final.jpg')", "holiday.final"),
        ("stem('.png')", ".png"),
        ("score(null)", "–"),
    ],
)
def test_numbers_are_formatted_for_display(run: Run, call: str, words: str) -> None:
    assert run("format", f"return m.{call}") == words
