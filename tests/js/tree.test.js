// The edit tree.

import assert from "node:assert/strict"
import { test } from "node:test"

import { inOrder, merged, pathTo, stepOf } from "editor/flow/tree"

const step = (id, parent, second) => ({ id, parent, at: `2026-01-01T00:00:0${second}Z`, label: id })

test("the steps of an edit tree are listed branch by branch", () => {
  const steps = [step("d", "a", 4), step("a", null, 1), step("e", "gone", 5), step("c", "b", 3), step("b", "a", 2)]
  assert.deepEqual(
    inOrder(steps).map(({ id, number, from, branches }) => [id, number, from, branches]),
    [["a", 1, 0, false], ["b", 2, 1, false], ["c", 3, 2, false], ["d", 4, 1, true], ["e", 5, 0, true]],
  )
  assert.deepEqual(pathTo(steps, "c"), ["c", "b", "a"])
  assert.equal(merged(steps, [step("a", null, 9)]).length, 5)
})

test("a step is made of a generation with a result", () => {
  const metadata = { prompt: "a bus", ignored: [], verb: "Painted" }
  const generation = { id: "g", parent: "p", images: [{ url: "/0/", copy: { format: "jpeg" } }], metadata, created_at: "now" }
  const { url, thumbnail, label } = stepOf(generation)
  assert.deepEqual([url, thumbnail, label], ["/0/?format=png", "/0/thumbnail/", "a bus"])
  const labelOf = (changes) => stepOf({ ...generation, metadata: { ...metadata, ...changes } }).label
  assert.equal(labelOf({ verb: "Removed", ignored: ["prompt"] }), "Removed")
  assert.equal(labelOf({ verb: "Extended", prompt: "" }), "Extended")
  assert.equal(labelOf({ verb: "Enlarged" }), "Enlarged")
  assert.equal(stepOf({ ...generation, images: [] }), null)
  const several = { ...generation, images: [{ url: "/0/", score: 0.2 }, { url: "/1/", score: 0.6 }] }
  assert.deepEqual([stepOf(several).image, stepOf(several, 0).image], [1, 0])
})
