// The order of the results of a generation.

import assert from "node:assert/strict"
import { test } from "node:test"

import { best, nextUnseen, ranked } from "editor/flow/ranking"

const scored = (...scores) => scores.map((score) => ({ score }))

test("results are ordered by their score, the best first", () => {
  assert.deepEqual(ranked(scored(0.3, 0.7, 0.5)), [1, 2, 0])
  assert.equal(best(scored(0.3, 0.7, 0.5)), 1)
})

test("results without a score, and equal ones, stay in the order of the API", () => {
  assert.deepEqual(ranked(scored(null, null, null)), [0, 1, 2])
  assert.deepEqual(ranked(scored(0.5, null, 0.5, 0.9)), [3, 0, 2, 1])
  assert.equal(best([{}, {}]), 0)
})

test("the next result is the best that was not shown", () => {
  const order = [2, 0, 1]
  assert.equal(nextUnseen(order, new Set([2])), 0)
  assert.equal(nextUnseen(order, new Set([0])), 2)
  assert.equal(nextUnseen(order, new Set([0, 1, 2])), undefined)
})
