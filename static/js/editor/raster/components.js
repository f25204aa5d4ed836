// Connected parts of a mask and of what it leaves: fills holes, and measures the parts.

import { Mask, SIDE, bytesOf, composite, tileOf } from "./tiles.js"

const INSIDE = 128 // from this value on a pixel counts as repainted

/** The mask with all that it encloses. @param {Mask} mask */
export function fillHoles(mask) {
  const outside = new Runs(mask, false)
  const { width, height } = mask
  /** @type {Set<number>} */
  const open = new Set()
  outside.each((run, y, start, end) => {
    if (y === 0 || y === height - 1 || start === 0 || end === width) open.add(outside.rootOf(run))
  })
  const holes = new Mask(width, height)
  /** @type {Map<number, Uint8Array>} */
  const bytes = new Map()
  outside.each((run, y, start, end) => {
    if (open.has(outside.rootOf(run))) return
    for (const row of [y - 1, y, y + 1]) fill(holes, bytes, row, start - 1, end + 1) // with the partly repainted rim
  })
  for (const [index, alpha] of bytes) holes.tiles[index] = tileOf(alpha, holes.boxOf(index))
  return composite(mask, holes, false)
}

/** @param {Mask} mask @param {Map<number, Uint8Array>} bytes by the index of a tile
 *  @param {number} y @param {number} start @param {number} end */
function fill(mask, bytes, y, start, end) {
  for (const index of mask.indicesIn({ left: start, top: y, right: end, bottom: y + 1 })) {
    const { left, top, right } = mask.boxOf(index)
    if (!bytes.has(index)) bytes.set(index, bytesOf(mask.tiles[index]))
    const row = (y - top) * SIDE - left
    ;/** @type {Uint8Array} */ (bytes.get(index)).fill(255, row + Math.max(start, left), row + Math.min(end, right))
  }
}

/** How many parts the mask has, and the pixels of the largest one. @param {Mask} mask @returns {{count: number, largest: number}} */
export function specks(mask) {
  const inside = new Runs(mask, true)
  /** @type {Map<number, number>} */
  const sizes = new Map()
  inside.each((run, y, start, end) => {
    const root = inside.rootOf(run)
    sizes.set(root, (sizes.get(root) ?? 0) + end - start)
  })
  return { count: sizes.size, largest: [...sizes.values()].reduce((a, b) => Math.max(a, b), 0) }
}

/** The runs of pixels of each row that are repainted, or that are not; runs that touch have the same root. */
class Runs {
  /** @type {number[]} */
  #starts = []
  /** @type {number[]} */
  #ends = []
  #rows = [0] // for each row: its first run
  /** @type {number[]} */
  #parents = []

  /** Repainted pixels touch at corners too; others only at sides. @param {Mask} mask @param {boolean} isInside */
  constructor(mask, isInside) {
    for (let y = 0; y < mask.height; y++) {
      this.#find(mask, y, isInside)
      this.#rows.push(this.#starts.length)
      if (y > 0) this.#join(y, isInside ? 1 : 0)
    }
  }

  /** @param {(run: number, y: number, start: number, end: number) => void} visit */
  each(visit) {
    for (let y = 0; y + 1 < this.#rows.length; y++) {
      for (let run = this.#rows[y]; run < this.#rows[y + 1]; run++) visit(run, y, this.#starts[run], this.#ends[run])
    }
  }

  /** @param {number} run */
  rootOf(run) {
    const parents = this.#parents
    while (parents[run] !== run) run = parents[run] = parents[parents[run]]
    return run
  }

  /** @param {Mask} mask @param {number} y @param {boolean} isInside */
  #find(mask, y, isInside) {
    let start = -1
    /** @param {number} x @param {number} value */
    const turn = (x, value) => {
      if ((value >= INSIDE) === isInside) {
        if (start < 0) start = x
      } else if (start >= 0) {
        this.#add(start, x)
        start = -1
      }
    }
    const first = Math.floor(y / SIDE) * mask.columns
    for (let column = 0; column < mask.columns; column++) {
      const tile = mask.tiles[first + column]
      const left = column * SIDE
      if (!tile.alpha) {
        turn(left, tile.value)
        continue
      }
      const row = (y % SIDE) * SIDE
      const width = Math.min(SIDE, mask.width - left)
      for (let x = 0; x < width; x++) turn(left + x, tile.alpha[row + x])
    }
    if (start >= 0) this.#add(start, mask.width)
  }

  /** @param {number} start @param {number} end */
  #add(start, end) {
    this.#parents.push(this.#starts.length)
    this.#starts.push(start)
    this.#ends.push(end)
  }

  /** Joins the runs of a row to those above that they touch. @param {number} y @param {number} reach */
  #join(y, reach) {
    let above = this.#rows[y - 1]
    for (let run = this.#rows[y]; run < this.#rows[y + 1]; run++) {
      while (above < this.#rows[y] && this.#ends[above] + reach <= this.#starts[run]) above++
      for (let other = above; other < this.#rows[y] && this.#starts[other] < this.#ends[run] + reach; other++) {
        this.#parents[this.rootOf(run)] = this.rootOf(other)
      }
    }
  }
}
