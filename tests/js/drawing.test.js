// The tiles of the mask against plain arrays of the same pixels.

import assert from "node:assert/strict"
import { test } from "node:test"
import { inflateSync } from "node:zlib"

import * as operations from "editor/document/operations"
import { boundsOf } from "editor/raster/bounds"
import { specks } from "editor/raster/components"
import { Drawing } from "editor/raster/drawing"
import { png } from "editor/raster/png"
import { Tile, blend, changeOf } from "editor/raster/tiles"

import { each, height, largestDifference, photo, PLAIN, width } from "./plain_mask.js"
import { randomNumbers } from "./random.js"

const VIEW = { left: 0, top: 0, right: 9, bottom: 9 }

const newDrawing = () => new Drawing(width, height, { photo: async () => photo }, { colour: 0x332211, snapshotBytes: 2 ** 22 })

const readPixels = (drawing) => drawing.mask.read(0, 0, width, height)

/** The drawing of the operations. */
async function drawingOf(...added) {
  const drawing = newDrawing()
  await drawing.show({ keep: 0, added, count: added.length })
  return drawing
}

/** Makes operations by their kind. */
function randomOperations({ random, whole, from }) {
  const point = () => [whole(width + 60) - 30, whole(height + 60) - 30]
  return {
    stroke: () =>
      operations.stroke({
        erases: random() < 0.3, size: 1 + whole(90), hardness: from([0, 0.5, 1]), points: Array.from({ length: 1 + whole(4) }, point),
      }),
    shape: () => {
      const [[a, b], [c, d]] = [point(), point()]
      const corners = [[Math.min(a, c), Math.min(b, d)], [Math.max(a, c) + 1, Math.max(b, d) + 1]]
      return operations.shape({ erases: random() < 0.3, shape: "rectangle", points: corners })
    },
    wand: () =>
      operations.wand({ erases: random() < 0.3, x: whole(width), y: whole(height), tolerance: from([0, 2, 61]), contiguous: random() < 0.5 }),
    grow: () => operations.grow(whole(13) - 6),
    "fill-holes": () => operations.FILL_HOLES,
    invert: () => operations.INVERT,
    clear: () => operations.CLEAR,
  }
}

const KINDS = ["stroke", "stroke", "stroke", "shape", "wand", "grow", "fill-holes", "invert", "clear"]

/** The display tiles of a page: pixels of alpha. */
class Page {
  #tiles = new Map()

  take(drawing) {
    for (const { column, row, value, box, rgba } of drawing.takeChanges().patches) {
      const key = `${column} ${row}`
      if (value !== undefined) {
        this.#tiles.set(key, new Uint8Array(256 * 256).fill(value))
        continue
      }
      for (let y = box.top, i = 3; y < box.bottom; y++) for (let x = box.left; x < box.right; x++, i += 4) this.#tile(key)[256 * y + x] = rgba[i]
    }
  }

  clear() {
    this.#tiles.clear()
  }

  at(x, y) {
    return this.#tile(`${x >> 8} ${y >> 8}`)[256 * (y % 256) + (x % 256)]
  }

  #tile(key) {
    if (!this.#tiles.has(key)) this.#tiles.set(key, new Uint8Array(256 * 256))
    return this.#tiles.get(key)
  }
}

/** The mean of the pixels of a mask that a pixel of the level shows; null where it reaches out of the mask. */
function meanAt(mask, level, x, y) {
  if (level === 0) return x < width && y < height ? mask[y * width + x] : null
  const four = [[0, 0], [1, 0], [0, 1], [1, 1]].map(([a, b]) => meanAt(mask, level - 1, 2 * x + a, 2 * y + b))
  return four.includes(null) ? null : (four[0] + four[1] + four[2] + four[3] + 2) >> 2
}

for (let seed = 0; seed < 5; seed++) {
  test(`random operations, undo and redo equal those on a plain array (seed ${seed})`, async () => {
    const numbers = randomNumbers(seed)
    const { random, whole, from } = numbers
    const make = randomOperations(numbers)
    const drawing = newDrawing()
    const page = new Page()
    const kept = []
    const plains = [each(() => 0)] // the mask after as many of the kept operations
    let cursor = 0
    let level = 0
    drawing.view({ view: { level, ...VIEW } })
    for (let number = 0; number < 40; number++) {
      const action = random()
      if (action < 0.2 && cursor > 0) await drawing.show({ keep: -1, added: [], count: --cursor })
      else if (action < 0.3 && cursor < kept.length) await drawing.show({ keep: -1, added: [], count: ++cursor })
      else if (action < 0.4) {
        const before = level
        level = whole(3)
        drawing.view({ view: { level, ...VIEW } })
        if (level !== before) page.clear()
      } else {
        const operation = make[from(KINDS)]()
        let isDrawn = false
        kept.length = cursor
        plains.length = cursor + 1
        if (operation.kind === "stroke" && random() < 0.5) {
          await drawing.begin({ operation: { ...operation, points: operation.points.slice(0, 1) } })
          for (const point of operation.points.slice(1)) await drawing.extend({ points: [point] })
          isDrawn = random() < 0.8
          if (isDrawn) drawing.end()
          else drawing.cancel()
          if (random() < 0.3) drawing.catchUp(0.1)
        }
        if (!isDrawn) await drawing.show({ keep: cursor, added: [operation], count: cursor + 1 })
        kept.push(operation)
        plains.push(PLAIN[operation.kind](plains[cursor++], operation))
      }
      page.take(drawing)
      if (drawing.isBehind && random() < 0.5) continue
      drawing.catchUp()
      page.take(drawing)
      const plain = plains[cursor]
      const where = `step ${number}, after ${kept[cursor - 1]?.kind}`
      assert.equal(largestDifference(readPixels(drawing), plain), 0, where)
      const coverage = plain.reduce((a, b) => a + b, 0) / (255 * width * height)
      assert.ok(Math.abs(drawing.mask.coverage - coverage) < 1e-9, where)
      for (let y = 0; y < height >> level; y += 7) {
        for (let x = 0; x < width >> level; x += 5) {
          const value = meanAt(plain, level, x, y)
          if (value !== null) assert.equal(page.at(x, y), value, `${where}: shown at level ${level}, (${x}, ${y})`)
        }
      }
    }
  })
}

