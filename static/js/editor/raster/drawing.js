// The mask of one photo: its operations, what they draw, and which pixels of that the page needs anew.

import { extended } from "../document/operations.js"
import { Backlog } from "./stroke/backlog.js"
import { draw } from "./draw.js"
import { displayTiles, levelOf, pixels, uniform } from "./levels.js"
import { Preview } from "./stroke/preview.js"
import { Snapshots } from "./snapshots.js"
import { Mask, SIDE } from "./tiles.js"

const WHOLE_TILE = Object.freeze({ left: 0, top: 0, right: SIDE, bottom: SIDE })

/** @typedef {{level: number, left: number, top: number, right: number, bottom: number}} View  display tiles of levels.js */
/** @typedef {import("./tiles.js").Box} Box */
/** @typedef {{column: number, row: number, value?: number, box?: Box, rgba?: Uint8ClampedArray}} Patch
 *  of a display tile: all of one value, or the pixels of a part of it */
/** @typedef {import("../document/operations.js").Operation} Operation */
/** @typedef {import("../document/operations.js").Points} Points */
/** @typedef {import("../document/operations.js").Stroke} Stroke */
/** @typedef {Stroke | import("../document/operations.js").Shape} Growing */

export class Drawing {
  /** @type {Operation[]} */
  #operations = []
  #count = 0 // of the operations: those that are shown; the others are undone
  #snapshots
  /** @type {{operation: Growing, base: Mask | null} | null} */
  #live = null // an operation that grows; base: of a shape, the mask without it
  #backlog = new Backlog() // strokes of the operations that `mask` has not yet
  /** @type {Preview | null} */
  #preview = null // what the page sees of them and of the stroke that grows
  /** @type {import("./tiles.js").Tile[]} */
  #unreduced = [] // tiles of the mask that take the place of the preview, to be reduced to its level
  /** @type {View | null} */
  #view = null
  /** @type {Set<string>} */
  #sent = new Set() // the display tiles that the page has
  /** @type {Patch[]} */
  #patches = []
  /** @type {Error[]} */
  #problems = []

  /** `sources` as in draw.js; `colour`: of the shown pixels, 0xBBGGRR; `snapshotBytes`: the limit of the masks of undo.
   *  @param {number} width @param {number} height @param {import("./draw.js").Sources} sources
   *  @param {{colour: number, snapshotBytes: number}} options */
  constructor(width, height, sources, { colour, snapshotBytes }) {
    this.mask = new Mask(width, height)
    this.sources = sources
    this.colour = colour
    this.#snapshots = new Snapshots(this.mask, snapshotBytes)
  }

  get bytes() {
    return this.#snapshots.bytes
  }

  /** Of the view; undefined before there is one. */
  get level() {
    return this.#view?.level
  }

  /** The level of the view where there is one. */
  get #viewLevel() {
    return /** @type {View} */ (this.#view).level
  }

