// A mask as tiles of 256 x 256 bytes: 255 = repaint, 0 = keep. Masks share the tiles in which they do not differ.
//
// Why this folder draws masks itself and not with an OffscreenCanvas: the pixels are the same in every browser and in a test,
// where the antialiasing of a canvas differs, and an undo shares tiles with the mask before it. Measured beside one canvas at
// 24 megapixels, an undo takes 2 to 3 ms of the page's thread in place of 160 to 600 (docs/performance.md, "The mask in the
// browser").
//
// Pure: no DOM. The modules of this folder import each other by relative paths: an import map does not reach a worker.

/** @typedef {{left: number, top: number, right: number, bottom: number}} Box  in whole pixels; right, bottom: exclusive */
/** @typedef {{readonly value: 0 | 255, readonly alpha?: undefined, readonly sum?: undefined, readonly levels?: undefined}} Uniform
 *  a tile of which all pixels have one value */
/** @typedef {Tile | Uniform} AnyTile */

export const SIDE = 256
/** The tiles of which every pixel is 0, or 255; they take no memory. @type {Uniform} */
export const EMPTY = Object.freeze({ value: 0 })
/** @type {Uniform} */
export const FULL = Object.freeze({ value: 255 })

const BYTES = { 0: new Uint8Array(SIDE * SIDE), 255: new Uint8Array(SIDE * SIDE).fill(255) }

/** A tile of which the pixels differ. `alpha`: SIDE rows of SIDE bytes; `sum`: of those that are in the image. */
export class Tile {
  /** @type {import("./levels.js").Levels | null} */
  levels = null // of levels.js
  uses = 0 // of snapshots.js

  /** @param {Uint8Array} alpha @param {number} sum */
  constructor(alpha, sum) {
    this.alpha = alpha
    this.sum = sum
  }
}

/** A mask of `width` x `height` pixels. Its tiles are not changed once it is drawn. */
export class Mask {
  /** @param {number} width @param {number} height
   *  @param {AnyTile[] | null} [tiles] row by row; without them, the mask is empty */
  constructor(width, height, tiles = null) {
    this.width = width
    this.height = height
    this.columns = Math.ceil(width / SIDE)
    this.rows = Math.ceil(height / SIDE)
    /** @type {AnyTile[]} */
    this.tiles = tiles ?? new Array(this.columns * this.rows).fill(EMPTY)
  }

  /** The mask with other tiles. @param {(tile: AnyTile, index: number) => AnyTile} change */
  map(change) {
    return new Mask(this.width, this.height, this.tiles.map(change))
  }

  /** The part of the image that a tile shows. @param {number} index @returns {Box} */
  boxOf(index) {
    const left = (index % this.columns) * SIDE
    const top = Math.floor(index / this.columns) * SIDE
    return { left, top, right: Math.min(left + SIDE, this.width), bottom: Math.min(top + SIDE, this.height) }
  }

  /** The indices of the tiles that lie in a box, which may reach out of the image. @param {Box} box */
  indicesIn({ left, top, right, bottom }) {
    const indices = []
    const [first, last] = [Math.max(0, Math.floor(left / SIDE)), Math.min(this.columns, Math.ceil(right / SIDE))]
    const end = Math.min(this.rows, Math.ceil(bottom / SIDE))
    for (let row = Math.max(0, Math.floor(top / SIDE)); row < end; row++) {
      for (let column = first; column < last; column++) indices.push(row * this.columns + column)
    }
    return indices
  }

  /** The share of the image that is repainted, 0 to 1; partly repainted pixels count in part. */
  get coverage() {
    let sum = 0
    this.tiles.forEach((tile, index) => {
      if (tile !== EMPTY) sum += tile === FULL ? 255 * area(this.boxOf(index)) : /** @type {Tile} */ (tile).sum
    })
    return sum / (255 * this.width * this.height)
  }

  /** 0 to 255; 0 outside of the image. @param {number} x @param {number} y */
  at(x, y) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return 0
    const tile = this.tiles[Math.floor(y / SIDE) * this.columns + Math.floor(x / SIDE)]
    return tile.alpha ? tile.alpha[(y % SIDE) * SIDE + (x % SIDE)] : tile.value
  }

  /** Writes a row of the image, `width` bytes, to `bytes` from `offset` on.
   *  @param {number} y @param {Uint8Array} bytes @param {number} offset */
  readRow(y, bytes, offset) {
    const first = Math.floor(y / SIDE) * this.columns
    for (let column = 0; column < this.columns; column++) {
      const tile = this.tiles[first + column]
      const left = column * SIDE
      const width = Math.min(SIDE, this.width - left)
      const start = (y % SIDE) * SIDE
      if (tile.alpha) bytes.set(tile.alpha.subarray(start, start + width), offset + left)
      else bytes.fill(tile.value, offset + left, offset + left + width)
    }
  }

  /** A part of the mask, `width` x `height` bytes. Outside of the image its border pixels are repeated.
   *  @param {number} left @param {number} top @param {number} width @param {number} height */
  read(left, top, width, height) {
    const bytes = new Uint8Array(width * height)
    const inside = { left: clamp(left, this.width), right: clamp(left + width - 1, this.width) + 1 }
    for (let y = 0; y < height; y++) {
      const row = clamp(top + y, this.height)
      const start = y * width
      for (let x = inside.left; x < inside.right;) {
        const column = Math.floor(x / SIDE)
        const end = Math.min(inside.right, (column + 1) * SIDE)
        const tile = this.tiles[Math.floor(row / SIDE) * this.columns + column]
        const from = (row % SIDE) * SIDE + (x % SIDE)
        if (tile.alpha) bytes.set(tile.alpha.subarray(from, from + end - x), start + x - left)
        else bytes.fill(tile.value, start + x - left, start + end - left)
        x = end
      }
      if (inside.left > left) bytes.fill(bytes[start + inside.left - left], start, start + inside.left - left)
      if (inside.right < left + width) bytes.fill(bytes[start + inside.right - 1 - left], start + inside.right - left, start + width)
    }
    return bytes
  }
}

