"""The tiles of the mask against plain arrays of the same pixels, run in a browser."""

from __future__ import annotations

import base64
import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import RANDOM, Run

pytestmark = [pytest.mark.browser, pytest.mark.smoke]

# What each operation means, for a mask that is one array of pixels: by its definition and without any tricks.
PLAIN = """
    const [width, height] = [300, 270]
    const rgba = Uint8Array.from({ length: 4 * width * height }, (_, i) => 60 * Math.floor(i / 4 % width / 50) + i % 3)
    const photo = { width, height, rgba }
    const each = (value) =>
        Uint8Array.from({ length: width * height }, (_, i) => value(i % width, Math.floor(i / width)))
    const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height
    const near = (x, y) => [[x - 1, y], [x + 1, y], [x, y - 1], [x, y + 1]].filter(([a, b]) => inside(a, b))

    const painted = (mask, cover, erases) =>
        mask.map((value, i) => Math.round((erases ? 0 : cover[i]) + (value * (255 - cover[i])) / 255))
    const distance = (x, y, [ax, ay], [bx, by]) => {
        const length = (bx - ax) ** 2 + (by - ay) ** 2
        const t = length ? Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length)) : 0
        return Math.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay))
    }
    const stroked = ({ size, hardness, points }) => {
        const [outer, inner] = [size / 2 + 0.5, Math.max(0, Math.min((size / 2) * hardness, size / 2 - 0.5))]
        return each((x, y) => {
            const from = (point, i) => distance(x + 0.5, y + 0.5, points[Math.max(0, i - 1)], point)
            const part = (outer - Math.min(...points.map(from))) / (outer - inner)
            const t = Math.max(0, Math.min(1, part))
            return Math.round(255 * t * t * (3 - 2 * t))
        })
    }
    const flooded = (starts, isOpen) => {
        const found = new Uint8Array(width * height)
        const waiting = starts.filter(([x, y]) => isOpen(x, y))
        while (waiting.length) {
            const [x, y] = waiting.pop()
            if (found[y * width + x]) continue
            found[y * width + x] = 1
            waiting.push(...near(x, y).filter(([a, b]) => isOpen(a, b)))
        }
        return found
    }
    const border = [...each(() => 0).keys()].map((i) => [i % width, Math.floor(i / width)])
        .filter(([x, y]) => x === 0 || y === 0 || x === width - 1 || y === height - 1)
    const maximum = (mask, reach, within) => each((x, y) => {
        let found = 0
        for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) {
            if (within(dx, dy) && inside(x + dx, y + dy)) found = Math.max(found, mask[(y + dy) * width + x + dx])
        }
        return found
    })
    const PLAIN = {
        stroke: (mask, operation) => painted(mask, stroked(operation), operation.erases),
        shape: (mask, { erases, points: [[ax, ay], [bx, by]] }) =>
            painted(mask, each((x, y) => (x >= ax && x < bx && y >= ay && y < by ? 255 : 0)), erases),
        wand: (mask, { erases, x, y, tolerance, contiguous }) => {
            const at = (a, b, channel) => rgba[4 * (b * width + a) + channel]
            const isLike = (a, b) => [0, 1, 2, 3].every((c) => Math.abs(at(a, b, c) - at(x, y, c)) <= tolerance)
            const found = contiguous ? flooded([[x, y]], isLike) : each((a, b) => Number(isLike(a, b)))
            return painted(mask, found.map((value) => 255 * value), erases)
        },
        grow: (mask, { pixels }) => {
            const isInDisc = (dx, dy) => dx * dx + dy * dy <= pixels * pixels
            if (pixels >= 0) return maximum(mask, pixels, isInDisc)
            return maximum(mask.map((value) => 255 - value), -pixels, isInDisc).map((value) => 255 - value)
        },
        "fill-holes": (mask) => {
            const outside = flooded(border, (x, y) => mask[y * width + x] < 128)
            const hole = mask.map((value, i) => (value < 128 && !outside[i] ? 255 : 0))
            return painted(mask, maximum(hole, 1, () => true), false)
        },
        invert: (mask) => mask.map((value) => 255 - value),
        clear: () => each(() => 0),
    }
"""
DRAWING = """
    const { Drawing } = await import("editor/raster/drawing")
    const drawing = new Drawing(width, height, { photo: async () => photo },
        { colour: 0x332211, snapshotBytes: 2 ** 22 })
    const read = () => drawing.mask.read(0, 0, width, height)
    const largest = (a, b) => a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0)
"""


