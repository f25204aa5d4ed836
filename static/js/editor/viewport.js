// Where the photo lies on the screen, and the conversion of points between the two. Pure: no DOM.
//
// The two kinds of points have different field names on purpose: mix them up and the answer is NaN at once.

/** @typedef {{x: number, y: number}} ImagePoint      pixels of the photo, from its top left corner */
/** @typedef {{left: number, top: number}} ScreenPoint  CSS pixels, from the stage's top left corner */
/** @typedef {{scale: number, left: number, top: number}} Viewport
 *  scale: CSS pixels for one pixel of the photo; left, top: where the photo's corner is on the stage. */

const LARGEST_FIT = 8 // a 16-pixel icon is shown large, but not as a wall
const LARGEST_ZOOM = 32

/** The whole photo, centred, with a margin of `margin` CSS pixels. @returns {Viewport} */
export function fit(photo, stage, margin = 0) {
  const scale = Math.min(
    LARGEST_FIT,
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

/** @returns {Viewport} */
export function pan(viewport, { left, top }) {
  return { ...viewport, left: viewport.left + left, top: viewport.top + top }
}

/** Zooms by `factor` around `screenPoint`. Never below the scale `smallest`. */
export function zoomAt(viewport, screenPoint, factor, smallest) {
  const scale = Math.min(LARGEST_ZOOM, Math.max(smallest, viewport.scale * factor))
  const under = toImage(viewport, screenPoint)
  return { scale, left: screenPoint.left - under.x * scale, top: screenPoint.top - under.y * scale }
}

/** Two fingers moved from `before` to `after`: the photo follows them. */
export function pinch(viewport, before, after, smallest) {
  const from = middle(before)
  const to = middle(after)
  const factor = distance(after) / Math.max(1, distance(before))
  return zoomAt(pan(viewport, { left: to.left - from.left, top: to.top - from.top }), to, factor, smallest)
}

const middle = ([a, b]) => ({ left: (a.left + b.left) / 2, top: (a.top + b.top) / 2 })
const distance = ([a, b]) => Math.hypot(a.left - b.left, a.top - b.top)
