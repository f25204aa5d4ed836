// Thumbnails of results, and other images in cells of any size.

/** @typedef {{width: number, height: number}} Size */

/** Zooms a thumbnail, in a square cell, to the square around the repainted window: elsewhere it is as all others are.
 *  @param {HTMLImageElement} thumbnail @param {Size} image @param {number[]} box of the window */
export function zoomTo(thumbnail, { width, height }, [left, top, right, bottom]) {
  const side = Math.min(Math.max(right - left, bottom - top), width, height)
  /** @param {number} from @param {number} to @param {number} whole */
  const start = (from, to, whole) => Math.min(Math.max((from + to - side) / 2, 0), whole - side)
  const [x, y] = [start(left, right, width), start(top, bottom, height)]
  fill(thumbnail, { width, height }, [x, y, x + side, y + side])
}

/** Lets a part of an image fill its cell, which has the part's proportions and hides what lies beside it.
 *  @param {HTMLImageElement} element @param {Size} image @param {number[]} part its left, top, right and bottom */
export function fill({ style }, { width, height }, [left, top, right, bottom]) {
  Object.assign(style, {
    width: `${(100 * width) / (right - left)}%`,
    height: `${(100 * height) / (bottom - top)}%`,
    translate: `${(-100 * left) / width}% ${(-100 * top) / height}%`, // of the image's own size
  })
}