@pytest.mark.parametrize("seed", range(5))
def test_random_operations_equal_those_on_a_plain_array(run: Run, seed: int) -> None:
    """Random operations, undo and redo: the tiles, the coverage and the pixels that the page gets are right."""
    body = f"""{RANDOM}{PLAIN}{DRAWING}
        state = {seed}
        const from = (list) => list[whole(list.length)]
        const point = () => [whole(width + 60) - 30, whole(height + 60) - 30]
        const random_operation = {{
            stroke: () => m.stroke({{ erases: random() < 0.3, size: 1 + whole(90), hardness: from([0, 0.5, 1]),
                points: Array.from({{ length: 1 + whole(4) }}, point) }}),
            shape: () => {{
                const [[a, b], [c, d]] = [point(), point()]
                const corners = [[Math.min(a, c), Math.min(b, d)], [Math.max(a, c) + 1, Math.max(b, d) + 1]]
                return m.shape({{ erases: random() < 0.3, shape: "rectangle", points: corners }})
            }},
            wand: () => m.wand({{ erases: random() < 0.3, x: whole(width), y: whole(height),
                tolerance: from([0, 2, 61]), contiguous: random() < 0.5 }}),
            grow: () => m.grow(whole(13) - 6),
            "fill-holes": () => m.FILL_HOLES, invert: () => m.INVERT, clear: () => m.CLEAR,
        }}
        const kinds = ["stroke", "stroke", "stroke", "shape", "wand", "grow", "fill-holes", "invert", "clear"]
        const shown = new Map() // the display tiles of the page: pixels of alpha
        const take = () => {{
            for (const {{ column, row, value, box, rgba }} of drawing.takeChanges().patches) {{
                const key = `${{column}} ${{row}}`
                if (value !== undefined) shown.set(key, new Uint8Array(256 * 256).fill(value))
                else for (let y = box.top, i = 3; y < box.bottom; y++) {{
                    for (let x = box.left; x < box.right; x++, i += 4) shown.get(key)[256 * y + x] = rgba[i]
                }}
            }}
        }}
        const mean = (mask, level, x, y) => {{
            if (level === 0) return x < width && y < height ? mask[y * width + x] : null
            const four = [[0, 0], [1, 0], [0, 1], [1, 1]].map(([a, b]) => mean(mask, level - 1, 2 * x + a, 2 * y + b))
            return four.includes(null) ? null : (four[0] + four[1] + four[2] + four[3] + 2) >> 2
        }}
        const wrong = []
        const kept = [], plains = [each(() => 0)] // operations, and the mask after as many of them
        let cursor = 0, level = 0
        drawing.view({{ view: {{ level, left: 0, top: 0, right: 9, bottom: 9 }} }})
        for (let number = 0; number < 40; number++) {{
            const action = random()
            if (action < 0.2 && cursor > 0) await drawing.show({{ keep: -1, added: [], count: --cursor }})
            else if (action < 0.3 && cursor < kept.length) {{
                await drawing.show({{ keep: -1, added: [], count: ++cursor }})
            }} else if (action < 0.4) {{
                const before = level
                level = whole(3)
                drawing.view({{ view: {{ level, left: 0, top: 0, right: 9, bottom: 9 }} }})
                if (level !== before) shown.clear()
            }} else {{
                const operation = random_operation[from(kinds)]()
                let isDrawn = false
                kept.length = cursor
                plains.length = cursor + 1
                if (operation.kind === "stroke" && random() < 0.5) {{
                    await drawing.begin({{ operation: {{ ...operation, points: operation.points.slice(0, 1) }} }})
                    for (const each of operation.points.slice(1)) await drawing.extend({{ points: [each] }})
                    isDrawn = random() < 0.8
                    if (isDrawn) drawing.end()
                    else drawing.cancel()
                    if (random() < 0.3) drawing.catchUp(0.1)
                }}
                if (!isDrawn) await drawing.show({{ keep: cursor, added: [operation], count: cursor + 1 }})
                kept.push(operation)
                plains.push(PLAIN[operation.kind](plains[cursor++], operation))
            }}
            for (const key of ["0 0", "1 0", "0 1", "1 1"]) if (!shown.has(key)) shown.set(key, new Uint8Array(65536))
            take()
            if (drawing.isBehind && random() < 0.5) continue
            drawing.catchUp()
            take()
            const plain = plains[cursor]
            const difference = largest(read(), plain)
            if (difference > 0) wrong.push([number, kept[cursor - 1]?.kind, "pixels", difference])
            const sum = plain.reduce((a, b) => a + b, 0) / (255 * width * height)
            if (Math.abs(drawing.mask.coverage - sum) > 1e-9) wrong.push([number, "coverage"])
            for (let y = 0; y < height >> level; y += 7) for (let x = 0; x < width >> level; x += 5) {{
                const tile = shown.get(`${{x >> 8}} ${{y >> 8}}`)
                const value = mean(plain, level, x, y)
                if (value === null || tile[256 * (y % 256) + x % 256] === value) continue
                wrong.push([number, "shown", level, x, y])
            }}
            if (wrong.length) return wrong.slice(0, 5)
        }}
        return []
    """
    assert run("editor/document/operations", body) == []


