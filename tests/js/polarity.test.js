// Which part of a mask file is repainted.

import assert from "node:assert/strict"
import { test } from "node:test"

import { PolarityReader, REPAINTED } from "editor/raster/polarity"

const WHITE = [255, 255, 255, 255], BLACK = [0, 0, 0, 255], CLEAR = [0, 0, 0, 0], GREY = [64, 64, 64, 255]

function read(rgba, known = null) {
  const reader = new PolarityReader()
  reader.add(rgba.subarray(0, 4)) // a file is read a few rows at a time
  reader.add(rgba.subarray(4))
  return reader.read(known)
}

const valuesOf = (rgba, repaints) => [...rgba.keys()].filter((i) => i % 4 === 0).map((i) => REPAINTED[repaints](rgba, i))
const pixels = (...list) => Uint8ClampedArray.from(list.flat())

test("the smaller part of a mask file is repainted", () => {
  const cases = [
    [[BLACK, BLACK, BLACK, WHITE], [0, 0, 0, 255], "light"],
    [[WHITE, WHITE, WHITE, BLACK], [0, 0, 0, 255], "dark"],
    [[WHITE, WHITE, BLACK, BLACK], [0, 0, 255, 255], "dark"],
    [[BLACK, BLACK, BLACK, CLEAR], [0, 0, 0, 255], "transparent"],
    [[CLEAR, CLEAR, CLEAR, WHITE], [0, 0, 0, 255], "opaque"],
    [[CLEAR, WHITE, WHITE, BLACK], [0, 0, 0, 255], "dark"],
    [[WHITE, WHITE, WHITE, GREY], [0, 0, 0, 191], "dark"],
  ]
  for (const [list, values, repaints] of cases) {
    const rgba = pixels(...list)
    assert.deepEqual(read(rgba), { repaints, flat: false })
    assert.deepEqual(valuesOf(rgba, repaints), values)
  }
})

test("a mask of one colour repaints nothing", () => {
  for (const colour of [WHITE, BLACK, CLEAR]) {
    const rgba = pixels(colour, colour)
    const { repaints, flat } = read(rgba)
    assert.ok(flat)
    assert.deepEqual(valuesOf(rgba, repaints), [0, 0])
  }
})

test("a known polarity is not guessed", () => {
  const rgba = pixels(WHITE, WHITE, WHITE, BLACK)
  assert.deepEqual(valuesOf(rgba, read(rgba, "light").repaints), [255, 255, 255, 0])
})