const SHAPES = {
  ellipse: [[20.5, 30.25], [211, 290]],
  rectangle: [[250.5, 240.25], [10.75, 30]],
  polygon: [[-40, 30], [330, 80], [200, 300], [150.5, 60], [20, 250]],
}

/** Whether a point lies in the shape of these points; a polygon is filled by the nonzero rule. */
const CONTAINS = {
  rectangle: ([[left, top], [right, bottom]], x, y) => (x - left) * (x - right) < 0 && (y - top) * (y - bottom) < 0,
  ellipse: ([[left, top], [right, bottom]], x, y) =>
    ((2 * x - left - right) / (right - left)) ** 2 + ((2 * y - top - bottom) / (bottom - top)) ** 2 < 1,
  polygon: (points, x, y) => {
    let winding = 0
    for (let i = 0; i < points.length; i++) {
      const [a, b] = [points[i], points[(i + 1) % points.length]]
      if (a[1] <= y === b[1] <= y || ((y - a[1]) * (b[0] - a[0])) / (b[1] - a[1]) + a[0] >= x) continue
      winding += a[1] <= y ? 1 : -1
    }
    return winding !== 0
  },
}

for (const [shape, points] of Object.entries(SHAPES)) {
  test(`a pixel of a shape is the area inside, against 256 samples (${shape})`, async () => {
    const read = readPixels(await drawingOf(operations.shape({ shape, points })))
    const expected = each((x, y) => {
      let inside = 0
      for (let sample = 0; sample < 256; sample++) {
        inside += Number(CONTAINS[shape](points, x + ((sample % 16) + 0.5) / 16, y + ((sample >> 4) + 0.5) / 16))
      }
      return Math.round((255 * inside) / 256)
    })
    const sum = (values) => values.reduce((a, b) => a + b, 0)
    assert.ok(largestDifference(read, expected) <= 16)
    assert.ok(Math.abs(sum(read) / sum(expected) - 1) < 1e-3)
  })
}

test("growing by 40 pixels, done in steps, is within a pixel of the disc", async () => {
  const dot = operations.shape({ shape: "rectangle", points: [[250, 100], [251, 101]] })
  const grown = readPixels(await drawingOf(dot, operations.grow(40)))
  const wrong = each((x, y) => {
    const distance = Math.hypot(x - 250, y - 100)
    return Number((distance < 39 && grown[y * width + x] !== 255) || (distance > 41 && grown[y * width + x] !== 0))
  })
  assert.ok(!wrong.includes(1))
})

test("a blur of a straight edge is a smooth step over tiles", async () => {
  const half = operations.shape({ shape: "rectangle", points: [[-9, -9], [250, 999]] })
  const read = readPixels(await drawingOf(half, operations.feather(12)))
  const row = (y) => [...read.subarray(y * width, (y + 1) * width)]
  const middle = row(150)
  assert.deepEqual(row(0), middle)
  assert.ok(middle.slice(0, 238).every((value) => value === 255))
  assert.ok(middle.slice(262).every((value) => value === 0))
  assert.ok(middle.every((value, x) => x === 0 || value <= middle[x - 1]))
  for (let x = 238; x < 262; x++) assert.equal(middle[x] + middle[499 - x], 255)
})

for (const pixels of [20, -20]) {
  test(`a soft mask, with edges far wider and far narrower than the disc, grows by ${pixels}`, async () => {
    const soft = [[160, 150, 120], [30, 250, 200]].map(([size, ...end]) =>
      operations.stroke({ size, hardness: 0.2, points: [[40, 40], end] }))
    const drawing = await drawingOf(...soft)
    const before = readPixels(drawing)
    const operation = operations.grow(pixels)
    await drawing.show({ keep: 2, added: [operation], count: 3 })
    const after = readPixels(drawing)
    assert.equal(largestDifference(after, PLAIN.grow(before, operation)), 0)
    assert.ok(largestDifference(after, before) > 100)
  })
}

