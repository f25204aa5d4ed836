// The operations that make a mask.

import assert from "node:assert/strict"
import { test } from "node:test"

import * as operations from "editor/document/operations"

const ID = "a".repeat(64)

const isFrozen = (value) => typeof value !== "object" || (Object.isFrozen(value) && Object.values(value).every(isFrozen))

test("an operation survives JSON and cannot be changed", () => {
  const texts = [
    '{"kind":"stroke","erases":true,"size":5.5,"hardness":0.5,"points":[[1,2,1],[3.5,4,0.25]]}',
    '{"kind":"shape","erases":false,"shape":"ellipse","points":[[1,2],[-3,4]]}',
    '{"kind":"shape","erases":false,"shape":"polygon","points":[[1,2],[-3,4],[5,6]]}',
    '{"kind":"wand","erases":false,"x":1,"y":2.5,"tolerance":32,"contiguous":false}',
    `{"kind":"image","erases":false,"image":"${ID}","box":[0,1,2,3]}`,
    `{"kind":"file","image":"${ID}","name":"m.png","repaints":"transparent"}`,
    '{"kind":"grow","pixels":-3}',
    '{"kind":"feather","pixels":2.5}',
    '{"kind":"fill-holes"}',
    '{"kind":"invert"}',
    '{"kind":"clear"}',
  ]
  for (const text of texts) {
    const operation = operations.operation(JSON.parse(text))
    assert.equal(JSON.stringify(operation), text)
    assert.ok(isFrozen(operation), text)
  }
})

test("a wrong operation is refused", () => {
  const { stroke, shape, wand, imageInBox, file, feather, operation } = operations
  const wrong = [
    () => stroke({ size: 0, points: [[1, 1]] }),
    () => stroke({ size: 5, points: [] }),
    () => stroke({ size: 5, points: [[1, NaN]] }),
    () => stroke({ size: 5, points: [[1, 1, 1.5]] }),
    () => stroke({ size: 5, hardness: 2, points: [[1, 1]] }),
    () => shape({ shape: "star", points: [[0, 0], [1, 1]] }),
    () => shape({ shape: "polygon", points: [[0, 0], [1, 1]] }),
    () => wand({ x: 1, y: 1, tolerance: 256 }),
    () => imageInBox({ image: ID, box: [3, 0, 1, 1] }),
    () => imageInBox({ image: "b.png", box: [0, 0, 1, 1] }),
    () => file({ image: ID, name: "m.png", repaints: "red" }),
    () => feather(-1),
    () => operation({ kind: "blur" }),
  ]
  for (const make of wrong) assert.throws(make, RangeError, String(make))
})

test("the mask file is kept until it is cleared", () => {
  const { CLEAR, fileBeneath, INVERT } = operations
  const file = operations.file({ image: ID, name: "a.png", repaints: "dark" })
  assert.equal(fileBeneath([file, INVERT]), file)
  assert.equal(fileBeneath([file, CLEAR]), null)
  assert.equal(fileBeneath([INVERT]), null)
})
