// Pixels of images, read in strips, so that no canvas is larger than a row of tiles.

import { PolarityReader } from "./polarity.js"
import { Mask, SIDE, tileOf } from "./tiles.js"

/** @typedef {{width: number, height: number, rgba: Uint8Array}} Pixels */

/** An image scaled to a box of the mask, [left, top, right, bottom]; `valueOf(rgba, i)` gives the value of a pixel.
 *  @param {{width: number, height: number}} size @param {ImageBitmap} bitmap @param {readonly number[]} place
 *  @param {import("./polarity.js").ValueOf} valueOf */
export function imageMask({ width, height }, bitmap, [left, top, right, bottom], valueOf) {
  const mask = new Mask(width, height)
  const box = {
    left: Math.max(0, Math.round(left)), top: Math.max(0, Math.round(top)),
    right: Math.min(width, Math.round(right)), bottom: Math.min(height, Math.round(bottom)),
  }
  if (box.left >= box.right || box.top >= box.bottom) return mask
  const across = box.right - box.left
  for (let row = Math.floor(box.top / SIDE); row * SIDE < box.bottom; row++) {
    const start = Math.max(box.top, row * SIDE)
    const end = Math.min(box.bottom, (row + 1) * SIDE)
    const place = [left - box.left, top - start, right - left, bottom - top]
    const rgba = pixels(bitmap, across, end - start, place)
    for (const index of mask.indicesIn({ left: box.left, top: start, right: box.right, bottom: end })) {
      const tile = mask.boxOf(index)
      const alpha = new Uint8Array(SIDE * SIDE)
      for (let y = start; y < end; y++) {
        for (let x = Math.max(tile.left, box.left); x < Math.min(tile.right, box.right); x++) {
          alpha[(y - tile.top) * SIDE + x - tile.left] = valueOf(rgba, 4 * ((y - start) * across + x - box.left))
        }
      }
      mask.tiles[index] = tileOf(alpha, tile)
    }
  }
  return mask
}

/** The part of a mask file that is repainted.
 *  @param {ImageBitmap} bitmap @param {import("./polarity.js").Repaints | null} known
 *  @returns {{width: number, height: number} & import("./polarity.js").Polarity} */
export function readPolarity(bitmap, known = null) {
  const { width, height } = bitmap
  const reader = new PolarityReader()
  for (let top = 0; top < height; top += SIDE) {
    reader.add(pixels(bitmap, width, Math.min(SIDE, height - top), [0, -top, width, height]))
  }
  return { width, height, ...reader.read(known) }
}

/** All pixels of a photo. @param {ImageBitmap} bitmap @param {number} width @param {number} height @returns {Pixels} */
export function photoPixels(bitmap, width, height) {
  const rgba = new Uint8Array(4 * width * height)
  for (let top = 0; top < height; top += SIDE) {
    rgba.set(pixels(bitmap, width, Math.min(SIDE, height - top), [0, -top, width, height]), 4 * width * top)
  }
  return { width, height, rgba }
}

/** The pixels of a canvas of `width` x `height` on which the image is drawn at `place`: left, top, width, height.
 *  @param {ImageBitmap} bitmap @param {number} width @param {number} height @param {number[]} place */
function pixels(bitmap, width, height, [left, top, drawnWidth, drawnHeight]) {
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true }))
  context.imageSmoothingQuality = "high"
  context.drawImage(bitmap, left, top, drawnWidth, drawnHeight)
  return context.getImageData(0, 0, width, height).data
}