  /** The share of the image that is repainted, 0 to 1; of what is not drawn at full size yet, as far as it is seen. */
  get coverage() {
    return (this.#preview ?? this.mask).coverage
  }

  /** Whether `mask` is not yet what the page sees. */
  get isBehind() {
    return !this.#backlog.isEmpty || (this.#preview !== null && !this.#live)
  }

  /** Goes on drawing at full size what the page sees already, for a time. */
  catchUp(milliseconds = Infinity) {
    const end = performance.now() + milliseconds
    while (this.isBehind && performance.now() < end) {
      if (!this.#backlog.isEmpty) this.#draw()
      else if (this.#unreduced.length) levelOf(/** @type {import("./tiles.js").Tile} */ (this.#unreduced.pop()), this.#viewLevel)
      else this.#dropPreview()
    }
  }

  #draw() {
    const drawn = this.#backlog.step(this.mask)
    if (!drawn) return
    const { mask } = this
    this.mask = drawn.mask
    this.#snapshots.add(drawn.count, this.mask)
    if (!this.#preview) return
    for (const [index] of difference(mask, this.mask)) if (this.mask.tiles[index].alpha) this.#unreduced.push(/** @type {import("./tiles.js").Tile} */ (this.mask.tiles[index]))
  }

  /** Shows the mask itself again. */
  #dropPreview() {
    const preview = this.#preview
    if (!preview) return
    this.#preview = null
    this.#unreduced = []
    const seen = new Set(difference(preview.first, preview.mask).map(([index]) => index))
    const { columns } = preview.mask
    for (const [index] of difference(preview.base, this.mask)) {
      const { column, row } = this.#displayTileOf(index)
      seen.add(row * columns + column)
    }
    for (const index of seen) this.#patchIfSent(index % columns, Math.floor(index / columns), [WHOLE_TILE])
  }

  /** The changes since the last call, and the errors of operations that could not be drawn.
   *  @returns {{patches: Patch[], problems: Error[]}} */
  takeChanges() {
    const changes = { patches: this.#patches, problems: this.#problems }
    this.#patches = []
    this.#problems = []
    return changes
  }

  /** Shows the first `count` operations, after those from `keep` on are replaced by `added`.
   *  @param {{keep: number, added: Operation[], count: number}} message */
  async show({ keep, added, count }) {
    this.#live = null
    this.#backlog.truncate(added.length ? Math.min(keep, count) : count)
    this.catchUp()
    if (added.length) this.#keepOperations(keep)
    this.#operations.push(...added)
    this.#count = count
    this.#display(await this.#drawn(count))
  }

  /** Begins an operation that grows: a stroke or a shape. @param {{operation: Growing}} message */
  begin({ operation }) {
    const isStroke = operation.kind === "stroke"
    if (!isStroke) this.catchUp()
    else if (this.#view) (this.#preview ??= new Preview(this.mask, this.#view)).begin(operation)
    this.#live = { operation: { ...operation, points: [] }, base: isStroke ? null : this.mask }
    return this.extend(operation)
  }

  /** Adds points as `extended` does. @param {{points: Points}} message */
  async extend({ points }) {
    if (!this.#live) return
    const { operation, base } = this.#live
    operation.points = extended(operation, points)
    if (base) this.#display(await draw(base, operation, this.sources))
    else if (this.#preview) this.#displayPreview(this.#preview, this.#preview.add(points))
  }

  /** Ends the operation that grows; it is the last one then. */
  end() {
    if (!this.#live) return
    const { operation, base } = this.#live
    this.#live = null
    this.#keepOperations(this.#count)
    this.#operations.push(operation)
    this.#count = this.#operations.length
    if (base) this.#snapshots.add(this.#count, this.mask)
    else {
      this.#preview?.end()
      this.#backlog.add(/** @type {Stroke} */ (operation), this.#count)
    }
  }

  /** Drops the operation that grows. */
  cancel() {
    if (!this.#live) return
    const { base } = this.#live
    this.#live = null
    if (base) this.#display(base)
    else if (this.#preview) {
      const { mask } = this.#preview
      this.#preview.cancel()
      this.#displayPreview(this.#preview, difference(mask, this.#preview.mask))
    }
  }

  /** The part of the mask that the page shows. Display tiles that it did not have are sent whole.
   *  @param {{view: View}} message */
  view({ view }) {
    const all = displayTiles({ left: 0, top: 0, right: this.mask.width, bottom: this.mask.height }, view.level)
    const before = this.#view?.level === view.level && !this.#preview ? this.#sent : new Set()
    this.#view = view
    if (this.#preview) this.#preview = this.#newPreview(view)
    this.#sent = new Set()
    for (let row = Math.max(0, view.top); row < Math.min(view.bottom, all.bottom); row++) {
      for (let column = Math.max(0, view.left); column < Math.min(view.right, all.right); column++) {
        const key = `${column} ${row}`
        this.#sent.add(key)
        if (!before.has(key)) this.#patch(column, row, [WHOLE_TILE])
      }
    }
  }

  /** Draws the preview for another view. @param {View} view */
  #newPreview(view) {
    this.#unreduced = []
    const preview = new Preview(this.mask, view)
    for (const stroke of this.#backlog.strokes) {
      preview.begin(stroke)
      preview.add(stroke.points)
      preview.end()
    }
    if (this.#live) {
      preview.begin(/** @type {Stroke} */ (this.#live.operation))
      preview.add(this.#live.operation.points)
    }
    return preview
  }

  /** @param {number} count */
  #keepOperations(count) {
    this.#operations.length = count
    this.#snapshots.truncate(count)
  }

  /** @param {number} count */
  async #drawn(count) {
    let { count: from, mask } = this.#snapshots.nearest(count)
    let isWhole = true // otherwise it is tried again when it is shown the next time
    for (; from < count; from++) {
      try {
        mask = await draw(mask, this.#operations[from], this.sources)
      } catch (error) {
        this.#problems.push(/** @type {Error} */ (error))
        isWhole = false
      }
      if (isWhole) this.#snapshots.add(from + 1, mask)
    }
    return mask
  }

  /** @param {Mask} mask */
  #display(mask) {
    const before = this.mask
    this.mask = mask
    if (!this.#view) return
    const { level } = this.#view
    const side = SIDE >> level
    /** @type {Map<string, {column: number, row: number, parts: Box[]}>} */
    const changes = new Map() // by display tile
    for (const [index] of difference(before, mask)) {
      const { column, row } = this.#displayTileOf(index)
      const { left, top } = mask.boxOf(index)
      const [x, y] = [(left - column * (SIDE << level)) >> level, (top - row * (SIDE << level)) >> level]
      const key = `${column} ${row}`
      if (!changes.has(key)) changes.set(key, { column, row, parts: [] })
      addPart(/** @type {{parts: Box[]}} */ (changes.get(key)).parts, { left: x, top: y, right: x + side, bottom: y + side })
    }
    for (const { column, row, parts } of changes.values()) this.#patchIfSent(column, row, parts)
  }

  /** @param {number} index */
  #displayTileOf(index) {
    const { left, top } = this.mask.boxOf(index)
    const side = SIDE << this.#viewLevel
    return { column: Math.floor(left / side), row: Math.floor(top / side) }
  }

  /** `changed`: the parts of the tiles of the preview. @param {Preview} preview @param {Iterable<[number, Box]>} changed */
  #displayPreview(preview, changed) {
    const { columns } = preview.mask
    for (const [index, box] of changed) this.#patchIfSent(index % columns, Math.floor(index / columns), [box])
  }

  /** @param {number} column @param {number} row @param {Box[]} parts */
  #patchIfSent(column, row, parts) {
    if (this.#sent.has(`${column} ${row}`)) this.#patch(column, row, parts)
  }

  /** @param {number} column @param {number} row @param {Box[]} parts */
  #patch(column, row, parts) {
    /** @type {[Mask, number]} */
    const [mask, level] = this.#preview ? [this.#preview.mask, 0] : [this.mask, this.#viewLevel]
    const tile = uniform(mask, level, column, row)
    if (tile) this.#patches.push({ column, row, value: tile.value })
    else for (const box of parts) this.#patches.push({ column, row, box, rgba: pixels(mask, level, column, row, box, this.colour) })
  }
}

/** Adds a box to others; one that goes on where the last ends joins it. @param {Box[]} parts @param {Box} box */
function addPart(parts, box) {
  const last = parts.at(-1)
  if (last && last.top === box.top && last.bottom === box.bottom && last.right === box.left) last.right = box.right
  else parts.push(box)
}

/** The tiles that differ. @param {Mask} before @param {Mask} after */
function difference(before, after) {
  /** @type {[number, Box][]} */
  const changed = []
  after.tiles.forEach((tile, index) => { if (tile !== before.tiles[index]) changed.push([index, WHOLE_TILE]) })
  return changed
}
