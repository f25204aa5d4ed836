// The bounds of a mask. Pure: no DOM.

import { EMPTY, SIDE } from "./tiles.js"

/** The smallest box of all pixels above 0, as left, top, right and bottom; null where there are none.
 *  @param {import("./tiles.js").Mask} mask @returns {number[] | null} */
export function boundsOf(mask) {
  let [left, top, right, bottom] = [mask.width, mask.height, 0, 0]
  for (const [index, tile] of mask.tiles.entries()) {
    if (tile === EMPTY) continue
    const box = mask.boxOf(index), width = box.right - box.left
    for (let y = box.top; y < box.bottom; y++) {
      const start = (y - box.top) * SIDE
      const row = tile.alpha?.subarray(start, start + width)
      const first = row ? row.findIndex(Boolean) : 0
      if (first < 0) continue
      const last = row ? row.findLastIndex(Boolean) : width - 1
      left = Math.min(left, box.left + first)
      right = Math.max(right, box.left + last + 1)
      top = Math.min(top, y)
      bottom = Math.max(bottom, y + 1)
    }
  }
  return right ? [left, top, right, bottom] : null
}
