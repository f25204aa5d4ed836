// Where an image to insert lies, and how its handles change that.

import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { test } from "node:test"

import { corners, dragged, handle, moved, partAt, placed, scaled, turned } from "editor/tools/insert_geometry"

const image = { width: 200, height: 100, isTransparent: false }
const straight = { x: 50, y: 40, width: 60, rotation: 0 }
const upright = { ...straight, rotation: 90 }
const near = { reach: 5, away: 20 }

/** Points to whole hundredths. */
const rounded = (points) => points.map((point) => point.map((value) => Math.round(100 * value) / 100 + 0))

test("it lies where the server puts it", async () => {
  for (const { insert: [width, height, isTransparent], marked, given, placement: [x, y, across, rotation] } of JSON.parse(await readFile(new URL("../core/insert_placements.json", import.meta.url)))) {
    assert.deepEqual(placed({ x: null, y: null, width: null, rotation: null, ...given }, { width, height, isTransparent }, marked), { x, y, width: across, rotation })
  }
})

test("its corners and the handle that rotates it go round clockwise", () => {
  assert.deepEqual(rounded(corners(straight, image)), [[20, 25], [80, 25], [80, 55], [20, 55]])
  assert.deepEqual(rounded(corners(upright, image)), [[65, 10], [65, 70], [35, 70], [35, 10]])
  assert.deepEqual(rounded([handle(straight, image, 20), handle(upright, image, 20)]), [[50, 5], [85, 40]])
})

test("a handle is found before what lies beneath it", () => {
  const found = (placement, ...point) => partAt(placement, image, point, near)
  assert.deepEqual([found(straight, 52, 5), found(straight, 23, 22), found(straight, 78, 58), found(straight, 50, 40)], ["rotate", 0, 2, "inside"])
  assert.deepEqual([found(upright, 36, 50), found(upright, 34, 50), found(straight, 15, 40)], ["inside", null, null])
})

test("it is dragged by its middle, and scaled by a corner while the opposite one stays", () => {
  assert.deepEqual(dragged(straight, image, "inside", [1, 1], [4.333, -1]), { x: 53.33, y: 38, width: 60, rotation: 0 })
  for (const placement of [straight, upright, { ...straight, rotation: -33.3 }]) {
    const before = corners(placement, image)
    for (const corner of [0, 1, 2, 3]) {
      const [from, fixed] = [before[corner], before[(corner + 2) % 4]]
      const twice = dragged(placement, image, corner, from, from.map((value, axis) => 2 * value - fixed[axis]))
      assert.equal(twice.width, 120)
      const after = corners(twice, image)[(corner + 2) % 4]
      assert.ok(after.every((value, axis) => Math.abs(value - fixed[axis]) < 0.02))
    }
  }
  assert.equal(dragged(straight, image, 2, [80, 55], [-500, -500]).width, 1, "it does not turn over")
})

test("it is rotated towards the pointer, straight where it nearly is, and in steps with Shift", () => {
  const rotation = (point, isStepped) => dragged(straight, image, "rotate", [50, 5], point, isStepped).rotation
  assert.deepEqual([rotation([90, 0]), rotation([90, 39]), rotation([50, 90]), rotation([10, 40])], [45, 90, 180, -90])
  assert.deepEqual([rotation([60, 0]), rotation([60, 0], true)], [14, 15])
})

test("keys move, scale and rotate it within what the API accepts", () => {
  assert.deepEqual(moved({ ...straight, x: 99_999 }, [5, -2]), { x: 100_000, y: 38, width: 60, rotation: 0 })
  assert.deepEqual([scaled(straight, 1.05).width, scaled({ ...straight, width: 1 }, 0.5).width], [63, 1])
  assert.deepEqual([turned(upright, 5).rotation, turned({ ...straight, rotation: 178 }, 5).rotation, turned({ ...straight, rotation: -178 }, -5).rotation], [95, -177, 177])
})
