// The position and scale of the photo on the stage, and the conversion of points between them. Pure: no DOM.
//
// The two kinds of points have different field names, so that a mistaken one gives NaN.

/** @typedef {{x: number, y: number}} ImagePoint      pixels of the photo, from its top left corner */
/** @typedef {{left: number, top: number}} ScreenPoint  CSS pixels, from the stage's top left corner */
/** @typedef {{scale: number, left: number, top: number}} Viewport
 *  scale: CSS pixels for one pixel of the photo; left, top: where the photo's corner is on the stage. */
/** @typedef {import("editor/tools/geometry").Size} Size */

const MAX_FIT_SCALE = 8 // a small icon is enlarged by at most this factor
const MAX_SCALE = 32

/** Shows the whole photo, centred, with a margin of `margin` CSS pixels.
 *  @param {Size} photo @param {Size} stage @returns {Viewport} */
export function fit(photo, stage, margin = 0) {
  const scale = Math.min(
    MAX_FIT_SCALE,
    Math.max(1, stage.width - 2 * margin) / photo.width,
    Math.max(1, stage.height - 2 * margin) / photo.height,
  )
  return { scale, left: (stage.width - photo.width * scale) / 2, top: (stage.height - photo.height * scale) / 2 }
}

/** @param {Viewport} viewport @param {ScreenPoint} screenPoint @returns {ImagePoint} */
export function toImage(viewport, screenPoint) {
  return { x: (screenPoint.left - viewport.left) / viewport.scale, y: (screenPoint.top - viewport.top) / viewport.scale }
}

/** @param {Viewport} viewport @param {ImagePoint} imagePoint @returns {ScreenPoint} */
export function toScreen(viewport, imagePoint) {
  return { left: imagePoint.x * viewport.scale + viewport.left, top: imagePoint.y * viewport.scale + viewport.top }
}

/** @param {Viewport} viewport @param {ScreenPoint} by @returns {Viewport} */
export function pan(viewport, { left, top }) {
  return { ...viewport, left: viewport.left + left, top: viewport.top + top }
}

/** Zooms by `factor` around `screenPoint`, to a scale of at least `minScale`.
 *  @param {Viewport} viewport @param {ScreenPoint} screenPoint @param {number} factor @param {number} minScale @returns {Viewport} */
export function zoomAt(viewport, screenPoint, factor, minScale) {
  const scale = Math.min(MAX_SCALE, Math.max(minScale, viewport.scale * factor))
  const fixed = toImage(viewport, screenPoint)
  return { scale, left: screenPoint.left - fixed.x * scale, top: screenPoint.top - fixed.y * scale }
}

/** Pans and zooms with two fingers that moved from `before` to `after`, two points each.
 *  @param {Viewport} viewport @param {ScreenPoint[]} before @param {ScreenPoint[]} after @param {number} minScale */
export function pinch(viewport, before, after, minScale) {
  const from = middle(before)
  const to = middle(after)
  const factor = distance(after) / Math.max(1, distance(before))
  return zoomAt(pan(viewport, { left: to.left - from.left, top: to.top - from.top }), to, factor, minScale)
}

/** @param {ScreenPoint[]} points */
const middle = ([a, b]) => ({ left: (a.left + b.left) / 2, top: (a.top + b.top) / 2 })
/** @param {ScreenPoint[]} points */
const distance = ([a, b]) => Math.hypot(a.left - b.left, a.top - b.top)