@pytest.mark.parametrize(
    "shape",
    [
        '{ shape: "ellipse", points: [[20.5, 30.25], [211, 290]] }',
        '{ shape: "rectangle", points: [[250.5, 240.25], [10.75, 30]] }',
        '{ shape: "polygon", points: [[-40, 30], [330, 80], [200, 300], [150.5, 60], [20, 250]] }',
    ],
)
def test_a_pixel_of_a_shape_is_the_area_inside(run: Run, shape: str) -> None:
    """Against 256 samples of each pixel, by the definition of the shape; a polygon is filled by the nonzero rule."""
    body = f"""{PLAIN}{DRAWING}
        const operation = m.shape({shape})
        await drawing.show({{ keep: 0, added: [operation], count: 1 }})
        const {{ points }} = operation
        const [[left, top], [right, bottom]] = points
        const contains = {{
            rectangle: (x, y) => (x - left) * (x - right) < 0 && (y - top) * (y - bottom) < 0,
            ellipse: (x, y) =>
                ((2 * x - left - right) / (right - left)) ** 2 + ((2 * y - top - bottom) / (bottom - top)) ** 2 < 1,
            polygon: (x, y) => {{
                let winding = 0
                for (let i = 0; i < points.length; i++) {{
                    const a = points[i], b = points[(i + 1) % points.length]
                    if (a[1] <= y === b[1] <= y || (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1]) + a[0] >= x) continue
                    winding += a[1] <= y ? 1 : -1
                }}
                return winding !== 0
            }},
        }}[operation.shape]
        const expected = each((x, y) => {{
            let inside = 0
            for (let sample = 0; sample < 256; sample++)
                inside += contains(x + (sample % 16 + 0.5) / 16, y + ((sample >> 4) + 0.5) / 16)
            return Math.round((255 * inside) / 256)
        }})
        return [largest(read(), expected), read().reduce((a, b) => a + b, 0) / expected.reduce((a, b) => a + b, 0)]
    """
    most, ratio = run("editor/document/operations", body)
    assert most <= 16
    assert ratio == pytest.approx(1, abs=1e-3)


