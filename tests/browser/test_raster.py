"""The tiles of the mask against plain arrays of the same pixels, run in a browser."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Run

pytestmark = pytest.mark.browser

# Four RGBA pixels, of which the last differs.
WHITE, BLACK, CLEAR = "255,255,255,255", "0,0,0,255", "0,0,0,0"
READ = """
    const read = (rgba, known = null) => {
        const reader = new m.PolarityReader()
        reader.add(rgba.subarray(0, 4)) // a file is read in strips
        reader.add(rgba.subarray(4))
        return reader.read(known)
    }
    const values = (rgba, repaints) =>
        [...rgba.keys()].filter((i) => i % 4 === 0).map((i) => m.REPAINTED[repaints](rgba, i))
"""


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
        {READ}
        const rgba = new Uint8ClampedArray([{",".join(pixels)}])
        const {{ repaints, flat }} = read(rgba)
        return [values(rgba, repaints), repaints, flat]
    """
    assert run("editor/raster/polarity", body) == [alphas, repaints, False]


@pytest.mark.parametrize("colour", [WHITE, BLACK, CLEAR])
def test_a_mask_of_one_colour_repaints_nothing(run: Run, colour: str) -> None:
    body = f"""
        {READ}
        const rgba = new Uint8ClampedArray([{colour},{colour}])
        const {{ repaints, flat }} = read(rgba)
        return [flat, values(rgba, repaints)]
    """
    assert run("editor/raster/polarity", body) == [True, [0, 0]]


def test_a_known_polarity_is_not_guessed(run: Run) -> None:
    body = f"""
        {READ}
        const rgba = new Uint8ClampedArray([{WHITE},{WHITE},{WHITE},{BLACK}])
        return values(rgba, read(rgba, "light").repaints)
    """
    assert run("editor/raster/polarity", body) == [255, 255, 255, 0]
