// Grows, shrinks and feathers a mask. Only tiles near an edge of the mask are computed, those beside each other together.
// The time hardly depends on the number of pixels; that of wide soft edges grows with it, but slowly.

import { FULL, Mask, SIDE, inverted, tileOf } from "./tiles.js"

/** @typedef {import("./tiles.js").AnyTile} AnyTile */
/** @typedef {import("./tiles.js").Box} Box */
/** @typedef {(bytes: Uint8Array, width: number, height: number) => Uint8Array | Float32Array} Change */

const RUN = 8 // pixels of a row that are searched together
const GROUP = 8 // rows of the disc that have one bound

/** Each pixel becomes the maximum within a disc; a negative radius shrinks. Beyond the image its border goes on.
 *  @param {Mask} mask @param {number} pixels @returns {Mask} */
export function grow(mask, pixels) {
  if (pixels < 0) return inverted(grow(inverted(mask), -pixels))
  const radius = Math.round(pixels)
  if (!radius) return mask
  const halves = Int32Array.from({ length: radius + 2 }, (_, rows) => Math.floor(Math.sqrt(radius * radius - rows * rows)))
  halves[radius + 1] = -1 // farther away than the disc reaches
  return changedNear(mask, radius, (tile) => tile === FULL, (bytes, width, height) => dilated(bytes, width, height, radius, halves))
}

/** The maximum within a disc for all pixels that are `radius` away from the border. `halves`: half the disc's width, by the
 *  rows from its middle.
 *  @param {Uint8Array} bytes @param {number} width @param {number} height @param {number} radius @param {Int32Array} halves */
function dilated(bytes, width, height, radius, halves) {
  const result = reached(bytes, width, height, radius, halves, 255)
  if (!isPartly(bytes)) return result
  const partly = reached(bytes, width, height, radius, halves, 1)
  const maxima = new PartlyMaxima(bytes, width, height, radius, halves)
  for (let y = radius; y < height - radius; y++) {
    for (let x = radius, i = y * width + radius; x < width - radius; x++, i++) {
      if (partly[i] === result[i]) continue
      let end = x + 1 // of the pixels within reach of partly repainted ones alone
      while (end < Math.min(x + RUN, width - radius) && partly[y * width + end] !== result[y * width + end]) end++
      maxima.raise(result, x, end, y)
      i += end - x - 1
      x = end - 1
    }
  }
  return result
}

/** @param {Uint8Array} bytes */
function isPartly(bytes) {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] > 0 && bytes[i] < 255) return true
  return false
}

/** 255 where a pixel of at least `least` lies within the disc. Down and up each column the distance to the nearest one is
 *  counted; it spans a part of the row, and the spans are joined from left to right and back.
 *  @param {Uint8Array} bytes @param {number} width @param {number} height @param {number} radius @param {Int32Array} halves @param {number} least */
function reached(bytes, width, height, radius, halves, least) {
  const far = radius + 1
  const distances = new Uint16Array(bytes.length)
  for (let x = 0; x < width; x++) distances[x] = bytes[x] >= least ? 0 : far
  for (let i = width; i < bytes.length; i++) distances[i] = bytes[i] >= least ? 0 : Math.min(distances[i - width] + 1, far)
  for (let i = bytes.length - width - 1; i >= radius * width; i--) {
    if (distances[i + width] + 1 < distances[i]) distances[i] = distances[i + width] + 1
  }
  const result = new Uint8Array(bytes.length)
  for (let y = radius; y < height - radius; y++) {
    const [first, end] = [y * width, (y + 1) * width]
    for (let i = first, reach = -1; i < end; i++) {
      const half = halves[distances[i]]
      if (half >= 0 && i + half > reach) reach = i + half
      if (i <= reach) result[i] = 255
    }
    for (let i = end - 1, reach = end; i >= first; i--) {
      const half = halves[distances[i]]
      if (half >= 0 && i - half < reach) reach = i - half
      if (i >= reach) result[i] = 255
    }
  }
  return result
}

/** Finds the largest of the partly repainted pixels within a disc. Most rows of the disc are passed over: a bound of what
 *  they hold, for several pixels beside each other and for several rows, is not above what is already found. */
class PartlyMaxima {
  #best = 0 // the row, from the middle of the disc, in which the last search found most