test("a stroke is seen at once and not drawn at full size if it is undone", async () => {
  const drawing = newDrawing()
  drawing.view({ view: { level: 1, ...VIEW } })
  const stroke = operations.stroke({ size: 80, hardness: 0, points: [[50, 50], [200, 200]] })
  await drawing.begin({ operation: stroke })
  drawing.end()
  assert.ok(drawing.coverage > 0.1)
  assert.ok(drawing.takeChanges().patches.length > 0)
  assert.ok(drawing.isBehind)
  await drawing.show({ keep: -1, added: [], count: 0 })
  assert.deepEqual([drawing.coverage, drawing.bytes, drawing.isBehind], [0, 0, false])
  await drawing.show({ keep: -1, added: [], count: 1 })
  assert.equal(largestDifference(readPixels(drawing), PLAIN.stroke(each(() => 0), stroke)), 0)
})

test("the parts of a mask are counted, those that touch at a corner as one", async () => {
  const box = (x, y, side) => operations.shape({ shape: "rectangle", points: [[x, y], [x + side, y + side]] })
  const drawing = await drawingOf(box(10, 10, 2), box(12, 12, 2), box(250, 20, 10), box(100, 260, 1))
  assert.deepEqual(specks(drawing.mask), { count: 3, largest: 100 })
})

test("the bounds of a mask have all that is repainted, also in part", async () => {
  assert.equal(boundsOf((await drawingOf()).mask), null)
  const box = (x, y, right, bottom) => operations.shape({ shape: "rectangle", points: [[x, y], [right, bottom]] })
  for (const boxes of [[[10, 20, 11, 21]], [[0, 0, width, height]], [[250, 20, 260, 30], [100, 258, 101, 260]], [[3, 4, 290, 5]]]) {
    const drawing = await drawingOf(...boxes.map((corners) => box(...corners)))
    const edge = (side, find) => find(...boxes.map((corners) => corners[side]))
    assert.deepEqual(boundsOf(drawing.mask), [edge(0, Math.min), edge(1, Math.min), edge(2, Math.max), edge(3, Math.max)])
  }
  const drawing = await drawingOf(operations.stroke({ size: 30, hardness: 0, points: [[40, 60], [90, 120]] }))
  const marked = [...readPixels(drawing).entries()].filter(([, value]) => value).map(([at]) => [at % width, Math.floor(at / width)])
  const [across, down] = [0, 1].map((axis) => marked.map((point) => point[axis]))
  assert.deepEqual(boundsOf(drawing.mask), [Math.min(...across), Math.min(...down), Math.max(...across) + 1, Math.max(...down) + 1])
})

test("the PNG is the mask with black for what is repainted", async () => {
  const drawing = await drawingOf(operations.stroke({ size: 90, hardness: 0, points: [[10, 10], [280, 260]] }))
  const file = Buffer.from(await (await png(drawing.mask)).arrayBuffer())
  assert.deepEqual(greyPixels(file), Buffer.from(readPixels(drawing).map((value) => 255 - value)))
})

/** The pixels of an 8-bit grey PNG whose rows are filtered by "Up". */
function greyPixels(file) {
  assert.equal(file.subarray(0, 8).toString("latin1"), "\x89PNG\r\n\x1a\n")
  const chunks = {}
  for (let at = 8; at < file.length; at += 12 + file.readUInt32BE(at)) {
    const type = file.toString("latin1", at + 4, at + 8)
    const data = file.subarray(at + 8, at + 8 + file.readUInt32BE(at))
    chunks[type] = Buffer.concat([chunks[type] ?? Buffer.alloc(0), data])
  }
  assert.deepEqual(Object.keys(chunks), ["IHDR", "IDAT", "IEND"])
  const [columns, rows] = [chunks.IHDR.readUInt32BE(0), chunks.IHDR.readUInt32BE(4)]
  assert.deepEqual([columns, rows, ...chunks.IHDR.subarray(8)], [width, height, 8, 0, 0, 0, 0]) // 8 bits, grey, not interlaced
  const raw = inflateSync(chunks.IDAT)
  const pixels = Buffer.alloc(columns * rows)
  for (let y = 0; y < rows; y++) {
    assert.equal(raw[y * (columns + 1)], 2)
    for (let x = 0; x < columns; x++) pixels[y * columns + x] = raw[y * (columns + 1) + 1 + x] + (y ? pixels[(y - 1) * columns + x] : 0)
  }
  return pixels
}

test("what changeOf gives makes one value of another, to the rounding of a byte", () => {
  const box = { left: 0, top: 0, right: 1, bottom: 1 }
  const tile = (value) => new Tile(new Uint8Array(256 * 256).fill(value), 0)
  for (let before = 0; before < 256; before += 5) {
    for (let after = 0; after < 256; after += 5) {
      const erases = after < before
      const result = tile(before)
      blend(result, tile(before), tile(changeOf(before, after, erases)), erases, box)
      assert.ok(Math.abs(result.alpha[0] - after) <= 1, `${before} ${after} ${result.alpha[0]}`)
      assert.equal(changeOf(before, after, !erases), 0)
    }
  }
})
