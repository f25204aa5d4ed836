// What the palette finds.

import assert from "node:assert/strict"
import { test } from "node:test"
import { find } from "editor/input/palette"

const entries = ["Zoom in", "Show the whole photo", "Mask grow", "Grow"].map((label) => ({ label, kind: "Command", run() {} }))
/** @param {string} text */
const found = (text) => find(entries, text).map(({ label }) => label)

test("an entry is found by any of its words in any order", () => {
  assert.deepEqual(found(""), entries.map(({ label }) => label))
  assert.deepEqual(found("PHOTO show"), ["Show the whole photo"])
  assert.deepEqual(found("command zoom"), ["Zoom in"])
  assert.deepEqual(found("bench"), [])
})

test("what begins with the first word comes first", () => {
  assert.deepEqual(found("grow"), ["Grow", "Mask grow"])
})
