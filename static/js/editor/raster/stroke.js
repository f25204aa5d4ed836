// Draws a stroke of a round brush on a mask, piece by piece. Drawn in pieces or at once, the pixels are the same.

import { EMPTY, FULL, Mask, SIDE, Tile, blend, bytesOf, settled } from "./tiles.js"

const LARGEST_STEP = 0.02 // of the radius: a piece with changing pressure is drawn in parts of one radius each
const STEPS = 4096 // of an edge's squares of distances: several for each opacity
// By opacity: the part of the soft edge from outside on, 0 to 1, at which it begins. There 255 times the curve 3t^2 - 2t^3 is
// that opacity less 0.5, so rounding gives it.
const PARTS = Float64Array.from({ length: 256 }, (_, value) => 0.5 - Math.sin(Math.asin(1 - (2 * value - 1) / 255) / 3))

export class StrokeDrawer {
  #cover // per tile: how opaque the stroke is, the maximum of its pieces; FULL, or undefined where it is not
  #last = null
  #edge = null // of the last radius

  /** @param {Mask} base @param {import("../core/operations.js").Stroke} stroke its points are not read
   *  @param {import("./tiles.js").Box} limit whole tiles: nothing is drawn outside of it */
  constructor(base, { erases, size, hardness }, limit = { left: 0, top: 0, right: base.width, bottom: base.height }) {
    this.base = base
    this.limit = limit
    this.mask = base.map((tile) => tile)
    this.erases = erases
    this.size = size
    this.hardness = hardness
    this.#cover = new Array(base.tiles.length)
  }

  /** Draws more points. @returns {Map<number, import("./tiles.js").Box>} the changed tiles: the part of each, in its own pixels */
  add(points) {
    const steps = this.steps(points)
    for (let step = steps.next(); ; step = steps.next()) if (step.done) return step.value
  }

  /** Draws more points as `add` does, and gives way after each tile. */
  *steps(points) {
    const changed = new Map()
    const ends = points.map(([x, y, pressure = 1]) => ({ x, y, radius: Math.max(0.5, (this.size / 2) * pressure) }))
    for (const [i, end] of ends.entries()) {
      yield* this.#piece(this.#last ?? end, end, this.#last !== null, ends[i + 1], changed)
      this.#last = end
    }
    for (const [index, box] of changed) {
      this.#show(index, box)
      yield
    }
    return changed
  }

  /** The mask with the whole stroke. The drawer is of no use after it. */
  end() {
    return this.mask.map((tile, index) => settled(tile, this.mask.boxOf(index)))
  }

