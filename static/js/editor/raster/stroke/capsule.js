// A line with round ends: which pixels of a row it covers, and how opaque its soft edge is there.

import { SIDE } from "../tiles.js"

const STEPS = 4096 // of an edge's squares of distances: several for each opacity
// By opacity: the part of the soft edge from outside on, 0 to 1, at which it begins. There 255 times the curve 3t^2 - 2t^3 is
// that opacity less 0.5, so rounding gives it.
const PARTS = Float64Array.from({ length: 256 }, (_, value) => 0.5 - Math.sin(Math.asin(1 - (2 * value - 1) / 255) / 3))

/** @typedef {{x: number, y: number}} Point */
/** @typedef {{left: number, right: number}} Span  of a row */

/** The opacity at each distance between the two radii. */
export class Edge {
  /** @param {number} inner @param {number} outer */
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

  /** Raises the values from `start` to `end` to the opacity at (slope * x + offset)^2 + rest, the square of a distance.
   *  @param {Uint8Array} values @param {number} start @param {number} end @param {number} slope @param {number} offset @param {number} rest
   *  @param {Span} span widened to what is raised */
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
export class Capsule {
  /** `withoutStart`: what lies behind its start is drawn. `next`: the end of a line from `to` on, which is drawn as well, or
   *  null. What is nearest to the point between the two and lies ahead of both is nearer to the next one, and left to it:
   *  otherwise each of many short lines would draw a whole half disc.
   *  @param {Point} from @param {Point} to @param {boolean} withoutStart @param {Point | null} next */
  constructor(from, to, withoutStart, next) {
    this.from = from
    this.to = to
    this.withoutStart = withoutStart
    this.length = Math.hypot(to.x - from.x, to.y - from.y)
    this.dx = this.length ? (to.x - from.x) / this.length : 1
    this.dy = this.length ? (to.y - from.y) / this.length : 0
    this.next = next && (next.x !== to.x || next.y !== to.y) ? { dx: next.x - to.x, dy: next.y - to.y } : null
  }

  /** @param {number} x @param {number} y */
  distance(x, y) {
    const [left, top] = [x - this.from.x, y - this.from.y]
    const along = Math.max(0, Math.min(this.length, left * this.dx + top * this.dy))
    const [right, down] = [left - along * this.dx, top - along * this.dy]
    return Math.sqrt(right * right + down * down)
  }

  /** Raises the pixels from `start` to `end` of a row to the opacity at their distance: from the line, or from the nearer end.
   *  @param {Uint8Array} values @param {number} start @param {number} end @param {number} left @param {number} row @param {Edge} edge
   *  @param {Span} span */
  drawEdge(values, start, end, left, row, edge, span) {
    if (start >= end) return
    /** @param {Point} point @param {number} first @param {number} last */
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

  /** Whether the whole box is within `radius`. @param {import("../tiles.js").Box} box @param {number} radius */
  contains({ left, top, right, bottom }, radius) {
    return this.distance(left, top) <= radius && this.distance(right, top) <= radius
      && this.distance(left, bottom) <= radius && this.distance(right, bottom) <= radius
  }

  /** By row of a box: the first pixel within `radius`, and the one after the last.
   *  @param {number} radius @param {{top: number, bottom: number}} box */
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

  /** Where a row is within `radius`: [from, to], one interval because the shape is convex; from > to where it is not.
   *  @param {number} y @param {number} radius */
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
    return this.next ? this.#withoutNext(this.next, y, from, to) : [from, to]
  }

  /** The interval without what the next line draws, where that is at one end of it; a pixel of both is drawn by both.
   *  @param {{dx: number, dy: number}} next @param {number} y @param {number} from @param {number} to */
  #withoutNext(next, y, from, to) {
    const down = y - this.to.y
    const ahead = slab(this.dx, down * this.dy, 0, Infinity)
    const aheadOfNext = slab(next.dx, down * next.dy, 0, Infinity)
    const start = Math.max(ahead[0], aheadOfNext[0]) + this.to.x + 1
    const end = Math.min(ahead[1], aheadOfNext[1]) + this.to.x - 1
    if (start >= end) return [from, to]
    if (end >= to) return [from, Math.min(to, start)]
    return start <= from ? [Math.max(from, end), to] : [from, to]
  }
}

/** @param {number} value @param {number} low @param {number} high */
const within = (value, low, high) => Math.max(low, Math.min(high, value))

/** The x with low <= slope * x + offset <= high.
 *  @param {number} slope @param {number} offset @param {number} low @param {number} high */
function slab(slope, offset, low, high) {
  if (Math.abs(slope) < 1e-9) return offset >= low && offset <= high ? [-Infinity, Infinity] : [Infinity, -Infinity]
  const [a, b] = [(low - offset) / slope, (high - offset) / slope]
  return a < b ? [a, b] : [b, a]
}
