// Where an image to insert lies over the photo, and how its handles change that. Pure: no DOM.

import { distance } from "editor/tools/geometry"

/** @typedef {import("editor/tools/geometry").Size} Size */
/** Its middle and its width before it is rotated, in pixels of the photo; rotation: degrees, clockwise.
 *  @typedef {{x: number, y: number, width: number, rotation: number}} Placement */
/** What is entered of it. @typedef {{[Name in keyof Placement]: number | null}} Given */
/** A part of it that can be dragged: the image, the handle that rotates it, or one of its corners.
 *  @typedef {"inside" | "rotate" | 0 | 1 | 2 | 3} Part */

/** The narrowest and the widest insert, and the largest coordinate of its middle, as the API has them. */
const NARROWEST = 1, WIDEST = 100_000, FARTHEST = 100_000
const NEARLY_STRAIGHT = 3, STEP = 15 // degrees: from a right angle, and between two angles with Shift

/** What is entered of a placement, completed as the server does it: in the middle of the mask's bounds, which the image
 *  covers; one with transparent pixels fits into them.
 *  @param {Given} given @param {Size & {isTransparent: boolean}} image @param {number[]} marked the bounds @returns {Placement} */
export function placed({ x, y, width, rotation }, image, [left, top, right, bottom]) {
  const degrees = rotation ?? 0
  return { x: x ?? (left + right) / 2, y: y ?? (top + bottom) / 2, width: width ?? widthFor(image, right - left, bottom - top, degrees), rotation: degrees }
}

/** @param {Size & {isTransparent: boolean}} image @param {number} across @param {number} down @param {number} rotation */
function widthFor(image, across, down, rotation) {
  const ratio = image.height / image.width
  const [cosine, sine] = turn(rotation).map(Math.abs)
  const width = image.isTransparent
    ? Math.min(across / (cosine + ratio * sine), down / (sine + ratio * cosine))
    : Math.max(across * cosine + down * sine, (across * sine + down * cosine) / ratio)
  return within(hundredths(width), NARROWEST, WIDEST)
}

/** Its corners: top left, top right, bottom right, bottom left, as before it is rotated. @param {Placement} placement @param {Size} image */
export function corners({ x, y, width, rotation }, image) {
  const [across, down] = [width / 2, width * image.height / image.width / 2]
  const [cosine, sine] = turn(rotation)
  return [[-across, -down], [across, -down], [across, down], [-across, down]].map(([right, below]) => [
    x + right * cosine - below * sine, y + right * sine + below * cosine,
  ])
}

/** The handle that rotates it: `away` pixels above the middle of its upper side. @param {Placement} placement @param {Size} image @param {number} away */
export function handle({ x, y, width, rotation }, image, away) {
  const [cosine, sine] = turn(rotation)
  const up = width * image.height / image.width / 2 + away
  return [x + up * sine, y - up * cosine]
}

/** What of it is at a point of the photo; null for nothing. @param {Placement} placement @param {Size} image @param {number[]} point
 *  @param {{reach: number, away: number}} options reach: of a handle, in pixels of the photo; away: of the one that rotates
 *  @returns {Part | null} */
export function partAt(placement, image, point, { reach, away }) {
  if (distance(handle(placement, image, away), point) <= reach) return "rotate"
  const distances = corners(placement, image).map((corner) => distance(corner, point))
  const nearest = Math.min(...distances)
  if (nearest <= reach) return /** @type {Part} */ (distances.indexOf(nearest))
  const [cosine, sine] = turn(placement.rotation)
  const [right, below] = [point[0] - placement.x, point[1] - placement.y]
  const isInside = Math.abs(right * cosine + below * sine) <= placement.width / 2
    && Math.abs(below * cosine - right * sine) <= placement.width * image.height / image.width / 2
  return isInside ? "inside" : null
}

/** The placement after a part was dragged from one point of the photo to another. `isStepped`: it rotates in steps.
 *  @param {Placement} placement @param {Size} image @param {Part} part @param {number[]} from @param {number[]} to */
export function dragged(placement, image, part, from, to, isStepped = false) {
  if (part === "inside") return moved(placement, [to[0] - from[0], to[1] - from[1]])
  if (part === "rotate") return turnedTowards(placement, to, isStepped)
  return stretched(placement, image, part, [to[0] - from[0], to[1] - from[1]])
}

/** @param {Placement} placement @param {number[]} by @returns {Placement} */
export const moved = (placement, [dx, dy]) => limited({ ...placement, x: placement.x + dx, y: placement.y + dy })

/** @param {Placement} placement @param {number} factor @returns {Placement} */
export const scaled = (placement, factor) => limited({ ...placement, width: placement.width * factor })

/** @param {Placement} placement @param {number} degrees @returns {Placement} */
export const turned = (placement, degrees) => limited({ ...placement, rotation: placement.rotation + degrees })

/** With a corner moved as far as its ratio allows; the opposite corner stays.
 *  @param {Placement} placement @param {Size} image @param {0 | 1 | 2 | 3} corner @param {number[]} by */
function stretched(placement, image, corner, [dx, dy]) {
  const all = corners(placement, image)
  const [from, fixed] = [all[corner], all[(corner + 2) % 4]]
  const [across, down] = [from[0] - fixed[0], from[1] - fixed[1]]
  const share = ((across + dx) * across + (down + dy) * down) / (across ** 2 + down ** 2)
  const factor = within(share, NARROWEST / placement.width, WIDEST / placement.width)
  return limited({ ...placement, x: fixed[0] + across * factor / 2, y: fixed[1] + down * factor / 2, width: placement.width * factor })
}

/** With its upper side towards a point. @param {Placement} placement @param {number[]} point @param {boolean} isStepped */
function turnedTowards(placement, [x, y], isStepped) {
  const degrees = Math.atan2(x - placement.x, placement.y - y) * 180 / Math.PI
  const straight = Math.round(degrees / 90) * 90
  const rotation = isStepped ? Math.round(degrees / STEP) * STEP : Math.abs(degrees - straight) <= NEARLY_STRAIGHT ? straight : degrees
  return limited({ ...placement, rotation })
}

/** Within what the API accepts; lengths to hundredths, degrees to tenths. @param {Placement} placement @returns {Placement} */
function limited({ x, y, width, rotation }) {
  const degrees = Math.round(10 * rotation) / 10
  return {
    x: within(hundredths(x), -FARTHEST, FARTHEST), y: within(hundredths(y), -FARTHEST, FARTHEST),
    width: within(hundredths(width), NARROWEST, WIDEST), rotation: degrees > 180 ? degrees - 360 : degrees < -180 ? degrees + 360 : degrees,
  }
}

/** Cosine and sine. @param {number} degrees */
function turn(degrees) {
  const angle = degrees * Math.PI / 180
  return [Math.cos(angle), Math.sin(angle)]
}

/** @param {number} value */
const hundredths = (value) => Math.round(100 * value) / 100

/** @param {number} value @param {number} least @param {number} most */
const within = (value, least, most) => Math.max(least, Math.min(most, value))