  /** @param {Uint8Array} bytes @param {number} width @param {number} height @param {number} radius @param {Int32Array} halves */
  constructor(bytes, width, height, radius, halves) {
    this.width = width
    this.height = height
    this.radius = radius
    this.halves = halves
    const values = bytes.map((value) => (value === 255 ? 0 : value))
    const groups = new Uint8Array(width * Math.ceil(height / GROUP)) // the maximum of GROUP rows
    for (let i = 0; i < values.length; i++) {
      const group = Math.floor(i / (width * GROUP)) * width + (i % width)
      if (values[i] > groups[group]) groups[group] = values[i]
    }
    this.rows = maximaOf(values, 2 * radius + RUN)
    this.groups = maximaOf(groups, 2 * radius + RUN)
  }

  /** Raises the pixels of `result` from `start` to `end` in row `y` to the maximum within the disc around each.
   *  @param {Uint8Array} result @param {number} start @param {number} end @param {number} y */
  raise(result, start, end, y) {
    const { radius, halves } = this
    const first = y * this.width
    let found = this.#raiseFrom(result, first, start, end, y, this.#best)
    for (let top = Math.floor((y - radius) / GROUP) * GROUP; top <= y + radius; top += GROUP) {
      const [from, to] = [Math.max(top - y, -radius), Math.min(top + GROUP - 1 - y, radius)]
      const half = halves[from > 0 ? from : to < 0 ? -to : 0]
      if (highest(this.groups, (top / GROUP) * this.width + start - half, end - start + 2 * half) <= found) continue
      for (let down = from; down <= to; down++) {
        const half = halves[Math.abs(down)]
        if (highest(this.rows, (y + down) * this.width + start - half, end - start + 2 * half) <= found) continue
        const more = this.#raiseFrom(result, first, start, end, y, down)
        if (more > found) [found, this.#best] = [more, down]
      }
    }
  }

  /** Raises the pixels by the disc's row that is `down` from its middle.
   *  @param {Uint8Array} result @param {number} first @param {number} start @param {number} end @param {number} y @param {number} down
   *  @returns {number} the lowest of them then */
  #raiseFrom(result, first, start, end, y, down) {
    const half = this.halves[Math.abs(down)]
    const level = 31 - Math.clz32(2 * half + 1)
    const values = this.rows[level]
    const from = (y + down) * this.width - half
    const last = from + 2 * half + 1 - (1 << level)
    let lowest = 255
    for (let x = start; x < end; x++) {
      const a = values[from + x]
      const b = values[last + x]
      const value = a > b ? a : b
      if (value > result[first + x]) result[first + x] = value
      if (result[first + x] < lowest) lowest = result[first + x]
    }
    return lowest
  }
}

/** By level: the maximum of the 2^level values from each place on, up to `longest` values.
 *  @param {Uint8Array} values @param {number} longest */
function maximaOf(values, longest) {
  const levels = [values]
  for (let size = 1; 2 * size <= longest; size *= 2) {
    const before = /** @type {Uint8Array} */ (levels.at(-1))
    const maxima = before.slice()
    for (let i = 0; i + size < maxima.length; i++) if (before[i + size] > maxima[i]) maxima[i] = before[i + size]
    levels.push(maxima)
  }
  return levels
}

/** The maximum of `count` values. @param {Uint8Array[]} levels @param {number} first @param {number} count */
function highest(levels, first, count) {
  const level = 31 - Math.clz32(count)
  const values = levels[level]
  return Math.max(values[first], values[first + count - (1 << level)])
}

/** A blur that reaches `pixels` far: three box filters, about a Gaussian filter. @param {Mask} mask @param {number} pixels */
export function feather(mask, pixels) {
  const reach = Math.round(pixels)
  const radii = [0, 1, 2].map((i) => Math.floor((reach + i) / 3)).filter((radius) => radius > 0)
  if (!reach) return mask
  return changedNear(mask, reach, () => false, (bytes, width, height) => {
    let [values, spare] = [new Float32Array(bytes), new Float32Array(bytes.length)]
    for (const radius of radii) {
      meanOfRows(values, spare, width, radius)
      meanOfColumns(spare, values, width, height, radius)
    }
    return values
  })
}

/** The mean of the 2 * radius + 1 values around each in its row; of no use within `radius` of the ends of rows.
 *  @param {Float32Array} values @param {Float32Array} result @param {number} width @param {number} radius */
