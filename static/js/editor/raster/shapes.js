// Fills rectangles, ellipses and polygons with smooth edges: each pixel by the exact area of it that is inside.

import { Mask, SIDE, tileOf } from "./tiles.js"

const ELLIPSE_ERROR = 0.05 // pixels between the ellipse and the polygon that is drawn for it

/** @typedef {import("../document/operations.js").Points} Points */

/** The shape alone, as a mask.
 *  @param {{width: number, height: number}} size @param {import("../document/operations.js").Shape} operation */
export function shapeMask({ width, height }, { shape, points }) {
  /** @type {Record<string, (points: Points) => Points>} */
  const corners = { rectangle, ellipse, polygon: (given) => given }
  return polygonMask(width, height, corners[shape](points))
}

/** @param {Points} corners two opposite ones */
const rectangle = ([[x, y], [right, bottom]]) => [[x, y], [right, y], [right, bottom], [x, bottom]]

/** The corners of a polygon that is nearly an ellipse. @param {Points} corners of its box, two opposite ones */
function ellipse([[x, y], [right, bottom]]) {
  const [centreX, centreY] = [(x + right) / 2, (y + bottom) / 2]
  const [a, b] = [Math.abs(right - x) / 2, Math.abs(bottom - y) / 2]
  const sides = Math.max(16, Math.ceil(Math.PI / Math.acos(1 - Math.min(1, ELLIPSE_ERROR / Math.max(a, b, 1)))))
  return Array.from({ length: sides }, (_, i) => {
    const angle = (2 * Math.PI * i) / sides
    return [centreX + a * Math.cos(angle), centreY + b * Math.sin(angle)]
  })
}

/**
 * Fills by the nonzero rule, one row of tiles at a time: each edge adds its signed area to an accumulation buffer, whose
 * running sum along a row is the coverage (the method of font rasterisers: Raph Levien, "Inside the fastest font
 * renderer in the world").
 * @param {number} width @param {number} height @param {Points} points
 */
function polygonMask(width, height, points) {
  const mask = new Mask(width, height)
  const edges = points.map((point, i) => [point, points[(i + 1) % points.length]])
  const stride = width + 2
  const areas = new Float32Array(stride * SIDE)
  const across = points.map(([x]) => Math.max(0, Math.min(width, x)))
  const left = Math.floor(Math.min(...across) / SIDE) * SIDE
  const right = Math.min(width, Math.ceil(Math.max(...across) + 1))
  const line = new Uint8Array(Math.ceil(width / SIDE) * SIDE)
  for (let band = 0; band < mask.rows; band++) {
    const top = band * SIDE
    const bottom = Math.min(top + SIDE, height)
    const crossing = edges.filter(([[, y], [, end]]) => Math.min(y, end) < bottom && Math.max(y, end) > top)
    if (!crossing.length) continue
    areas.fill(0)
    for (const edge of crossing) addEdge(areas, stride, edge, top, bottom, width)
    /** @type {[number, Uint8Array][]} */
    const tiles = mask.indicesIn({ left, top, right, bottom }).map((index) => [index, new Uint8Array(SIDE * SIDE)])
    for (let y = 0; y < bottom - top; y++) {
      let sum = 0
      for (let x = left; x < right; x++) {
        sum += areas[y * stride + x]
        line[x] = Math.round(255 * Math.min(1, Math.abs(sum)))
      }
      tiles.forEach(([, alpha], i) => alpha.set(line.subarray(left + i * SIDE, left + (i + 1) * SIDE), y * SIDE))
    }
    for (const [index, alpha] of tiles) mask.tiles[index] = tileOf(alpha, mask.boxOf(index))
  }
  return mask
}

/** Adds an edge's part between the rows `top` and `bottom`; left of the image it counts as on its border.
 *  @param {Float32Array} areas @param {number} stride @param {Points} edge its two ends
 *  @param {number} top @param {number} bottom @param {number} width */
function addEdge(areas, stride, [[x0, y0], [x1, y1]], top, bottom, width) {
  if (y0 === y1) return
  const sign = y0 < y1 ? 1 : -1
  const [startX, startY, endY] = y0 < y1 ? [x0, y0, y1] : [x1, y1, y0]
  const slope = (x1 - x0) / (y1 - y0)
  const last = Math.min(bottom, endY)
  for (let y = Math.max(top, startY); y < last;) {
    const row = Math.floor(y)
    const next = Math.min(row + 1, last)
    addPiece(areas, (row - top) * stride, startX + (y - startY) * slope, startX + (next - startY) * slope, (next - y) * sign, width)
    y = next
  }
}

/** Adds a piece of an edge in one row: from `a` to `b` across, `height` (signed) down.
 *  @param {Float32Array} areas @param {number} first @param {number} a @param {number} b @param {number} height @param {number} width */
function addPiece(areas, first, a, b, height, width) {
  const [left, right] = a < b ? [a, b] : [b, a]
  if (left >= width) return
  if (right <= 0) {
    areas[first] += height
  } else if (left < 0) {
    areas[first] += (height * left) / (left - right)
    addPiece(areas, first, 0, right, (height * right) / (right - left), width)
  } else if (right > width) {
    addPiece(areas, first, left, width, (height * (width - left)) / (right - left), width)
  } else {
    spread(areas, first, left, right, height)
  }
}

/** @param {Float32Array} areas @param {number} first @param {number} left @param {number} right @param {number} height */
function spread(areas, first, left, right, height) {
  let before = 0
  const start = Math.floor(left)
  const end = Math.max(start + 1, Math.ceil(right))
  for (let x = start; x < end; x++) {
    const [from, to] = [Math.max(left, x), Math.min(right, x + 1)]
    const part = right > left ? (height * (to - from)) / (right - left) : height
    const inside = x + 1 - (from + to) / 2 // the part of the pixel that is right of the edge, on average
    areas[first + x] += before + part * inside
    before = part * (1 - inside)
  }
  areas[first + end] += before
}
