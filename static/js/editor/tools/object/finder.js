// Asks the server for the mask of an object (POST /api/masks/) in a part of the photo.
//
// Only that part is sent, at most `side` pixels wide or high, so that a photo of any size takes a moment: closer to the
// object, its edges are found more exactly.

import { post } from "api"
import { changeOf } from "editor/raster/tiles"
import { clipped, rounded, visible, widened } from "editor/tools/geometry"

const SIDE = 1024
const AROUND_VIEW = 0.25

/** @typedef {{points?: number[][], box?: number[], words?: string, outline?: number[][]}} Hints  in pixels of the part; points:
 *  [x, y] or [x, y, 1 for the object or 0 for what is beside it] */
/** What is found, the best mask first. @typedef {{mask: string, area: number}} Candidate  mask: as a data URL
 *  @typedef {Candidate & {box: number[] | null, candidates: Candidate[]}} Answer  box: null where nothing is found */
/** A part of the photo as it is sent: its box, its JPEG, and how a point of the photo lies in that.
 *  @typedef {{photo: string, box: number[], blob: Blob, inPart: (point: number[]) => number[], inPhoto: (point: number[]) => number[]}} Part */

export class Finder {
  /** @type {Map<number, {key: string, part: Promise<Part>}>} */
  #parts = new Map() // side -> {key, part}: of the last request

  /** @param {Pick<import("../toolbox.js").Tooling, "photo" | "photoBitmap" | "surface" | "url" | "view">} tooling */
  constructor({ photo, photoBitmap, surface, url, view }) {
    this.photo = photo
    this.photoBitmap = photoBitmap
    this.surface = surface
    this.url = url
    this.view = view
  }

  /** What is seen of the photo, with some of its surroundings. @returns {Promise<Part | null>} */
  visiblePart(side = SIDE) {
    const { clientWidth: width, clientHeight: height } = this.surface
    const seen = visible(this.view.viewport, { width, height }, this.photo())
    return seen ? this.partAround(seen, AROUND_VIEW, side) : Promise.resolve(null)
  }

  /** The part of the photo around a box; `share` of its longer side is added.
   *  @param {number[]} around @param {number} share @returns {Promise<Part>} */
  async partAround(around, share, side = SIDE) {
    const photo = this.photo()
    const box = rounded(/** @type {number[]} */ (clipped(widened(around, share), photo)))
    const key = JSON.stringify([photo.id, box])
    if (this.#parts.get(side)?.key !== key) this.#parts.set(side, { key, part: cut(await this.photoBitmap(), photo.id, box, side) })
    return /** @type {{part: Promise<Part>}} */ (this.#parts.get(side)).part
  }

  /** The answer of the server. hints: the fields that say what the object is. signal: aborts the request.
   *  @param {Part} part @param {Hints} hints @param {Record<string, string>} fields @param {AbortSignal} [signal]
   *  @returns {Promise<Answer>} */
  find(part, hints, fields = {}, signal = undefined) {
    const form = new FormData()
    form.append("image", part.blob, "part.jpg")
    form.append("store", "false")
    for (const [name, value] of Object.entries({ ...hints, ...fields })) form.append(name, typeof value === "string" ? value : JSON.stringify(value))
    return post(this.url, form, {}, { signal })
  }
}

/** @param {ImageBitmap} bitmap @param {string} photo its id @param {number[]} box @param {number} side @returns {Promise<Part>} */
export async function cut(bitmap, photo, box, side) {
  const [left, top, right, bottom] = box
  const factor = Math.min(1, side / Math.max(right - left, bottom - top))
  const canvas = document.createElement("canvas")
  canvas.width = Math.max(1, Math.round((right - left) * factor))
  canvas.height = Math.max(1, Math.round((bottom - top) * factor))
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"))
  context.imageSmoothingQuality = "high"
  context.drawImage(bitmap, left, top, right - left, bottom - top, 0, 0, canvas.width, canvas.height)
  const blob = await /** @type {Promise<Blob>} */ (new Promise((resolve) => { canvas.toBlob(/** @type {BlobCallback} */ (resolve), "image/jpeg", 0.92) }))
  /** @param {number[]} point */
  const inPart = ([x, y]) => [(x - left) * factor, (y - top) * factor]
  /** @param {number[]} point */
  const inPhoto = ([x, y]) => [x / factor + left, y / factor + top]
  return { photo, box, blob, inPart, inPhoto }
}

/** A data URL as a Blob. The page's policy allows no fetch of it. @param {string} dataUrl */
export function blobOf(dataUrl) {
  const [head, encoded] = dataUrl.split(",")
  const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0))
  return new Blob([bytes], { type: head.slice("data:".length).split(";")[0] })
}

/** What painted on the mask `before`, or erased from it, gives `after`; all are white on black and of one size. A grey that
 *  is painted twice would become lighter. Null where nothing but greys of soft edges changes.
 *  @param {Blob} before @param {Blob} after @param {boolean} erases @returns {Promise<Blob | null>} */
export async function changeBetween(before, after, erases) {
  const [first, second] = await Promise.all([before, after].map(pixelsOf))
  const { data } = first
  let isEmpty = true
  for (let i = 0; i < data.length; i += 4) {
    const change = changeOf(data[i], second.data[i], erases)
    isEmpty &&= change < 128
    data.fill(change, i, i + 3)
  }
  if (isEmpty) return null
  const canvas = document.createElement("canvas")
  canvas.width = first.width
  canvas.height = first.height
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"))
  context.putImageData(first, 0, 0)
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png") })
}

/** @param {Blob} blob */
async function pixelsOf(blob) {
  const bitmap = await createImageBitmap(blob)
  const canvas = document.createElement("canvas")
  canvas.width = bitmap.width
  canvas.height = bitmap.height
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"))
  context.drawImage(bitmap, 0, 0)
  bitmap.close()
  return context.getImageData(0, 0, canvas.width, canvas.height)
}
