// Geometry of the tools. Points are [x, y] in pixels of the photo, boxes [left, top, right, bottom]. Pure: no DOM.

/** @typedef {{width: number, height: number}} Size */

/** The box of two opposite corners. @param {readonly number[]} a @param {readonly number[]} b */
export const boxOf = ([ax, ay], [bx, by]) => [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)]

/** The box of points. @param {number[][]} points */
export const boundsOf = (points) => {
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]))
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)]
}

/** At most about `most` of the points, evenly. @param {number[][]} points @param {number} most */
export const thinned = (points, most) => points.filter((_, index) => index % Math.ceil(points.length / most) === 0)

/** The corner, moved so that its box with `from` is a square. @param {number[]} from @param {number[]} corner */
export function squared([x, y], corner) {
  const side = Math.max(Math.abs(corner[0] - x), Math.abs(corner[1] - y))
  return [x + side * (corner[0] < x ? -1 : 1), y + side * (corner[1] < y ? -1 : 1)]
}

/** @param {readonly number[]} a @param {readonly number[]} b */
export const distance = ([ax, ay], [bx, by]) => Math.hypot(bx - ax, by - ay)

/** A box without what lies outside `width` x `height`; null where nothing remains. @param {number[]} box @param {Size} size */
export function clipped([left, top, right, bottom], { width, height }) {
  const box = [Math.max(0, left), Math.max(0, top), Math.min(width, right), Math.min(height, bottom)]
  return box[0] < box[2] && box[1] < box[3] ? box : null
}

/** A box with `share` of its longer side added on every side. @param {number[]} box @param {number} share */
export function widened([left, top, right, bottom], share) {
  const margin = share * Math.max(right - left, bottom - top)
  return [left - margin, top - margin, right + margin, bottom + margin]
}

/** The smallest box of whole pixels that contains the box. @param {number[]} box */
export const rounded = ([left, top, right, bottom]) => [Math.floor(left), Math.floor(top), Math.ceil(right), Math.ceil(bottom)]

/** The part of the photo that a surface of this size shows; null for none.
 *  @param {import("editor/view/viewport").Viewport} viewport @param {Size} surface @param {Size} photo */
export function visible({ scale, left, top }, surface, photo) {
  return clipped([-left / scale, -top / scale, (surface.width - left) / scale, (surface.height - top) / scale], photo)
}

const SMALLEST = 1

/** The largest brush: at least half of the photo's shorter side, in pixels of the photo. @param {Size} photo */
export const largestSize = ({ width, height }) => Math.max(100, Math.ceil(Math.min(width, height) / 2))

/** A slider's place, 0 to 1 -> a size, so that each step changes it by the same factor.
 *  @param {number} place @param {number} largest */
export const sizeAt = (place, largest) => roundedSize(SMALLEST * (largest / SMALLEST) ** place)

/** @param {number} size @param {number} largest */
export const placeOf = (size, largest) => Math.min(1, Math.log(Math.max(SMALLEST, size) / SMALLEST) / Math.log(largest / SMALLEST))

/** The next size up or down: by one while small, by a tenth later. @param {number} size @param {number} direction @param {number} largest */
export const nextSize = (size, direction, largest) =>
  Math.min(largest, Math.max(SMALLEST, Math.round(size + direction * Math.max(1, Math.round(size / 10)))))

/** @param {number} size */
const roundedSize = (size) => (size < 10 ? Math.round(size * 10) / 10 : Math.round(size))

/** Left, top, right and bottom of what is not clear; null where all is.
 *  @param {number} width @param {number} height @param {ArrayLike<number>} rgba @returns {number[] | null} */
export function visibleBox(width, height, rgba) {
  let [left, top, right, bottom] = [width, height, 0, 0]
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!rgba[4 * (y * width + x) + 3]) continue
      left = Math.min(left, x)
      right = Math.max(right, x + 1)
      top = Math.min(top, y)
      bottom = y + 1
    }
  }
  return right ? [left, top, right, bottom] : null
}
