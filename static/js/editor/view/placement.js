// Where a bar lies beside a box without covering it. Pure: no DOM.

export const GAP = 12

/** @typedef {{left: number, top: number, right: number, bottom: number}} Box */

/**
 * The place of a bar: below, above, to the right or to the left of a box, along its middle as far as the space allows.
 * @param {Box} box @param {{width: number, height: number}} bar @param {Box} free the space, of which the visible part of the
 *   box counts @param {Box[]} others boxes that must stay free too
 * @returns {{left: number, top: number} | null} null where it has no place, or nothing of the box is visible
 */
export function placeBeside(box, bar, free, others = []) {
  const seen = common(box, free)
  if (!seen) return null
  const left = within((seen.left + seen.right - bar.width) / 2, free.left, free.right - bar.width)
  const top = within((seen.top + seen.bottom - bar.height) / 2, free.top, free.bottom - bar.height)
  const places = [
    { left, top: seen.bottom + GAP },
    { left, top: seen.top - GAP - bar.height },
    { left: seen.right + GAP, top },
    { left: seen.left - GAP - bar.width, top },
  ]
  return places.find((place) => {
    const taken = { ...place, right: place.left + bar.width, bottom: place.top + bar.height }
    const isInside = taken.left >= free.left && taken.top >= free.top && taken.right <= free.right && taken.bottom <= free.bottom
    return isInside && !others.some((other) => common(taken, other))
  }) ?? null
}

/** How far a bar at a place lies from a box. @param {Box} box @param {{left: number, top: number}} place
 *  @param {{width: number, height: number}} bar */
export function distance(box, place, bar) {
  const across = Math.max(0, place.left - box.right, box.left - place.left - bar.width)
  const down = Math.max(0, place.top - box.bottom, box.top - place.top - bar.height)
  return Math.hypot(across, down)
}

/** What two boxes have in common, or null. @param {Box} a @param {Box} b */
function common(a, b) {
  const both = {
    left: Math.max(a.left, b.left), top: Math.max(a.top, b.top),
    right: Math.min(a.right, b.right), bottom: Math.min(a.bottom, b.bottom),
  }
  return both.left < both.right && both.top < both.bottom ? both : null
}

/** @param {number} value @param {number} least @param {number} most */
const within = (value, least, most) => Math.max(least, Math.min(most, value))