  *#piece(from, to, isContinued, next, changed) {
    const steps = Math.ceil(Math.abs(to.radius - from.radius) / Math.max(0.5, LARGEST_STEP * from.radius)) || 1
    let start = from
    for (let step = 1; step <= steps; step++) {
      const part = step / steps
      const end = { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part, radius: from.radius + (to.radius - from.radius) * part }
      yield* this.#capsule(start, end, isContinued && steps === 1, steps === 1 ? next : undefined, changed)
      start = end
    }
  }

  #edgeOf(inner, outer) {
    if (this.#edge?.inner !== inner || this.#edge.outer !== outer) this.#edge = new Edge(inner, outer)
    return this.#edge
  }

  /** A line with round ends. `isContinued`: its start is already drawn with the same radius, perhaps. `next`: the end of
   *  the line that follows, if that is known. */
  *#capsule(from, to, isContinued, next, changed) {
    const outer = to.radius + 0.5
    const inner = Math.max(0, Math.min(to.radius * this.hardness, to.radius - 0.5))
    const edge = this.#edgeOf(inner, outer)
    const line = new Capsule(from, to, isContinued && from.radius === to.radius, next?.radius === to.radius ? next : null)
    const { limit } = this
    const reach = {
      left: Math.max(limit.left, Math.floor(Math.min(from.x, to.x) - outer)),
      top: Math.max(limit.top, Math.floor(Math.min(from.y, to.y) - outer)),
      right: Math.min(limit.right, Math.ceil(Math.max(from.x, to.x) + outer)),
      bottom: Math.min(limit.bottom, Math.ceil(Math.max(from.y, to.y) + outer)),
    }
    if (reach.left >= reach.right || reach.top >= reach.bottom) return
    const outside = line.intervals(outer, reach)
    const inside = line.intervals(inner, reach)
    for (const index of this.base.indicesIn(reach)) {
      if (this.#cover[index] === FULL || this.base.tiles[index] === (this.erases ? EMPTY : FULL)) continue
      const tile = this.base.boxOf(index)
      const box = {
        left: Math.max(reach.left, tile.left) - tile.left, right: Math.min(reach.right, tile.right) - tile.left,
        top: Math.max(reach.top, tile.top) - tile.top, bottom: Math.min(reach.bottom, tile.bottom) - tile.top,
      }
      let part = box
      if (line.contains(tile, inner)) this.#cover[index] = FULL
      else part = this.#draw(line, edge, { outside, inside, top: reach.top }, index, tile, box)
      if (part) changed.set(index, union(changed.get(index), part))
      yield
    }
  }

  /** Draws the line on a tile's cover. @returns {import("./tiles.js").Box | null} what changed, in the tile's pixels */
  #draw(line, edge, { outside, inside, top }, index, tile, box) {
    const changed = { left: SIDE, top: SIDE, right: 0, bottom: 0 }
    const span = { left: SIDE, right: 0 } // the changed pixels of a row
    for (let row = box.top; row < box.bottom; row++) {
      const at = 2 * (tile.top + row - top)
      const start = Math.max(box.left, outside[at] - tile.left)
      const end = Math.min(box.right, outside[at + 1] - tile.left)
      if (start >= end) continue
      const { alpha } = (this.#cover[index] ??= new Tile(new Uint8Array(SIDE * SIDE), 0))
      const fullStart = Math.max(start, Math.min(end, inside[at] - tile.left))
      const fullEnd = Math.max(fullStart, Math.min(end, inside[at + 1] - tile.left))
      const values = alpha.subarray(row * SIDE, (row + 1) * SIDE)
      span.left = SIDE
      span.right = 0
      line.drawEdge(values, start, fullStart, tile.left, tile.top + row, edge, span)
      line.drawEdge(values, fullEnd, end, tile.left, tile.top + row, edge, span)
      let [left, right] = [fullStart, fullEnd]
      while (left < right && values[left] === 255) left++
      while (left < right && values[right - 1] === 255) right--
      if (left < right) {
        values.fill(255, left, right)
        span.left = Math.min(span.left, left)
        span.right = Math.max(span.right, right)
      }
      if (!span.right) continue
      changed.left = Math.min(changed.left, span.left)
      changed.right = Math.max(changed.right, span.right)
      changed.top = Math.min(changed.top, row)
      changed.bottom = row + 1
    }
    return changed.right ? changed : null
  }

  #show(index, box) {
    const below = this.base.tiles[index]
    const cover = this.#cover[index]
    if (cover === FULL) {
      this.mask.tiles[index] = this.erases ? EMPTY : FULL
      return
    }
    let tile = this.mask.tiles[index]
    if (tile === below) {
      const { left, top, right, bottom } = this.base.boxOf(index)
      const full = below === FULL ? 255 * (right - left) * (bottom - top) : 0
      tile = this.mask.tiles[index] = new Tile(bytesOf(below), below.sum ?? full)
    }
    blend(tile, below, cover, this.erases, box)
    if (tile.levels) tile.levels.stale = union(tile.levels.stale, box)
  }
}

/** The opacity at each distance between the two radii. */
class Edge {
  constructor(inner, outer) {
    this.inner = inner
    this.outer = outer
    this.first = inner * inner
    this.scale = STEPS / (outer * outer - this.first)
    this.limits = PARTS.map((part) => (outer - part * (outer - inner)) ** 2) // by opacity: the largest square of a distance
    this.limits[0] = Infinity
    this.values = new Uint8Array(STEPS + 1) // by the square of the distance, in equal steps: the opacity where the step begins
    for (let value = 255, step = 0; value > 0; value--) {
      const end = Math.floor((this.limits[value] - this.first) * this.scale) + 1
      if (end > step) this.values.fill(value, step, end)
      step = Math.max(step, end)
    }
  }

  /** Raises the values from `start` to `end` to the opacity at (slope * x + offset)^2 + rest, the square of a distance. */
  raise(values, start, end, slope, offset, rest, span) {
    const { first, scale, limits, values: opacities } = this
    let left = SIDE
    let right = 0
    for (let x = start; x < end; x++) {
      const away = slope * x + offset
      const square = away * away + rest
      const step = ((square - first) * scale) | 0
      let value = opacities[step < 0 ? 0 : step > STEPS ? STEPS : step]
      while (square > limits[value]) value--
      if (value <= values[x]) continue
      values[x] = value
      if (!right) left = x
      right = x + 1
    }
    if (!right) return
    if (left < span.left) span.left = left
    if (right > span.right) span.right = right
  }
}

/** The line between two points, and distances from it. */
class Capsule {
  /** `withoutStart`: what lies behind its start is drawn. `next`: the end of a line from `to` on, which is drawn as well, or
   *  null. What is nearest to the point between the two and lies ahead of both is nearer to the next one, and left to it:
   *  otherwise each of many short lines would draw a whole half disc. */
  constructor(from, to, withoutStart, next) {
    this.from = from
    this.to = to
    this.withoutStart = withoutStart
    this.length = Math.hypot(to.x - from.x, to.y - from.y)
    this.dx = this.length ? (to.x - from.x) / this.length : 1
    this.dy = this.length ? (to.y - from.y) / this.length : 0
    this.next = next && (next.x !== to.x || next.y !== to.y) ? { dx: next.x - to.x, dy: next.y - to.y } : null
  }