/** @param {number} value @param {number} size */
const clamp = (value, size) => Math.max(0, Math.min(size - 1, value))
/** @param {Box} box */
export const area = ({ left, top, right, bottom }) => (right - left) * (bottom - top)

/** A tile of these bytes, of which those in `box` (the part of the image that the tile shows) count.
 *  @param {Uint8Array} alpha @param {Box} box @returns {AnyTile} */
export function tileOf(alpha, box) {
  const [width, height] = [box.right - box.left, box.bottom - box.top]
  let sum = 0
  for (let y = 0; y < height; y++) for (let i = y * SIDE; i < y * SIDE + width; i++) sum += alpha[i]
  return simplified(new Tile(alpha, sum), box)
}

/** The tile, or EMPTY or FULL where it is that. @param {AnyTile} tile @param {Box} box @returns {AnyTile} */
export function simplified(tile, box) {
  if (!tile.alpha) return tile
  return tile.sum === 0 ? EMPTY : tile.sum === 255 * area(box) ? FULL : tile
}

/** A tile's bytes of its own, to be written to. @param {AnyTile} tile @returns {Uint8Array} */
export const bytesOf = (tile) => (tile.alpha ? tile.alpha.slice() : new Uint8Array(SIDE * SIDE).fill(tile.value))

/** The mask with `cover` (another mask) painted on it or erased from it.
 *  @param {Mask} mask @param {Mask} cover @param {boolean} erases */
export function composite(mask, cover, erases) {
  return mask.map((below, index) => {
    const above = cover.tiles[index]
    if (above === EMPTY || below === (erases ? EMPTY : FULL)) return below
    if (above === FULL) return erases ? EMPTY : FULL
    const tile = new Tile(bytesOf(below), 0)
    const box = mask.boxOf(index)
    blend(tile, below, /** @type {Tile} */ (above), erases, { left: 0, top: 0, right: box.right - box.left, bottom: box.bottom - box.top })
    return tileOf(tile.alpha, box)
  })
}

/** Sets the pixels of `tile` in `box` (in the tile's own pixels) to those of `below` with `above` painted or erased.
 *  @param {Tile} tile @param {AnyTile} below @param {Tile} above @param {boolean} erases @param {Box} box */
export function blend(tile, below, above, erases, { left, top, right, bottom }) {
  const { alpha } = tile
  const [unders, overs] = [below.alpha ?? BYTES[below.value], above.alpha]
  let added = 0
  for (let y = top; y < bottom; y++) {
    for (let i = y * SIDE + left; i < y * SIDE + right; i++) {
      const over = overs[i]
      const kept = ((unders[i] * (255 - over) + 127) * 32897) >>> 23 // divided by 255 and rounded
      const value = erases ? kept : over + kept
      added += value - alpha[i]
      alpha[i] = value
    }
  }
  tile.sum += added
}

/** What `blend` has to paint, or erase, to make one value of another, 0 to 255; 0 where it cannot.
 *  @param {number} before @param {number} after @param {boolean} erases */
export function changeOf(before, after, erases) {
  if (erases) return after < before ? Math.round(255 * (1 - after / before)) : 0
  return after > before ? Math.round(255 * (after - before) / (255 - before)) : 0
}

/** A mask whose bytes are made tile by tile; `write(alpha, box)` fills those of one. A tile that it refuses by false is empty.
 *  @param {number} width @param {number} height @param {(alpha: Uint8Array, box: Box) => boolean | void} write */
export function made(width, height, write) {
  const empty = new Mask(width, height)
  return empty.map((_, index) => {
    const box = empty.boxOf(index)
    const alpha = new Uint8Array(SIDE * SIDE)
    return write(alpha, box) === false ? EMPTY : tileOf(alpha, box)
  })
}

/** @param {Mask} mask */
export const inverted = (mask) => mask.map((tile, index) => {
  if (tile === EMPTY) return FULL
  if (tile === FULL) return EMPTY
  const box = mask.boxOf(index)
  return new Tile(/** @type {Tile} */ (tile).alpha.map((value) => 255 - value), 255 * area(box) - /** @type {Tile} */ (tile).sum)
})
