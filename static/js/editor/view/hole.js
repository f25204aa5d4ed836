// What lies at the hole, the part of the photo that is repainted: a shimmer that passes over it while it is painted, and
// beside it a bar with the progress, then with what can be done with the result. Without room there the bar is docked.

import { isEmpty } from "editor/tools/frame_geometry"
import { visibleBox } from "editor/tools/geometry"
import { GAP, distance, placeBeside } from "editor/view/placement"
import { narrow } from "editor/view/screen"

const SIDE = 1024 // of the mask's copy that gives its shape
const NEAR_PHOTO = 160 // how far from the hole, in pixels of the page, the bar may lie beside the photo instead

/** @typedef {import("editor/view/placement").Box} Box */
/** @typedef {import("editor/tools/geometry").Size} Size */
/** @typedef {import("editor/document/document").Frame} Frame */
/** @typedef {import("editor/view/mask_view").MaskView} MaskView */

export class Hole {
  #elements
  #mask
  #isLocated = false
  #isPainting = false
  /** @type {Box | null} */
  #box = null // in pixels of the photo
  /** @type {Box | null} */
  #whole = null // the same of the photo with its frame
  #searches = 0

  /** `elements` is {bar, shimmer, zoom, dock, editor}; the shimmer lies on the surface. `mask` is the mask view.
   *  @param {Record<"bar" | "shimmer" | "zoom" | "dock" | "editor", HTMLElement>} elements @param {MaskView} mask */
  constructor(elements, mask) {
    this.#elements = elements
    this.#mask = mask
    new ResizeObserver(() => this.place()).observe(elements.bar)
  }

  /** Locates the hole. `frame`: of outpainting, which is painted too. @param {Size} photo @param {Frame} frame */
  async locate(photo, frame) {
    const { shimmer } = this.#elements
    const search = ++this.#searches
    this.#isLocated = false
    const { box, shape } = await shapeOf(this.#mask, photo, frame)
    if (search !== this.#searches) return URL.revokeObjectURL(shape)
    URL.revokeObjectURL(/** @type {string} */ (shimmer.dataset.shape))
    shimmer.dataset.shape = shape
    shimmer.style.maskImage = `url("${shape}")`
    this.#box = box
    this.#whole = { left: -frame.left, top: -frame.top, right: photo.width + frame.right, bottom: photo.height + frame.bottom }
    this.#isLocated = true
    shimmer.hidden = !this.#isPainting // painting may have ended meanwhile
    this.place()
  }

  /** The middle of the hole, in CSS pixels from the left of the surface; null where nothing was repainted. */
  get middle() {
    if (!this.#box) return null
    const { left, right } = this.#onSurface(this.#box)
    return (left + right) / 2
  }

  /** Painting begins: a shimmer passes over the hole, once that is located. */
  startShimmer() {
    const { shimmer, editor } = this.#elements
    delete editor.dataset.preview
    this.#isPainting = true
    shimmer.hidden = !this.#isLocated
    this.place()
  }

  /** A preview of the result is shown in the hole: the shimmer lets it be seen. */
  fadeShimmer() {
    this.#elements.editor.dataset.preview = "true"
  }

  /** Painting has ended. The hole stays where it is. */
  stopShimmer() {
    this.#isPainting = false
    this.#elements.shimmer.hidden = true
    delete this.#elements.editor.dataset.preview
  }

  /** Puts the shimmer and the bar where the hole is. Call it when the photo moves, and when the bar appears. */
  place() {
    const { bar, shimmer, zoom, dock } = this.#elements
    const hole = this.#box && this.#onSurface(this.#box)
    if (hole && !shimmer.hidden) {
      Object.assign(shimmer.style, {
        width: `${hole.right - hole.left}px`, height: `${hole.bottom - hole.top}px`, transform: `translate(${hole.left}px, ${hole.top}px)`,
      })
    }
    bar.dataset.docked = "false" // its size beside the hole
    const size = { width: bar.offsetWidth, height: bar.offsetHeight }
    if (!size.width) return
    const surface = /** @type {HTMLElement} */ (shimmer.parentElement).getBoundingClientRect()
    const { left, top, right, bottom } = zoom.getBoundingClientRect()
    const others = [{ left: left - surface.left, top: top - surface.top, right: right - surface.left, bottom: bottom - surface.top }]
    const free = this.#mask.free // above a dock of full height, which it has not beside a result
    free.bottom = Math.max(free.bottom, dock.getBoundingClientRect().top - surface.top - GAP)
    const place = hole && !narrow.matches ? this.#placeOf(size, hole, free, others) : null
    bar.dataset.docked = String(!place)
    bar.style.transform = place ? `translate(${Math.round(place.left + surface.left)}px, ${Math.round(place.top + surface.top)}px)` : ""
  }

  /** Beside the photo where that is near, so that the bar covers nothing of it, else beside the hole.
   *  @param {Size} size @param {Box} hole @param {Box} free @param {Box[]} others */
  #placeOf(size, hole, free, others) {
    const place = placeBeside(this.#onSurface(/** @type {Box} */ (this.#whole)), size, free, others)
    return place && distance(hole, place, size) <= NEAR_PHOTO ? place : placeBeside(hole, size, free, others)
  }

  /** @param {Box} box */
  #onSurface({ left, top, right, bottom }) {
    const { viewport } = this.#mask
    /** @param {number} x */
    const across = (x) => x * viewport.scale + viewport.left
    /** @param {number} y */
    const down = (y) => y * viewport.scale + viewport.top
    return { left: across(left), top: down(top), right: across(right), bottom: down(bottom) }
  }
}

/** The hole's box in pixels of the photo, null where there is none, and the URL of an image of its shape in that box.
 *  @param {MaskView} mask @param {Size} photo @param {Frame} frame */
async function shapeOf(mask, photo, frame) {
  const { width, height, rgba } = await mask.shape(SIDE)
  const scale = width / photo.width
  const canvas = document.createElement("canvas")
  canvas.width = Math.max(1, Math.round(width + scale * (frame.left + frame.right)))
  canvas.height = Math.max(1, Math.round(height + scale * (frame.top + frame.bottom)))
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }))
  context.fillRect(0, 0, canvas.width, canvas.height)
  if (mask.coverage() > 0 || !isEmpty(frame)) { // else the whole photo is repainted
    context.putImageData(new ImageData(rgba, width, height), Math.round(scale * frame.left), Math.round(scale * frame.top))
  }
  const found = visibleBox(canvas.width, canvas.height, context.getImageData(0, 0, canvas.width, canvas.height).data)
  if (!found) return { box: null, shape: "" }
  const [left, top, right, bottom] = found
  const box = { left, top, right, bottom }
  const cut = new OffscreenCanvas(box.right - box.left, box.bottom - box.top)
  const cutContext = /** @type {OffscreenCanvasRenderingContext2D} */ (cut.getContext("2d"))
  cutContext.drawImage(canvas, -box.left, -box.top)
  const inPhoto = { left: box.left / scale - frame.left, top: box.top / scale - frame.top, right: box.right / scale - frame.left, bottom: box.bottom / scale - frame.top }
  return { box: inPhoto, shape: URL.createObjectURL(await cut.convertToBlob()) }
}
