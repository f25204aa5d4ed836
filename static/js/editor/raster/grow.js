// Grows, shrinks and feathers a mask. Only tiles near an edge of the mask are computed.

import { EMPTY, FULL, SIDE, inverted, tileOf } from "./tiles.js"

const STEP = 16 // pixels: a larger disc is reached in several steps, so that only direct neighbours are read

/** Each pixel becomes the maximum within a disc; a negative radius shrinks. Beyond the picture its border goes on. */
export function grow(mask, pixels) {
  if (pixels < 0) return inverted(grow(inverted(mask), -pixels))
  let grown = mask
  for (let left = Math.round(pixels); left > 0; left -= STEP) grown = dilated(grown, Math.min(STEP, left))
  return grown
}

function dilated(mask, radius) {
  return changedNear(mask, radius, (tile) => tile === FULL, (box) => {
    const side = SIDE + 2 * radius
    let column = mask.read(box.left - radius, box.top - radius, side, side) // the maximum of 2 * half + 1 rows
    let half = 0
    const alpha = new Uint8Array(SIDE * SIDE)
    for (let offset = radius; offset >= 0; offset--) {
      while (half < Math.floor(Math.sqrt(radius * radius - offset * offset))) {
        column = taller(column, side)
        half++
      }
      for (let y = 0; y < SIDE; y++) {
        const left = (y + radius) * side + radius - offset
        for (let x = 0; x < SIDE; x++) {
          const i = y * SIDE + x
          if (column[left + x] > alpha[i]) alpha[i] = column[left + x]
          if (column[left + x + 2 * offset] > alpha[i]) alpha[i] = column[left + x + 2 * offset]
        }
      }
    }
    return alpha
  })
}

/** Each pixel becomes the maximum of itself, the one above and the one below. */
function taller(bytes, side) {
  const result = bytes.slice()
  for (let i = 0; i < bytes.length - side; i++) {
    if (bytes[i + side] > result[i]) result[i] = bytes[i + side]
    if (bytes[i] > result[i + side]) result[i + side] = bytes[i]
  }
  return result
}

/** A blur that reaches `pixels` far: three box filters, about a Gaussian filter. */
export function feather(mask, pixels) {
  const reach = Math.round(pixels)
  const radii = [0, 1, 2].map((i) => Math.floor((reach + i) / 3))
  if (!reach) return mask
  return changedNear(mask, reach, () => false, (box) => {
    const side = SIDE + 2 * reach
    let bytes = Float32Array.from(mask.read(box.left - reach, box.top - reach, side, side))
    for (const radius of radii) {
      if (!radius) continue
      bytes = boxFiltered(boxFiltered(bytes, side, radius, 1, side), side, radius, side, 1)
    }
    const alpha = new Uint8Array(SIDE * SIDE)
    for (let y = 0; y < SIDE; y++) {
      const from = (y + reach) * side + reach
      for (let x = 0; x < SIDE; x++) alpha[y * SIDE + x] = Math.round(bytes[from + x])
    }
    return alpha
  })
}

/** The mean of 2 * radius + 1 pixels along lines of `side` pixels that are `along` apart; the lines are `across` apart. */
function boxFiltered(bytes, side, radius, along, across) {
  const result = new Float32Array(bytes.length)
  const count = 2 * radius + 1
  for (let line = 0; line < side; line++) {
    const first = line * across
    let sum = 0
    for (let i = 0; i < count - 1; i++) sum += bytes[first + i * along]
    for (let i = radius; i < side - radius; i++) {
      sum += bytes[first + (i + radius) * along]
      result[first + i * along] = sum / count
      sum -= bytes[first + (i - radius) * along]
    }
  }
  return result
}

/** The mask with each tile changed by `change(box)`, but those that keep their value: all around is equal, or `keeps(tile)`. */
function changedNear(mask, reach, keeps, change) {
  return mask.map((tile, index) => {
    if (keeps(tile)) return tile
    const box = mask.boxOf(index)
    const near = mask.indicesIn({
      left: box.left - reach, top: box.top - reach, right: box.right + reach, bottom: box.bottom + reach,
    })
    if (!tile.alpha && near.every((other) => mask.tiles[other] === tile)) return tile
    return tileOf(change(box), box)
  })
}