def test_a_wide_disc_and_a_blur_reach_over_tiles(run: Run) -> None:
    """Growing by 40 pixels is done in steps: within a pixel of the disc. A blur of a straight edge is a smooth step."""
    body = f"""{PLAIN}{DRAWING}
        const dot = m.shape({{ shape: "rectangle", points: [[250, 100], [251, 101]] }})
        await drawing.show({{ keep: 0, added: [dot, m.grow(40)], count: 2 }})
        const grown = read()
        const wrong = [...each((x, y) => {{
            const distance = Math.hypot(x - 250, y - 100)
            return (distance < 39 && grown[y * width + x] !== 255) || (distance > 41 && grown[y * width + x] !== 0)
        }})].filter(Boolean).length
        const half = m.shape({{ shape: "rectangle", points: [[-9, -9], [250, 999]] }})
        await drawing.show({{ keep: 0, added: [half, m.feather(12)], count: 2 }})
        const row = (y) => [...read().subarray(y * width, (y + 1) * width)]
        return [wrong, row(0), row(150)]
    """
    wrong, first, middle = run("editor/document/operations", body)
    assert wrong == 0
    assert first == middle
    assert middle[:238] == [255] * 238
    assert middle[262:] == [0] * 38
    assert all(before >= after for before, after in pairwise(middle))
    assert [value + middle[499 - x] for x, value in enumerate(middle[:300]) if 238 <= x < 262] == [255] * 24


@pytest.mark.parametrize("pixels", [20, -20])
def test_a_soft_mask_grows_by_a_wide_disc(run: Run, pixels: int) -> None:
    """Soft edges far wider and far narrower than the disc."""
    body = f"""{PLAIN}{DRAWING}
        const soft = [[160, 150, 120], [30, 250, 200]].map(([size, ...end]) =>
            m.stroke({{ size, hardness: 0.2, points: [[40, 40], end] }}))
        await drawing.show({{ keep: 0, added: soft, count: 2 }})
        const before = read()
        const operation = m.grow({pixels})
        await drawing.show({{ keep: 2, added: [operation], count: 3 }})
        return [largest(read(), PLAIN.grow(before, operation)), largest(read(), before)]
    """
    difference, change = run("editor/document/operations", body)
    assert difference == 0
    assert change > 100


def test_a_stroke_has_the_same_pixels_whether_its_next_point_is_known_or_not(run: Run) -> None:
    """Random strokes of many short lines, turns and repeated points, drawn at once and point by point."""
    body = f"""{RANDOM}
        const {{ Mask }} = await import("editor/raster/tiles")
        const value = (tile, i) => (tile.alpha ? tile.alpha[i] : tile.value)
        let [different, covered] = [0, 0]
        for (let round = 0; round < 24; round++) {{
            const [size, hardness, step] = [[9, 90, 500][round % 3], [0, 0.6, 1][whole(3)], [3, 20, 90][whole(3)]]
            let [x, y, angle] = [whole(600), whole(500), 7 * random()]
            const points = []
            for (let i = 0; i < 25; i++) {{
                points.push([x, y, 1])
                if (random() < 0.1) points.push([x, y, 1])
                angle += (random() - 0.5) * (random() < 0.15 ? 7 : 1)
                x += Math.cos(angle) * step
                y += Math.sin(angle) * step
            }}
            const [once, slowly] = [1, 2].map(() => new m.StrokeDrawer(new Mask(600, 500), {{ size, hardness }}))
            once.add(points)
            for (const point of points) slowly.add([point])
            const [a, b] = [once.end(), slowly.end()]
            covered += a.coverage
            for (let tile = 0; tile < a.tiles.length; tile++) {{
                for (let i = 0; i < 65536; i++) different += value(a.tiles[tile], i) !== value(b.tiles[tile], i)
            }}
        }}
        return [different, covered]
    """
    different, covered = run("editor/raster/stroke/stroke", body)
    assert different == 0
    assert covered > 1


