// The cells of results that are shown side by side.

import assert from "node:assert/strict"
import { test } from "node:test"

import { largest } from "editor/flow/side_by_side"

test("results that are compared are as large as the window lets them be", () => {
  const wide = { width: 1200, height: 700 }
  const narrow = { width: 360, height: 760 }
  assert.deepEqual([2, 3, 4, 8].map((count) => largest(count, 1, wide).columns), [2, 3, 2, 4])
  assert.deepEqual([2, 4, 8].map((count) => largest(count, 1, narrow).columns), [1, 2, 2])
  assert.equal(largest(2, 4, wide).columns, 1, "two wide ones lie below each other")
  for (const count of [2, 3, 5, 8]) {
    for (const room of [wide, narrow]) {
      const { columns, width } = largest(count, 1.5, room)
      assert.ok(columns * width <= room.width)
      assert.ok(Math.ceil(count / columns) * (width / 1.5) <= room.height)
    }
  }
})
