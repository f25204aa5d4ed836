// Strokes, and the masks that are kept for undo.

import assert from "node:assert/strict"
import { test } from "node:test"

import { stroke } from "editor/document/operations"
import { draw } from "editor/raster/draw"
import { Snapshots } from "editor/raster/snapshots"
import { StrokeDrawer } from "editor/raster/stroke/stroke"
import { Mask } from "editor/raster/tiles"

import { randomNumbers } from "./random.js"

const TILE_BYTES = 87382 // 256 x 256 pixels and their smaller levels

test("a stroke has the same pixels whether its next point is known or not", () => {
  const { random, whole, from } = randomNumbers(1)
  const value = (tile, i) => (tile.alpha ? tile.alpha[i] : tile.value)
  let covered = 0
  for (let round = 0; round < 24; round++) { // many short lines, turns and repeated points
    const [size, hardness, step] = [[9, 90, 500][round % 3], from([0, 0.6, 1]), from([3, 20, 90])]
    let [x, y, angle] = [whole(600), whole(500), 7 * random()]
    const points = []
    for (let i = 0; i < 25; i++) {
      points.push([x, y, 1])
      if (random() < 0.1) points.push([x, y, 1])
      angle += (random() - 0.5) * (random() < 0.15 ? 7 : 1)
      x += Math.cos(angle) * step
      y += Math.sin(angle) * step
    }
    const [once, slowly] = [1, 2].map(() => new StrokeDrawer(new Mask(600, 500), { size, hardness }))
    once.add(points)
    for (const point of points) slowly.add([point])
    const [a, b] = [once.end(), slowly.end()]
    covered += a.coverage
    let different = 0
    for (let tile = 0; tile < a.tiles.length; tile++) {
      for (let i = 0; i < 65536; i++) different += Number(value(a.tiles[tile], i) !== value(b.tiles[tile], i))
    }
    assert.equal(different, 0)
  }
  assert.ok(covered > 1)
})

test("old snapshots are dropped and drawn again", async () => {
  const operations = Array.from({ length: 70 }, (_, i) =>
    stroke({ size: 20, points: [[4 * i, 20], [300 - 4 * i, 260]], erases: i % 5 === 4 }))
  let mask = new Mask(300, 270)
  const snapshots = new Snapshots(mask, 20 * TILE_BYTES)
  const coverages = [mask.coverage]
  for (const [i, operation] of operations.entries()) {
    mask = await draw(mask, operation, {})
    snapshots.add(i + 1, mask)
    coverages.push(mask.coverage)
  }
  for (const [wanted, isKept] of [[70, true], [3, false], [41, false], [60, true], [0, true]]) {
    let { count, mask: drawn } = snapshots.nearest(wanted)
    assert.equal(count === wanted, isKept)
    for (; count < wanted; count++) drawn = await draw(drawn, operations[count], {})
    assert.equal(drawn.coverage, coverages[wanted])
  }
  snapshots.truncate(2)
  assert.ok(snapshots.bytes <= 20 * TILE_BYTES)
  assert.ok(snapshots.nearest(70).count <= 2)
})
