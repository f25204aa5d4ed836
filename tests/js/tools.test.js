// The geometry and the options of the tools.

import assert from "node:assert/strict"
import { test } from "node:test"

import { dragged, edgesAt, fieldsOf, framed, sizeOf, withRatio } from "editor/tools/frame_geometry"
import { boxOf, clipped, largestSize, nextSize, placeOf, rounded, sizeAt, squared, visible, widened } from "editor/tools/geometry"
import { Options } from "editor/tools/options"

const photo = { width: 600, height: 400 }

test("boxes", () => {
  assert.deepEqual(boxOf([9, 2], [3, 8]), [3, 2, 9, 8])
  assert.deepEqual(squared([10, 10], [4, 30]), [-10, 30])
  assert.deepEqual(clipped([-5, 3, 700, 20], photo), [0, 3, 600, 20])
  assert.equal(clipped([601, 3, 700, 20], photo), null)
  assert.deepEqual(widened([10, 10, 30, 20], 0.5), [0, 0, 40, 30])
  assert.deepEqual(rounded([0.2, 1, 2.1, 3.9]), [0, 1, 3, 4])
  assert.deepEqual(visible({ scale: 2, left: -100, top: 50 }, { width: 300, height: 300 }, photo), [50, 0, 200, 125])
})

test("sizes of the brush", () => {
  assert.equal(largestSize({ width: 6000, height: 4000 }), 2000)
  assert.equal(largestSize({ width: 60, height: 40 }), 100)
  assert.deepEqual([1, 9, 10, 99, 100].map((size) => nextSize(size, 1, 100)), [2, 10, 11, 100, 100])
  assert.deepEqual([1, 100].map((size) => nextSize(size, -1, 100)), [1, 90])
})

test("the size slider reaches half of the photo in even steps", () => {
  assert.equal(sizeAt(0, 2000), 1)
  assert.ok(Math.abs(sizeAt(0.5, 2000) / Math.sqrt(2000) - 1) < 0.02)
  assert.equal(sizeAt(1, 2000), 2000)
  assert.ok(Math.abs(placeOf(sizeAt(0.7, 2000), 2000) - 0.7) < 0.01)
})

test("a frame is dragged outward only and as far as the API accepts", () => {
  const start = { left: 10, top: 0, right: 0, bottom: 0 }
  assert.deepEqual(dragged(start, "left top", [-5.4, 30], 500), { left: 15, top: 0, right: 0, bottom: 0 })
  assert.deepEqual(dragged(start, "right", [99999, 7], 500), { left: 10, top: 0, right: 500, bottom: 0 })
})

test("a size and a ratio become margins around the photo", () => {
  assert.deepEqual(sizeOf(photo, withRatio(photo, "16:9", 500)), { width: 711, height: 400 })
  assert.deepEqual(sizeOf(photo, withRatio(photo, "1:1", 500)), { width: 600, height: 600 })
  const frame = framed(photo, { width: 701, height: 300 }, 500)
  assert.deepEqual(frame, { left: 50, top: 0, right: 51, bottom: 0 })
  assert.deepEqual(fieldsOf(frame), { outpaint_left: 50, outpaint_top: 0, outpaint_right: 51, outpaint_bottom: 0 })
  assert.deepEqual(fieldsOf({}), {})
})

test("edges and corners of the frame are found within reach", () => {
  const frame = { left: 100, top: 0, right: 0, bottom: 50 }
  const points = [[-98, 200], [-104, 447], [598, 1], [300, 200], [-130, 200]]
  assert.deepEqual(points.map((point) => edgesAt(photo, frame, point, 5)), ["left", "left bottom", "top right", "", ""])
})

test("options are remembered, and damaged ones are not", () => {
  const kept = new Map([["dreamlayer.tools", '{"size": "huge", "hardness": 0.5, "evil": 1}']])
  const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) }
  new Options(storage).set({ tool: "lasso" })
  const { tool, size, hardness, evil } = new Options(storage).values
  assert.deepEqual([tool, size, hardness, evil], ["lasso", 40, 0.5, undefined])
})
