"""JavaScript modules without DOM access, run in a browser: coordinates, number formats."""

from __future__ import annotations

import shlex

import pytest

from tests.browser.conftest import Run

pytestmark = [pytest.mark.browser, pytest.mark.smoke]


def test_a_point_converts_to_screen_coordinates_and_back(run: Run) -> None:
    body = """
        const viewport = { scale: 0.37, left: -12.5, top: 40 }
        return m.toImage(viewport, m.toScreen(viewport, { x: 123.25, y: 7.5 }))
    """
    point = run("editor/view/viewport", body)
    assert point == pytest.approx({"x": 123.25, "y": 7.5})


def test_an_image_point_is_not_accepted_as_a_screen_point(run: Run) -> None:
    body = "return Number.isNaN(m.toImage({ scale: 1, left: 0, top: 0 }, { x: 1, y: 1 }).x)"
    assert run("editor/view/viewport", body) is True


def test_a_fitted_photo_is_whole_and_centred(run: Run) -> None:
    fitted = run("editor/view/viewport", "return m.fit({ width: 400, height: 200 }, { width: 220, height: 300 }, 10)")
    assert fitted == pytest.approx({"scale": 0.5, "left": 10, "top": 100})


def test_zooming_keeps_the_point_under_the_pointer(run: Run) -> None:
    body = """
        const before = { scale: 0.5, left: 10, top: 20 }, under = { left: 77, top: 88 }
        const after = m.zoomAt(before, under, 3, 0.1)
        const smallest = m.zoomAt(before, under, 0.01, 0.2).scale
        return [after.scale, m.toImage(before, under), m.toImage(after, under), smallest]
    """
    scale, before, after, smallest = run("editor/view/viewport", body)
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
    assert run("editor/view/viewport", body) == [{"x": 10, "y": 10}, {"x": 30, "y": 10}]


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


def test_the_steps_of_an_edit_tree_are_listed_branch_by_branch(run: Run) -> None:
    body = """
        const step = (id, parent, second) => ({ id, parent, at: `2026-01-01T00:00:0${second}Z`, label: id })
        const made = [step("d", "a", 4), step("a", null, 1), step("e", "gone", 5), step("c", "b", 3), step("b", "a", 2)]
        const listed = m.inOrder(made).map(({ id, number, from, branches }) => [id, number, from, branches])
        return [listed, m.pathTo(made, "c"), m.merged(made, [step("a", null, 9)]).length]
    """
    listed, path, count = run("editor/flow/tree", body)
    assert listed == [["a", 1, 0, False], ["b", 2, 1, False], ["c", 3, 2, False], ["d", 4, 1, True], ["e", 5, 0, True]]
    assert path == ["c", "b", "a"]
    assert count == 5


def test_a_step_is_made_of_a_generation_with_a_result(run: Run) -> None:
    body = """
        const metadata = { prompt: "a bus", ignored: [] }
        const images = [{ url: "/0/", copy: { format: "jpeg" } }]
        const generation = { id: "g", parent: "p", images, metadata, created_at: "now" }
        const ignored = { ...generation, metadata: { prompt: "a bus", ignored: ["prompt"] } }
        return [m.stepOf(generation), m.stepOf(ignored).label, m.stepOf({ ...generation, images: [] })]
    """
    step, label, nothing = run("editor/flow/tree", body)
    assert (step["url"], step["thumbnail"], step["label"]) == ("/0/?format=png", "/0/thumbnail/", "a bus")
    assert (label, nothing) == ("Erased", None)


def test_a_request_is_written_as_a_curl_command_that_a_shell_reads_back(run: Run) -> None:
    requested = '{ prompt: "it\'s @ <b>", seed: 7, loras: [{ slug: "ink" }], vae: null, negative_prompt: "" }'
    command = run("editor/flow/curl", f"return m.asCurl('https://a.example/api/img2img', {requested})")
    words = shlex.split(command)
    assert words[:2] == ["curl", "https://a.example/api/img2img"]
    sent = [words[index + 1] for index, word in enumerate(words) if word == "--form-string"]
    assert sent == ["prompt=it's @ <b>", "seed=7", 'loras=[{"slug":"ink"}]']
