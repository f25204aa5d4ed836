// The edits of the mask as data. The mask is a list of these marks; pixels are drawn from it (mask.js).

/** @typedef {import("./viewport.js").ImagePoint} ImagePoint */
/** @typedef {{kind: "stroke", size: number, erases: boolean, points: ImagePoint[]}} Stroke */
/** @typedef {{kind: "file", name: string, picture: CanvasImageSource}} MaskFile  opaque = repaint */
/** @typedef {Stroke | MaskFile | {kind: "invert"} | {kind: "clear"}} Mark */

export const SMALLEST_BRUSH = 1
export const LARGEST_BRUSH = 100

/** A round brush of `size` image pixels along `points`. @returns {Stroke} */
export function stroke({ size, erases, points }) {
  if (!points.length) throw new RangeError("a stroke has at least one point")
  return Object.freeze({ kind: "stroke", size: brushSize(size), erases: Boolean(erases), points: Object.freeze([...points]) })
}

/** A mask from a file; it replaces all marks before it. @returns {MaskFile} */
export const maskFile = ({ name, picture }) => Object.freeze({ kind: "file", name, picture })

export const INVERT = Object.freeze({ kind: "invert" })
export const CLEAR = Object.freeze({ kind: "clear" })

/** The nearest allowed brush size, in whole image pixels. */
export function brushSize(wanted) {
  return Math.min(LARGEST_BRUSH, Math.max(SMALLEST_BRUSH, Math.round(wanted) || SMALLEST_BRUSH))
}

/** The next size up or down: by one while small, by a tenth later, so that the keys feel even. */
export function nextBrushSize(size, direction) {
  return brushSize(size + direction * Math.max(1, Math.round(size / 10)))
}

/** The mask file beneath the strokes, or null. */
export function fileBeneath(marks) {
  const last = marks.findLast((mark) => mark.kind === "file" || mark.kind === "clear")
  return last?.kind === "file" ? last : null
}
