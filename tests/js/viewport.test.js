// The position and scale of the photo, and the place of a bar beside a box.

import assert from "node:assert/strict"
import { test } from "node:test"

import { visibleBox } from "editor/tools/geometry"
import { placeBeside } from "editor/view/placement"
import { fit, pinch, toImage, toScreen, zoomAt } from "editor/view/viewport"
import { caption } from "editor/view/window_outline"

test("a point converts to screen coordinates and back", () => {
  const viewport = { scale: 0.37, left: -12.5, top: 40 }
  const { x, y } = toImage(viewport, toScreen(viewport, { x: 123.25, y: 7.5 }))
  assert.ok(Math.hypot(x - 123.25, y - 7.5) < 1e-9)
})

test("an image point is not accepted as a screen point", () => {
  assert.ok(Number.isNaN(toImage({ scale: 1, left: 0, top: 0 }, { x: 1, y: 1 }).x))
})

test("a fitted photo is whole and centred", () => {
  assert.deepEqual(fit({ width: 400, height: 200 }, { width: 220, height: 300 }, 10), { scale: 0.5, left: 10, top: 100 })
})

test("zooming keeps the point under the pointer", () => {
  const [before, pointer] = [{ scale: 0.5, left: 10, top: 20 }, { left: 77, top: 88 }]
  const after = zoomAt(before, pointer, 3, 0.1)
  assert.equal(after.scale, 1.5)
  const [a, b] = [before, after].map((viewport) => toImage(viewport, pointer))
  assert.ok(Math.hypot(a.x - b.x, a.y - b.y) < 1e-9)
  assert.equal(zoomAt(before, pointer, 0.01, 0.2).scale, 0.2)
})

test("a pinch keeps the points under the fingers", () => {
  const viewport = { scale: 1, left: 0, top: 0 }
  const before = [{ left: 10, top: 10 }, { left: 30, top: 10 }]
  const after = [{ left: 50, top: 40 }, { left: 90, top: 40 }]
  const pinched = pinch(viewport, before, after, 0.1)
  assert.deepEqual(after.map((point) => toImage(pinched, point)), [{ x: 10, y: 10 }, { x: 30, y: 10 }])
})

test("a bar lies beside a box and never over it", () => {
  const cases = {
    below: [[400, 200, 500, 300], { left: 350, top: 312 }],
    "moved into the space": [[0, 200, 60, 300], { left: 0, top: 312 }],
    above: [[400, 450, 500, 560], { left: 350, top: 398 }],
    right: [[400, 20, 500, 580], { left: 512, top: 280 }],
    left: [[700, 20, 790, 580], { left: 488, top: 280 }],
    "no room": [[20, 20, 780, 580], null],
    "not visible": [[900, 20, 990, 580], null],
    "another box below": [[400, 200, 500, 300], { left: 350, top: 148 }, [{ left: 500, top: 330, right: 900, bottom: 600 }]],
  }
  const free = { left: 0, top: 0, right: 800, bottom: 600 }
  for (const [name, [[left, top, right, bottom], place, others = []]] of Object.entries(cases)) {
    assert.deepEqual(placeBeside({ left, top, right, bottom }, { width: 200, height: 40 }, free, others), place, name)
  }
})

test("the outline of the model's window says at which scale the model sees it", () => {
  assert.equal(caption([50, 0, 306, 256], [1024, 1024]), "Seen by the model at 400 %")
  assert.equal(caption([0, 0, 2000, 2000], [1024, 1024]), "Seen by the model at 51 %")
})

test("the box of a mask is that of its pixels that are not clear", () => {
  const rgba = new Uint8ClampedArray(4 * 5 * 4)
  assert.equal(visibleBox(5, 4, rgba), null)
  rgba[4 * (1 * 5 + 2) + 3] = 1
  rgba[4 * (3 * 5 + 4) + 3] = 255
  assert.deepEqual(visibleBox(5, 4, rgba), [2, 1, 5, 4])
})