def test_the_png_is_the_mask_with_black_for_what_is_repainted(run: Run) -> None:
    body = f"""{PLAIN}{DRAWING}
        const {{ png }} = await import("editor/raster/png")
        const soft = m.stroke({{ size: 90, hardness: 0, points: [[10, 10], [280, 260]] }})
        await drawing.show({{ keep: 0, added: [soft], count: 1 }})
        const bytes = new Uint8Array(await (await png(drawing.mask)).arrayBuffer())
        return [btoa(String.fromCharCode(...bytes)), [...read()]]
    """
    encoded, values = run("editor/document/operations", body)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        image.load()
        assert image.mode == "L"
        assert np.array_equal(255 - np.asarray(image), np.reshape(values, (270, 300)))


def test_old_snapshots_are_dropped_and_drawn_again(run: Run) -> None:
    """Masks of 70 operations with a limit of 20 tiles: any of them is the same after it was dropped."""
    body = f"""{PLAIN}
        const {{ draw }} = await import("editor/raster/draw")
        const {{ Snapshots }} = await import("editor/raster/snapshots")
        const {{ Mask }} = await import("editor/raster/tiles")
        const operations = Array.from({{ length: 70 }}, (_, i) =>
            m.stroke({{ size: 20, points: [[4 * i, 20], [300 - 4 * i, 260]], erases: i % 5 === 4 }}))
        let mask = new Mask(width, height)
        const snapshots = new Snapshots(mask, 20 * 87382)
        const sums = [mask.coverage]
        for (const [i, operation] of operations.entries()) {{
            mask = await draw(mask, operation, {{}})
            snapshots.add(i + 1, mask)
            sums.push(mask.coverage)
        }}
        const seen = []
        for (const count of [70, 3, 41, 60, 0]) {{
            let {{ count: from, mask }} = snapshots.nearest(count)
            seen.push([from === count])
            for (; from < count; from++) mask = await draw(mask, operations[from], {{}})
            seen.at(-1).push(mask.coverage === sums[count])
        }}
        snapshots.truncate(2)
        return [seen, snapshots.bytes <= 20 * 87382, snapshots.nearest(70).count]
    """
    seen, is_small, nearest = run("editor/document/operations", body)
    assert seen == [[True, True], [False, True], [False, True], [True, True], [True, True]]
    assert is_small
    assert nearest <= 2


def test_a_stroke_is_seen_at_once_and_not_drawn_at_full_size_if_it_is_undone(run: Run) -> None:
    body = f"""{PLAIN}{DRAWING}
        drawing.view({{ view: {{ level: 1, left: 0, top: 0, right: 9, bottom: 9 }} }})
        const stroke = m.stroke({{ size: 80, hardness: 0, points: [[50, 50], [200, 200]] }})
        await drawing.begin({{ operation: stroke }})
        drawing.end()
        const seen = [drawing.coverage > 0.1, drawing.takeChanges().patches.length > 0, drawing.isBehind]
        await drawing.show({{ keep: -1, added: [], count: 0 }})
        const undone = [drawing.coverage, drawing.bytes, drawing.isBehind]
        await drawing.show({{ keep: -1, added: [], count: 1 }})
        return [seen, undone, largest(read(), PLAIN.stroke(each(() => 0), stroke))]
    """
    assert run("editor/document/operations", body) == [[True, True, True], [0, 0, False], 0]


def test_the_parts_of_a_mask_are_counted(run: Run) -> None:
    body = f"""{PLAIN}{DRAWING}
        const {{ specks }} = await import("editor/raster/components")
        const box = (x, y, side) => m.shape({{ shape: "rectangle", points: [[x, y], [x + side, y + side]] }})
        const touching = [box(10, 10, 2), box(12, 12, 2)] // at a corner
        const added = [...touching, box(250, 20, 10), box(100, 260, 1)]
        await drawing.show({{ keep: 0, added, count: 4 }})
        return specks(drawing.mask)
    """
    assert run("editor/document/operations", body) == {"count": 3, "largest": 100}


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