function meanOfRows(values, result, width, radius) {
  const count = 2 * radius + 1
  for (let first = 0; first < values.length; first += width) {
    let sum = 0
    for (let i = first; i < first + count - 1; i++) sum += values[i]
    for (let i = first + radius; i < first + width - radius; i++) {
      sum += values[i + radius]
      result[i] = sum / count
      sum -= values[i - radius]
    }
  }
}

/** As `meanOfRows`, in columns. They are summed side by side, as the values lie in memory.
 *  @param {Float32Array} values @param {Float32Array} result @param {number} width @param {number} height @param {number} radius */
function meanOfColumns(values, result, width, height, radius) {
  const count = 2 * radius + 1
  const sums = new Float64Array(width)
  for (let y = 0; y < count - 1; y++) for (let x = 0; x < width; x++) sums[x] += values[y * width + x]
  for (let y = radius; y < height - radius; y++) {
    const [above, here, below] = [(y - radius) * width, y * width, (y + radius) * width]
    for (let x = 0; x < width; x++) {
      const sum = sums[x] + values[below + x]
      result[here + x] = sum / count
      sums[x] = sum - values[above + x]
    }
  }
}

/** The mask with its tiles changed, but those that keep their value: all around is equal, or `keeps(tile)`.
 *  `change(bytes, width, height)` gives the values of a part of the mask, right for all that are `reach` away from its
 *  border. A part is so large that most of it is.
 *  @param {Mask} mask @param {number} reach @param {(tile: AnyTile) => boolean} keeps @param {Change} change */
function changedNear(mask, reach, keeps, change) {
  const tiles = [...mask.tiles]
  const isChanged = tiles.map((tile, index) => !keeps(tile) && (Boolean(tile.alpha) || differsNear(mask, index, reach)))
  const count = Math.max(1, Math.ceil(reach / 32)) // tiles of a part, across and down
  for (let top = 0; top < mask.rows; top += count) {
    for (let left = 0; left < mask.columns; left += count) {
      const part = { left, top, right: Math.min(left + count, mask.columns), bottom: Math.min(top + count, mask.rows) }
      changePart(mask, tiles, changedIn(part, mask, isChanged), reach, change)
    }
  }
  return new Mask(mask.width, mask.height, tiles)
}

/** @param {Mask} mask @param {number} index @param {number} reach */
function differsNear(mask, index, reach) {
  const { left, top, right, bottom } = mask.boxOf(index)
  const near = { left: left - reach, top: top - reach, right: right + reach, bottom: bottom + reach }
  return mask.indicesIn(near).some((other) => mask.tiles[other] !== mask.tiles[index])
}

/** The columns and rows of the changed tiles of a part: their box and their indices.
 *  @param {Box} part @param {Mask} mask @param {boolean[]} isChanged by the index of a tile */
function changedIn(part, mask, isChanged) {
  const box = { left: part.right, top: part.bottom, right: 0, bottom: 0, indices: /** @type {number[]} */ ([]) }
  for (let row = part.top; row < part.bottom; row++) {
    for (let column = part.left; column < part.right; column++) {
      const index = row * mask.columns + column
      if (!isChanged[index]) continue
      box.indices.push(index)
      box.left = Math.min(box.left, column)
      box.right = Math.max(box.right, column + 1)
      box.top = Math.min(box.top, row)
      box.bottom = row + 1
    }
  }
  return box
}

/** @param {Mask} mask @param {AnyTile[]} tiles to be changed @param {Box & {indices: number[]}} part @param {number} reach @param {Change} change */
function changePart(mask, tiles, { left, top, right, bottom, indices }, reach, change) {
  if (!indices.length) return
  const [width, height] = [(right - left) * SIDE + 2 * reach, (bottom - top) * SIDE + 2 * reach]
  const values = change(mask.read(left * SIDE - reach, top * SIDE - reach, width, height), width, height)
  for (const index of indices) {
    const box = mask.boxOf(index)
    const alpha = new Uint8Array(SIDE * SIDE)
    const first = (box.top - top * SIDE + reach) * width + box.left - left * SIDE + reach
    for (let y = 0; y < SIDE; y++) {
      for (let x = 0; x < SIDE; x++) alpha[y * SIDE + x] = values[first + y * width + x] + 0.5 // rounded
    }
    tiles[index] = tileOf(alpha, box)
  }
}
