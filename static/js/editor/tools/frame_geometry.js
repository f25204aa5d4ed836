// The outpainting frame: margins around the photo in its pixels, all >= 0, as in the document; `most`: the largest that the
// API accepts. Pure: no DOM.

import { gettext, isolated } from "text"

/** @typedef {import("editor/document/document").Frame} Frame */
/** @typedef {import("editor/tools/geometry").Size} Size */

/** @type {(keyof Frame)[]} */
export const SIDES = ["left", "top", "right", "bottom"]

/** A frame with one or more edges moved by [dx, dy] pixels.
 *  @param {Frame} frame @param {string} edges such as "left" or "top right" @param {number[]} by @param {number} most */
export function dragged(frame, edges, [dx, dy], most) {
  const moves = { left: -dx, top: -dy, right: dx, bottom: dy }
  return limited(Object.fromEntries(SIDES.map((side) => [side, frame[side] + (edges.includes(side) ? moves[side] : 0)])), most)
}

/** @param {Partial<Frame>} frame @param {number} most @returns {Frame} */
export const limited = (frame, most) =>
  /** @type {Frame} */ (Object.fromEntries(SIDES.map((side) => [side, Math.min(most, Math.max(0, Math.round(/** @type {number} */ (frame[side])) || 0))])))

/** The frame in which the photo has this size at least, in the middle. @param {Size} photo @param {Size} size @param {number} most */
export function framed(photo, { width, height }, most) {
  const [wider, taller] = [Math.max(0, Math.round(width) - photo.width), Math.max(0, Math.round(height) - photo.height)]
  return limited({ left: Math.floor(wider / 2), top: Math.floor(taller / 2), right: Math.ceil(wider / 2), bottom: Math.ceil(taller / 2) }, most)
}

/** The frame that gives the photo a ratio such as "16:9", with the fewest pixels added.
 *  @param {Size} photo @param {string} ratio @param {number} most */
export function withRatio(photo, ratio, most) {
  const [across, down] = ratio.split(":").map(Number)
  const wanted = across / down
  return photo.width / photo.height < wanted
    ? framed(photo, { width: Math.round(photo.height * wanted), height: photo.height }, most)
    : framed(photo, { width: photo.width, height: Math.round(photo.width / wanted) }, most)
}

/** @param {Size} photo @param {Frame} frame @returns {Size} */
export const sizeOf = (photo, { left, top, right, bottom }) => ({ width: photo.width + left + right, height: photo.height + top + bottom })

/** @param {Frame} frame */
export const isEmpty = (frame) => SIDES.every((side) => !frame[side])

/** "+200 px right: 712 × 512" @param {Size} photo @param {Frame} frame */
export function inWords(photo, frame) {
  const added = SIDES.filter((side) => frame[side]).map((side) => addedInWords(side, frame[side])).join(", ")
  const { width, height } = sizeOf(photo, frame)
  return `${added}: ${isolated(`${width} × ${height}`)}`
}

/** @param {keyof Frame} side @param {number} pixels */
function addedInWords(side, pixels) {
  if (side === "left") return gettext("+{pixels} px left", { pixels })
  if (side === "top") return gettext("+{pixels} px top", { pixels })
  if (side === "right") return gettext("+{pixels} px right", { pixels })
  return gettext("+{pixels} px bottom", { pixels })
}

/** The API's fields of the frame: {outpaint_left: 64, …}; {} without one. @param {Frame} frame @returns {Record<string, number>} */
export const fieldsOf = (frame) =>
  isEmpty(frame) ? {} : Object.fromEntries(SIDES.map((side) => [`outpaint_${side}`, frame[side]]))

/** Which edges of the frame are at a point of the photo, "" for none.
 *  @param {Size} photo @param {Frame} frame @param {number[]} point @param {number} reach in pixels of the photo */
export function edgesAt(photo, frame, [x, y], reach) {
  const edges = { left: -frame.left, top: -frame.top, right: photo.width + frame.right, bottom: photo.height + frame.bottom }
  const inside = x > edges.left - reach && x < edges.right + reach && y > edges.top - reach && y < edges.bottom + reach
  if (!inside) return ""
  const near = { left: Math.abs(x - edges.left), right: Math.abs(x - edges.right), top: Math.abs(y - edges.top), bottom: Math.abs(y - edges.bottom) }
  return SIDES.filter((side) => near[side] <= reach).join(" ")
}
