// The operations that make a mask, as plain data: each factory checks its values and freezes the result. Pure: no DOM.
//
// Coordinates and sizes are in pixels of the photo, as floats. `erases`: the operation removes instead of adding.

/** @typedef {readonly (readonly number[])[]} Points */
/** @typedef {{kind: "stroke", erases: boolean, size: number, hardness: number, points: Points}} Stroke
 *  size: diameter; hardness: 0 to 1, the part of the radius that is opaque; points: [x, y, pressure 0 to 1], at least one */
/** @typedef {{kind: "shape", erases: boolean, shape: "rectangle" | "ellipse" | "polygon", points: Points}} Shape
 *  points: [x, y]; two opposite corners of a rectangle or of an ellipse's box, or the corners of a polygon, at least three */
/** @typedef {{kind: "wand", erases: boolean, x: number, y: number, tolerance: number, contiguous: boolean}} Wand
 *  the pixels whose colour is like that at (x, y); tolerance: 0 to 255 for each channel */
/** @typedef {{kind: "image", erases: boolean, image: string, box: readonly number[]}} ImageInBox
 *  an image by its id, white = selected, drawn in the box [left, top, right, bottom] */
/** @typedef {"dark" | "light" | "transparent" | "opaque"} Repaints  which part of a mask file is repainted */
/** @typedef {{kind: "file", image: string, name: string, repaints: Repaints}} MaskFile  replaces the mask */
/** @typedef {{kind: "grow", pixels: number}} Grow  negative: shrinks */
/** @typedef {{kind: "feather", pixels: number}} Feather */
/** @typedef {{kind: "fill-holes"} | {kind: "invert"} | {kind: "clear"}} Simple */
/** @typedef {Stroke | Shape | Wand | ImageInBox | MaskFile | Grow | Feather | Simple} Operation */

export const FILL_HOLES = Object.freeze({ kind: "fill-holes" })
export const INVERT = Object.freeze({ kind: "invert" })
export const CLEAR = Object.freeze({ kind: "clear" })

const SHAPES = { rectangle: [2, 2], ellipse: [2, 2], polygon: [3, Infinity] }
const REPAINTS = ["dark", "light", "transparent", "opaque"]

/** @param {{erases?: boolean, size: number, hardness?: number, points: Points}} values @returns {Stroke} */
export function stroke({ erases = false, size, hardness = 1, points }) {
  check(size > 0 && Number.isFinite(size), "a stroke has a size above 0")
  const pressed = points.map(([x, y, pressure = 1]) => tuple([x, y, between(pressure, 0, 1, "pressure")]))
  check(pressed.length >= 1, "a stroke has at least one point")
  return Object.freeze({
    kind: "stroke", erases: Boolean(erases), size, hardness: between(hardness, 0, 1, "hardness"), points: Object.freeze(pressed),
  })
}

/** @param {{erases?: boolean, shape: Shape["shape"], points: Points}} values @returns {Shape} */
export function shape({ erases = false, shape, points }) {
  check(Object.hasOwn(SHAPES, shape), `"${shape}" is not a shape`)
  const [fewest, most] = SHAPES[shape]
  check(points.length >= fewest && points.length <= most, `a ${shape} has ${points.length} points`)
  return Object.freeze({ kind: "shape", erases: Boolean(erases), shape, points: Object.freeze(points.map(([x, y]) => tuple([x, y]))) })
}

/** @param {{erases?: boolean, x: number, y: number, tolerance: number, contiguous?: boolean}} values @returns {Wand} */
export function wand({ erases = false, x, y, tolerance, contiguous = true }) {
  tuple([x, y])
  between(tolerance, 0, 255, "tolerance")
  return Object.freeze({ kind: "wand", erases: Boolean(erases), x, y, tolerance, contiguous: Boolean(contiguous) })
}

/** @param {{erases?: boolean, image: string, box: readonly number[]}} values @returns {ImageInBox} */
export function imageInBox({ erases = false, image, box }) {
  check(box.length === 4 && box[0] < box[2] && box[1] < box[3], "a box is [left, top, right, bottom]")
  return Object.freeze({ kind: "image", erases: Boolean(erases), image: id(image), box: tuple(box) })
}

/** @param {{image: string, name: string, repaints: Repaints}} values @returns {MaskFile} */
export function file({ image, name, repaints }) {
  check(REPAINTS.includes(repaints), `"${repaints}" is not a part of a mask file`)
  return Object.freeze({ kind: "file", image: id(image), name: String(name), repaints })
}

/** @param {number} pixels @returns {Grow} */
export const grow = (pixels) => Object.freeze({ kind: "grow", pixels: between(pixels, -Infinity, Infinity, "grow") })

/** @param {number} pixels @returns {Feather} */
export const feather = (pixels) => Object.freeze({ kind: "feather", pixels: between(pixels, 0, Infinity, "feather") })

const FACTORIES = {
  stroke, shape, wand, image: imageInBox, file,
  /** @param {Grow} json */
  grow: ({ pixels }) => grow(pixels),
  /** @param {Feather} json */
  feather: ({ pixels }) => feather(pixels),
  "fill-holes": () => FILL_HOLES,
  invert: () => INVERT,
  clear: () => CLEAR,
}

/** An operation from plain JSON. Raises RangeError where a value is missing or wrong.
 *  @param {Operation} json not checked yet @returns {Operation} */
export function operation(json) {
  check(Object.hasOwn(FACTORIES, json.kind), `"${json.kind}" is not an operation`)
  return /** @type {(json: Operation) => Operation} */ (FACTORIES[json.kind])(json)
}

/** The points of an operation that grows: a rectangle or an ellipse gets another last corner, others get more points.
 *  @param {{kind: string, shape?: string, points: Points}} operation @param {Points} more @returns {Points} */
export function extended({ kind, shape, points }, more) {
  return kind === "shape" && shape !== "polygon" ? [points[0] ?? more[0], /** @type {readonly number[]} */ (more.at(-1))] : [...points, ...more]
}

/** The mask file beneath the other operations, or null. @param {readonly Operation[]} operations @returns {MaskFile | null} */
export function fileBeneath(operations) {
  const last = operations.findLast(({ kind }) => kind === "file" || kind === "clear")
  return last?.kind === "file" ? last : null
}

/** @param {readonly number[]} numbers @returns {readonly number[]} */
function tuple(numbers) {
  check(numbers.every(Number.isFinite), `[${numbers}] are not coordinates`)
  return Object.freeze([...numbers])
}

/** @param {number} number @param {number} lowest @param {number} highest @param {string} name */
function between(number, lowest, highest, name) {
  check(Number.isFinite(number) && number >= lowest && number <= highest, `${number} is not a ${name}`)
  return number
}

/** @param {string} value */
function id(value) {
  check(/^[0-9a-f]{64}$/.test(value), `"${value}" is not the id of an image`)
  return value
}

/** @param {boolean} isRight @param {string} message */
function check(isRight, message) {
  if (!isRight) throw new RangeError(message)
}