  distance(x, y) {
    const [left, top] = [x - this.from.x, y - this.from.y]
    const along = Math.max(0, Math.min(this.length, left * this.dx + top * this.dy))
    const [right, down] = [left - along * this.dx, top - along * this.dy]
    return Math.sqrt(right * right + down * down)
  }

  /** Raises the pixels from `start` to `end` of a row to the opacity at their distance: from the line, or from the nearer end. */
  drawEdge(values, start, end, left, row, edge, span) {
    if (start >= end) return
    const around = (point, first, last) => edge.raise(values, first, last, 1, left + 0.5 - point.x, (row + 0.5 - point.y) ** 2, span)
    const [across, down] = [left + 0.5 - this.from.x, row + 0.5 - this.from.y]
    const [from, to] = slab(this.dx, down * this.dy, 0, this.length) // between the two ends
    if (from > to) return around(down * this.dy > 0 ? this.to : this.from, start, end)
    const first = within(Math.ceil(from - across), start, end)
    const last = within(Math.floor(to - across) + 1, first, end)
    around(this.dx < 0 ? this.to : this.from, start, first)
    edge.raise(values, first, last, this.dy, across * this.dy - down * this.dx, 0, span)
    around(this.dx < 0 ? this.from : this.to, last, end)
  }

  /** Whether the whole box is within `radius`. */
  contains({ left, top, right, bottom }, radius) {
    return this.distance(left, top) <= radius && this.distance(right, top) <= radius
      && this.distance(left, bottom) <= radius && this.distance(right, bottom) <= radius
  }

  /** By row of a box: the first pixel within `radius`, and the one after the last. */
  intervals(radius, { top, bottom }) {
    const found = new Int32Array(2 * (bottom - top))
    if (radius <= 0) return found
    for (let row = top; row < bottom; row++) {
      const [from, to] = this.interval(row + 0.5, radius)
      if (from > to) continue
      found[2 * (row - top)] = Math.ceil(from - 0.5)
      found[2 * (row - top) + 1] = Math.floor(to - 0.5) + 1
    }
    return found
  }

  /** Where a row is within `radius`: [from, to], one interval because the shape is convex; from > to where it is not. */
  interval(y, radius) {
    let [from, to] = [Infinity, -Infinity]
    for (const end of [this.from, this.to]) {
      const half = radius * radius - (y - end.y) ** 2
      if (half < 0) continue
      from = Math.min(from, end.x - Math.sqrt(half))
      to = Math.max(to, end.x + Math.sqrt(half))
    }
    const down = y - this.from.y
    const along = slab(this.dx, down * this.dy, 0, this.length) // between the two ends
    const across = slab(-this.dy, down * this.dx, -radius, radius)
    const [left, right] = [Math.max(along[0], across[0]), Math.min(along[1], across[1])]
    if (left <= right) [from, to] = [Math.min(from, left + this.from.x), Math.max(to, right + this.from.x)]
    if (this.withoutStart) {
      const ahead = slab(this.dx, down * this.dy, 0, Infinity)
      ;[from, to] = [Math.max(from, ahead[0] + this.from.x - 1), Math.min(to, ahead[1] + this.from.x + 1)]
    }
    return this.next ? this.#withoutNext(y, from, to) : [from, to]
  }

  /** The interval without what the next line draws, where that is at one end of it; a pixel of both is drawn by both. */
  #withoutNext(y, from, to) {
    const down = y - this.to.y
    const ahead = slab(this.dx, down * this.dy, 0, Infinity)
    const aheadOfNext = slab(this.next.dx, down * this.next.dy, 0, Infinity)
    const start = Math.max(ahead[0], aheadOfNext[0]) + this.to.x + 1
    const end = Math.min(ahead[1], aheadOfNext[1]) + this.to.x - 1
    if (start >= end) return [from, to]
    if (end >= to) return [from, Math.min(to, start)]
    return start <= from ? [Math.max(from, end), to] : [from, to]
  }
}

const within = (value, low, high) => Math.max(low, Math.min(high, value))

/** The x with low <= slope * x + offset <= high. */
function slab(slope, offset, low, high) {
  if (Math.abs(slope) < 1e-9) return offset >= low && offset <= high ? [-Infinity, Infinity] : [Infinity, -Infinity]
  const [a, b] = [(low - offset) / slope, (high - offset) / slope]
  return a < b ? [a, b] : [b, a]
}

function union(a, b) {
  if (!a) return b
  return { left: Math.min(a.left, b.left), top: Math.min(a.top, b.top), right: Math.max(a.right, b.right), bottom: Math.max(a.bottom, b.bottom) }
}

/** The mask with a whole stroke. */
export function drawStroke(mask, stroke) {
  const drawer = new StrokeDrawer(mask, stroke)
  drawer.add(stroke.points)
  return drawer.end()
}
