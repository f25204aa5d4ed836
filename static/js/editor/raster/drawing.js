// The mask of one photo: its operations, what they draw, and which pixels of that the page needs anew.

import { extended } from "../core/operations.js"
import { draw } from "./draw.js"
import { displayTiles, pixels, uniform } from "./levels.js"
import { Snapshots } from "./snapshots.js"
import { StrokeDrawer } from "./stroke.js"
import { Mask, SIDE } from "./tiles.js"

const WHOLE_TILE = Object.freeze({ left: 0, top: 0, right: SIDE, bottom: SIDE })

/** @typedef {{level: number, left: number, top: number, right: number, bottom: number}} View  display tiles of levels.js */
/** @typedef {{column: number, row: number, value?: number, box?: object, rgba?: Uint8ClampedArray}} Patch
 *  of a display tile: all of one value, or the pixels of a part of it */

export class Drawing {
  #operations = []
  #count = 0 // of the operations: those that are shown; the others are undone
  #snapshots
  #live = null // {operation, drawer}: an operation that grows; drawer: of a stroke
  #view = null
  #sent = new Set() // the display tiles that the page has
  #patches = []
  #problems = []

  /** `sources` as in draw.js; `colour`: of the shown pixels, 0xBBGGRR; `snapshotBytes`: the limit of the masks of undo. */
  constructor(width, height, sources, { colour, snapshotBytes }) {
    this.mask = new Mask(width, height)
    this.sources = sources
    this.colour = colour
    this.#snapshots = new Snapshots(this.mask, snapshotBytes)
  }

  get bytes() {
    return this.#snapshots.bytes
  }

  get level() {
    return this.#view?.level
  }

  /** The changes since the last call, and the errors of operations that could not be drawn.
   *  @returns {{patches: Patch[], problems: Error[]}} */
  takeChanges() {
    const changes = { patches: this.#patches, problems: this.#problems }
    this.#patches = []
    this.#problems = []
    return changes
  }

  /** Shows the first `count` operations, after those from `keep` on are replaced by `added`. */
  async show({ keep, added, count }) {
    this.#live = null
    if (added.length) this.#keepOperations(keep)
    this.#operations.push(...added)
    this.#count = count
    this.#display(await this.#drawn(count))
  }

  /** Begins an operation that grows by points: a stroke or a shape. */
  begin({ operation }) {
    const drawer = operation.kind === "stroke" ? new StrokeDrawer(this.mask, operation) : null
    this.#live = { operation: { ...operation, points: [] }, base: this.mask, drawer }
    return this.extend(operation)
  }

  /** Adds points as `extended` does. */
  async extend({ points }) {
    if (!this.#live) return
    const { operation, base, drawer } = this.#live
    operation.points = extended(operation, points)
    if (drawer) this.#display(drawer.mask, drawer.add(points))
    else this.#display(await draw(base, operation, this.sources))
  }

  /** Ends the operation that grows; it is the last one then. */
  end() {
    if (!this.#live) return
    const { operation, drawer } = this.#live
    this.#live = null
    this.#keepOperations(this.#count)
    this.#operations.push(operation)
    this.#count = this.#operations.length
    this.mask = drawer ? drawer.end() : this.mask
    this.#snapshots.add(this.#count, this.mask)
  }

  /** Drops the operation that grows. */
  cancel() {
    if (!this.#live) return
    const { base } = this.#live
    this.#live = null
    this.#display(base)
  }

  /** The part of the mask that the page shows. Display tiles that it did not have are sent whole. @param {View} view */
  view({ view }) {
    const all = displayTiles({ left: 0, top: 0, right: this.mask.width, bottom: this.mask.height }, view.level)
    const before = this.#view?.level === view.level ? this.#sent : new Set()
    this.#view = view
    this.#sent = new Set()
    for (let row = Math.max(0, view.top); row < Math.min(view.bottom, all.bottom); row++) {
      for (let column = Math.max(0, view.left); column < Math.min(view.right, all.right); column++) {
        const key = `${column} ${row}`
        this.#sent.add(key)
        if (!before.has(key)) this.#patch(column, row, [WHOLE_TILE])
      }
    }
  }

  #keepOperations(count) {
    this.#operations.length = count
    this.#snapshots.truncate(count)
  }

  async #drawn(count) {
    let { count: from, mask } = this.#snapshots.nearest(count)
    let isWhole = true // otherwise it is tried again when it is shown the next time
    for (; from < count; from++) {
      try {
        mask = await draw(mask, this.#operations[from], this.sources)
      } catch (error) {
        this.#problems.push(error)
        isWhole = false
      }
      if (isWhole) this.#snapshots.add(from + 1, mask)
    }
    return mask
  }

  /** `changed`: the parts of the tiles that differ from the shown mask; without it, they are found. */
  #display(mask, changed = null) {
    const before = this.mask
    this.mask = mask
    if (!this.#view) return
    const { level } = this.#view
    const changes = new Map() // by display tile
    for (const [index, box] of changed ?? difference(before, mask)) {
      const { left, top } = mask.boxOf(index)
      const tile = { column: Math.floor(left / (SIDE << level)), row: Math.floor(top / (SIDE << level)) }
      const [x, y] = [left - tile.column * (SIDE << level), top - tile.row * (SIDE << level)]
      const part = {
        left: (x + box.left) >> level, top: (y + box.top) >> level,
        right: Math.ceil((x + box.right) / 2 ** level), bottom: Math.ceil((y + box.bottom) / 2 ** level),
      }
      const key = `${tile.column} ${tile.row}`
      if (!this.#sent.has(key)) continue
      if (!changes.has(key)) changes.set(key, { ...tile, parts: [] })
      addPart(changes.get(key).parts, part)
    }
    for (const { column, row, parts } of changes.values()) this.#patch(column, row, parts)
  }

  #patch(column, row, parts) {
    const { level } = this.#view
    const tile = uniform(this.mask, level, column, row)
    if (tile) this.#patches.push({ column, row, value: tile.value })
    else {
      for (const box of parts) {
        this.#patches.push({ column, row, box, rgba: pixels(this.mask, level, column, row, box, this.colour) })
      }
    }
  }
}

/** Adds a box to others; one that goes on where the last ends joins it. */
function addPart(parts, box) {
  const last = parts.at(-1)
  if (last && last.top === box.top && last.bottom === box.bottom && last.right === box.left) last.right = box.right
  else parts.push(box)
}

function difference(before, after) {
  const changed = []
  after.tiles.forEach((tile, index) => { if (tile !== before.tiles[index]) changed.push([index, WHOLE_TILE]) })
  return changed
}
