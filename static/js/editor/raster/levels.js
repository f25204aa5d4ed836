// A mask as it is shown: at level n each pixel is the mean of 2^n x 2^n pixels, in display tiles of SIDE x SIDE pixels.

import { EMPTY, FULL, Mask, SIDE, tileOf } from "./tiles.js"

/** @typedef {import("./tiles.js").Tile} Tile */
/** @typedef {import("./tiles.js").AnyTile} AnyTile */
/** @typedef {import("./tiles.js").Box} Box */
/** @typedef {{bytes: Uint8Array[], stale: Box | null}} Levels  a tile's bytes by level, and which of them are to be computed anew */

export const LARGEST_LEVEL = 8

/** The display tiles that a box of the mask touches: their columns and rows, right and bottom exclusive.
 *  @param {Box} box @param {number} level @returns {Box} */
export function displayTiles({ left, top, right, bottom }, level) {
  const side = SIDE << level
  return {
    left: Math.floor(left / side), top: Math.floor(top / side),
    right: Math.ceil(right / side), bottom: Math.ceil(bottom / side),
  }
}

/** What a display tile shows: EMPTY, FULL, or null where its pixels differ.
 *  @param {Mask} mask @param {number} level @param {number} column @param {number} row @returns {import("./tiles.js").Uniform | null} */
export function uniform(mask, level, column, row) {
  const tiles = baseTiles(mask, level, column, row)
  const [first] = tiles
  return !first.tile.alpha && tiles.every(({ tile }) => tile === first.tile) ? first.tile : null
}

/** RGBA pixels of `colour` (0xBBGGRR) in a part of a display tile; the mask is their alpha.
 *  @param {Mask} mask @param {number} level @param {number} column @param {number} row @param {Box} box @param {number} colour
 *  @returns {Uint8ClampedArray} */
export function pixels(mask, level, column, row, { left, top, right, bottom }, colour) {
  const width = right - left
  const rgba = new Uint32Array(width * (bottom - top))
  const side = SIDE >> level
  for (const { tile, x, y } of baseTiles(mask, level, column, row)) {
    if (tile === EMPTY) continue
    const alpha = tile === FULL ? null : levelOf(/** @type {Tile} */ (tile), level)
    const [startX, endX] = [Math.max(left, x), Math.min(right, x + side)]
    for (let line = Math.max(top, y); line < Math.min(bottom, y + side); line++) {
      let to = (line - top) * width + startX - left
      if (!alpha) {
        rgba.fill((0xff000000 | colour) >>> 0, to, to + endX - startX)
        continue
      }
      const first = (line - y) * side - x
      for (let i = startX; i < endX; i++) rgba[to++] = (alpha[first + i] << 24) | colour
    }
  }
  return new Uint8ClampedArray(rgba.buffer)
}

/** The mask at a level, as a mask of its own whose tiles are the display tiles; those that are not in `box` are empty.
 *  @param {Mask} mask @param {number} level @param {Box} box  columns and rows */
export function reduced(mask, level, box) {
  const { left, top, right, bottom } = box
  const small = new Mask(Math.ceil(mask.width / 2 ** level), Math.ceil(mask.height / 2 ** level))
  return small.map((empty, index) => {
    const [column, row] = [index % small.columns, Math.floor(index / small.columns)]
    if (column < left || column >= right || row < top || row >= bottom) return empty
    return uniform(mask, level, column, row) ?? tileOf(alphaOf(mask, level, column, row), small.boxOf(index))
  })
}

/** The bytes of a display tile.
 *  @param {Mask} mask @param {number} level @param {number} column @param {number} row */
function alphaOf(mask, level, column, row) {
  const bytes = new Uint8Array(SIDE * SIDE)
  const side = SIDE >> level
  for (const { tile, x, y } of baseTiles(mask, level, column, row)) {
    const alpha = tile.alpha && levelOf(tile, level)
    for (let line = 0; line < side; line++) {
      const to = (y + line) * SIDE + x
      if (alpha) bytes.set(alpha.subarray(line * side, (line + 1) * side), to)
      else if (tile === FULL) bytes.fill(255, to, to + side)
    }
  }
  return bytes
}

/** The tiles of the mask in a display tile, with their places there.
 *  @param {Mask} mask @param {number} level @param {number} column @param {number} row */
function baseTiles(mask, level, column, row) {
  const tiles = []
  const count = 1 << level
  for (let y = row * count; y < Math.min(mask.rows, (row + 1) * count); y++) {
    for (let x = column * count; x < Math.min(mask.columns, (column + 1) * count); x++) {
      const place = { x: ((x - column * count) * SIDE) >> level, y: ((y - row * count) * SIDE) >> level }
      tiles.push({ tile: mask.tiles[y * mask.columns + x], ...place })
    }
  }
  return tiles
}

/** A tile's bytes at a level. They are kept; those in `tile.levels.stale` are computed anew. @param {Tile} tile @param {number} level */
export function levelOf(tile, level) {
  if (level === 0) return tile.alpha
  const whole = { left: 0, top: 0, right: SIDE, bottom: SIDE }
  const levels = (tile.levels ??= { bytes: [tile.alpha], stale: null })
  const known = levels.bytes.length
  if (levels.stale) for (let i = 1; i < known; i++) halve(levels.bytes, i, levels.stale)
  levels.stale = null
  for (let i = known; i <= level; i++) {
    levels.bytes.push(new Uint8Array((SIDE >> i) ** 2))
    halve(levels.bytes, i, whole)
  }
  return levels.bytes[level]
}

/** Computes the part of level `i` that shows `box`, in pixels of level 0, from the level before.
 *  @param {Uint8Array[]} bytes @param {number} i @param {Box} box */
function halve(bytes, i, { left, top, right, bottom }) {
  const [from, to] = [bytes[i - 1], bytes[i]]
  const side = SIDE >> i
  const size = 1 << i
  for (let y = Math.floor(top / size); y < Math.ceil(bottom / size); y++) {
    for (let x = Math.floor(left / size); x < Math.ceil(right / size); x++) {
      const first = 4 * y * side + 2 * x
      to[y * side + x] = (from[first] + from[first + 1] + from[first + 2 * side] + from[first + 2 * side + 1] + 2) >> 2
    }
  }
}
