// The magic wand: the pixels of a photo whose colour is like that of one of them.

import { made, SIDE } from "./tiles.js"

/** The selected pixels as a mask. @param {import("./images.js").Pixels} photo
 *  @param {import("../document/operations.js").Wand} wand */
export function wandMask(photo, { x, y, tolerance, contiguous }) {
  const { width, height, rgba } = photo
  const [startX, startY] = [Math.floor(x), Math.floor(y)]
  if (startX < 0 || startY < 0 || startX >= width || startY >= height) return made(width, height, () => false)
  const start = 4 * (startY * width + startX)
  /** @param {number} pixel */
  const isLike = (pixel) => {
    for (let channel = 0; channel < 4; channel++) {
      if (Math.abs(rgba[4 * pixel + channel] - rgba[start + channel]) > tolerance) return false
    }
    return true
  }
  const found = contiguous ? connected(width, height, startX, startY, isLike) : null
  return made(width, height, (alpha, box) => {
    for (let row = box.top; row < box.bottom; row++) {
      for (let column = box.left; column < box.right; column++) {
        const pixel = row * width + column
        if (found ? found[pixel] : isLike(pixel)) alpha[(row - box.top) * SIDE + column - box.left] = 255
      }
    }
  })
}

/** 1 for each pixel that is connected to the first one over sides of pixels that are like it.
 *  @param {number} width @param {number} height @param {number} startX @param {number} startY
 *  @param {(pixel: number) => boolean} isLike */
function connected(width, height, startX, startY, isLike) {
  const found = new Uint8Array(width * height)
  const waiting = [startY * width + startX]
  while (waiting.length) {
    const pixel = /** @type {number} */ (waiting.pop())
    if (found[pixel]) continue
    const first = pixel - (pixel % width)
    let [left, right] = [pixel, pixel]
    while (left > first && !found[left - 1] && isLike(left - 1)) left--
    while (right + 1 < first + width && !found[right + 1] && isLike(right + 1)) right++
    found.fill(1, left, right + 1)
    for (const offset of [-width, width]) {
      if (left + offset < 0 || left + offset >= found.length) continue
      for (let other = left + offset, isInRun = false; other <= right + offset; other++) {
        const isOpen = !found[other] && isLike(other)
        if (isOpen && !isInRun) waiting.push(other)
        isInRun = isOpen
      }
    }
  }
  return found
}
