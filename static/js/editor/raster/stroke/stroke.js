// Draws a stroke of a round brush on a mask, piece by piece. Drawn in pieces or at once, the pixels are the same.

import { Capsule, Edge } from "./capsule.js"
import { EMPTY, FULL, SIDE, Tile, blend, bytesOf, simplified } from "../tiles.js"

const LARGEST_STEP = 0.02 // of the radius: a piece with changing pressure is drawn in parts of one radius each

/** @typedef {import("../tiles.js").Mask} Mask */
/** @typedef {import("../tiles.js").AnyTile} AnyTile */
/** @typedef {import("../tiles.js").Box} Box */
/** @typedef {import("../../document/operations.js").Stroke} Stroke */
/** @typedef {import("../../document/operations.js").Points} Points */
/** @typedef {{x: number, y: number, radius: number}} End  of a piece */

export class StrokeDrawer {
  /** @type {(AnyTile | undefined)[]} */
  #cover // per tile: how opaque the stroke is, the maximum of its pieces; FULL, or undefined where it is not
  /** @type {End | null} */
  #last = null
  /** @type {Edge | null} */
  #edge = null // of the last radius

  /** @param {Mask} base @param {Omit<Stroke, "kind" | "points">} stroke
   *  @param {Box} limit whole tiles: nothing is drawn outside of it */
  constructor(base, { erases, size, hardness }, limit = { left: 0, top: 0, right: base.width, bottom: base.height }) {
    this.base = base
    this.limit = limit
    this.mask = base.map((tile) => tile)
    this.erases = erases
    this.size = size
    this.hardness = hardness
    this.#cover = new Array(base.tiles.length)
  }

  /** Draws more points. @param {Points} points @returns {Map<number, Box>} the changed tiles: the part of each, in its own pixels */
  add(points) {
    const steps = this.steps(points)
    for (let step = steps.next(); ; step = steps.next()) if (step.done) return step.value
  }

  /** Draws more points as `add` does, and gives way after each tile.
   *  @param {Points} points @returns {Generator<undefined, Map<number, Box>, void>} */
  *steps(points) {
    /** @type {Map<number, Box>} */
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
    return this.mask.map((tile, index) => simplified(tile, this.mask.boxOf(index)))
  }

  /** @param {End} from @param {End} to @param {boolean} isContinued @param {End | undefined} next @param {Map<number, Box>} changed
   *  @returns {Generator<undefined, void, void>} */
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

  /** @param {number} inner @param {number} outer */
  #edgeOf(inner, outer) {
    const known = this.#edge
    if (known && known.inner === inner && known.outer === outer) return known
    return (this.#edge = new Edge(inner, outer))
  }

  /** A line with round ends. `isContinued`: its start is already drawn with the same radius, perhaps. `next`: the end of
   *  the line that follows, if that is known.
   *  @param {End} from @param {End} to @param {boolean} isContinued @param {End | undefined} next @param {Map<number, Box>} changed
   *  @returns {Generator<undefined, void, void>} */
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
      /** @type {Box | null} */
      let part = box
      if (line.contains(tile, inner)) this.#cover[index] = FULL
      else part = this.#draw(line, edge, { outside, inside, top: reach.top }, index, tile, box)
      if (part) changed.set(index, union(changed.get(index), part))
      yield
    }
  }

  /** Draws the line on a tile's cover. @param {Capsule} line @param {Edge} edge @param {{outside: Int32Array, inside: Int32Array, top: number}} rows
   *  @param {number} index @param {Box} tile @param {Box} box @returns {Box | null} what changed, in the tile's pixels */
  #draw(line, edge, { outside, inside, top }, index, tile, box) {
    const changed = { left: SIDE, top: SIDE, right: 0, bottom: 0 }
    const span = { left: SIDE, right: 0 } // the changed pixels of a row
    for (let row = box.top; row < box.bottom; row++) {
      const at = 2 * (tile.top + row - top)
      const start = Math.max(box.left, outside[at] - tile.left)
      const end = Math.min(box.right, outside[at + 1] - tile.left)
      if (start >= end) continue
      const { alpha } = /** @type {Tile} */ (this.#cover[index] ??= new Tile(new Uint8Array(SIDE * SIDE), 0))
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

  /** @param {number} index @param {Box} box */
  #show(index, box) {
    const below = this.base.tiles[index]
    const cover = this.#cover[index]
    if (cover === FULL) {
      this.mask.tiles[index] = this.erases ? EMPTY : FULL
      return
    }
    let tile = /** @type {Tile} */ (this.mask.tiles[index])
    if (tile === below) {
      const { left, top, right, bottom } = this.base.boxOf(index)
      const full = /** @type {AnyTile} */ (below) === FULL ? 255 * (right - left) * (bottom - top) : 0
      tile = this.mask.tiles[index] = new Tile(bytesOf(below), below.sum ?? full)
    }
    blend(tile, below, /** @type {Tile} */ (cover), this.erases, box)
    if (tile.levels) tile.levels.stale = union(tile.levels.stale, box)
  }
}

/** @param {Box | null | undefined} a @param {Box} b @returns {Box} */
function union(a, b) {
  if (!a) return b
  return { left: Math.min(a.left, b.left), top: Math.min(a.top, b.top), right: Math.max(a.right, b.right), bottom: Math.max(a.bottom, b.bottom) }
}

/** The mask with a whole stroke. @param {Mask} mask @param {Stroke} stroke */
export function drawStroke(mask, stroke) {
  const drawer = new StrokeDrawer(mask, stroke)
  drawer.add(stroke.points)
  return drawer.end()
}
