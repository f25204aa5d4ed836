// The photo on the stage with its mask. Operations are drawn by a worker (raster/worker.js); what changed comes back and
// is painted. All methods that change the mask return at once; `drawn()` and the questions wait for those before them.

import { extended } from "editor/document/operations"
import { get } from "editor/document/images"
import { sizeOf } from "editor/tools/frame_geometry"
import { COLOUR } from "editor/view/overlay"
import { Painter } from "editor/view/painter"
import { touch } from "editor/view/screen"
import { fit, pan, toImage, zoomAt } from "editor/view/viewport"

const FRAME_ROOM = 44 // CSS pixels around the frame: a finger's width to drag an edge outward
const TILE_SIDE = 256 // pixels of a display tile (raster/levels.js)
const LARGEST_LEVEL = 8
const PREVIEW_SIDE = 128
const SNAPSHOT_BYTES = { phone: 48 * 2 ** 20, computer: 128 * 2 ** 20 }

/** @typedef {import("editor/document/operations").Operation} Operation */
/** @typedef {import("editor/document/operations").Stroke | import("editor/document/operations").Shape} Growing */
/** @typedef {import("editor/document/document").Frame} Frame */
/** @typedef {import("editor/raster/drawing").Patch} Patch */
/** @typedef {import("editor/raster/drawing").View} TileView */
/** @typedef {import("editor/tools/geometry").Size} Size */
/** @typedef {import("editor/view/viewport").Viewport} Viewport */
/** @typedef {{operation: Growing, pending: number[][], message: number}} Live  pending: points; message: the last one of it */
/** What is drawn. @typedef {{coverage: number, bytes: number, problems: string[]}} Drawn  bytes: memory of its snapshots */
/** @typedef {Drawn & {level?: number, patches: Patch[]}} Change */
/** A message of the worker; without an id it has display tiles only. needs: the id of an image that it needs.
 *  @typedef {Change & {id?: number, needs?: string, value?: unknown, error?: unknown}} Answer */

export class MaskView {
  isBroken = false // the worker could not be loaded, and nothing is drawn

  #surface
  #overlay
  #painter
  #worker = new Worker(import.meta.resolve("editor/raster/worker"), { type: "module" })
  /** @type {Size | null} */
  #photo = null
  /** @type {Viewport} */
  #viewport = { scale: 1, left: 0, top: 0 }
  /** @type {Frame | null} */
  #frame = null
  #isFitted = true
  /** @type {TileView | null} */
  #view = null // the display tiles that are asked for
  #sent = 0 // messages to the worker
  #answered = 0
  /** @type {Map<number, {resolve: (value: unknown) => void, reject: (error: unknown) => void}>} */
  #questions = new Map() // by their messages
  /** @type {(() => void)[]} */
  #waiting = [] // for all messages to be answered
  /** @type {Operation[]} */
  #operations = [] // those that the worker has
  #shown = 0 // how many of them are in effect
  #shownBy = 0 // the last message that said so
  /** @type {readonly Operation[] | null} */
  #next = null // operations to show when that is answered
  /** @type {Live | null} */
  #live = null // the operation that grows
  #coverage = 0
  #previewUrl = ""

  /** @param {{surface: HTMLElement, photo: HTMLCanvasElement, overlay: HTMLCanvasElement}} elements
   *  @param {{onView?: (viewport: Viewport, photo: Size) => void, onDrawn?: (drawn: Drawn) => void, onError?: () => void}} listeners onView(viewport, photo): the photo moved
   *  or was zoomed; onDrawn({coverage, bytes, problems}): the mask changed; bytes: memory of its snapshots;
   *  onError(): `isBroken` from now on */
  constructor({ surface, photo, overlay }, { onView = () => {}, onDrawn = () => {}, onError = () => {} } = {}) {
    this.#surface = surface
    this.#overlay = overlay
    this.onView = onView
    this.onDrawn = onDrawn
    this.#painter = new Painter({ photo, overlay }, () => this.#box())
    this.#worker.addEventListener("message", ({ data }) => this.#receive(data))
    this.#worker.addEventListener("error", () => {
      this.isBroken = true
      onError()
    })
    new ResizeObserver(() => this.#resize()).observe(surface)
  }

  // --- the photo on the stage ---

  get viewport() {
    return this.#viewport
  }

  /** The minimum scale: half of the scale at which the photo fits the stage; a small photo can be shown at 100 % too. */
  get minScale() {
    return this.#photo ? Math.min(1 / this.#painter.density, fit(this.#photo, this.free).scale / 2) : 1
  }

  /** @param {Viewport} viewport */
  setViewport(viewport) {
    if (!this.#photo) return
    this.#isFitted = false
    this.#moveTo(viewport)
  }

  /** Zooms around the middle of what is free of the panels. @param {number} factor */
  zoomBy(factor) {
    const { left, top, width, height } = this.free
    this.setViewport(zoomAt(this.#viewport, { left: left + width / 2, top: top + height / 2 }, factor, this.minScale))
  }

  fit() {
    if (!this.#photo) return
    const free = this.free
    this.#isFitted = true
    if (!this.#frame) return this.#moveTo(pan(fit(this.#photo, free), free))
    const framed = fit(sizeOf(this.#photo, this.#frame), free, FRAME_ROOM)
    const { left, top } = this.#frame
    this.#moveTo(pan(pan(framed, free), { left: left * framed.scale, top: top * framed.scale }))
  }

  /** Fits the outpainting frame instead of the photo, with room to drag its edges outward; null: the photo again.
   *  @param {Frame | null} frame */
  showFrame(frame) {
    if (JSON.stringify(frame) === JSON.stringify(this.#frame)) return
    this.#frame = frame
    if (this.#isFitted) this.fit()
  }

  /** @param {import("editor/view/overlay").Mode} mode */
  set mode(mode) {
    this.#painter.mode = mode
  }

  /** Opens a photo with an empty mask. @param {ImageBitmap} bitmap @param {{width: number, height: number, shown: Blob}} photo
   *  @param {{keepView?: boolean}} options keepView: it takes the place of the one before, if it has its size */
  open(bitmap, { width, height, shown }, { keepView = false } = {}) {
    const stays = keepView && width === this.#photo?.width && height === this.#photo?.height
    this.#photo = { width, height }
    this.#operations = []
    this.#shown = 0
    this.#next = null
    this.#live = null
    this.#view = null
    this.#coverage = 0
    this.#painter.open(bitmap, this.#photo)
    const colour = (COLOUR.blue << 16) | (COLOUR.green << 8) | COLOUR.red
    this.#send({ type: "open", width, height, photo: shown, colour, snapshotBytes: SNAPSHOT_BYTES[touch.matches ? "phone" : "computer"] })
    if (stays) this.#moveTo(this.#viewport)
    else this.fit()
  }

  /**
   * Shows an unfinished image inside the mask, in the place of the red. @param {{url: string, box: number[]}} preview:
   * the part of the photo that it shows, as left, top, right and bottom in its pixels.
   */
  async showPreview({ url, box }) {
    const image = new Image()
    image.src = this.#previewUrl = url
    await image.decode()
    if (this.#previewUrl === url) this.#painter.preview = { image, box } // otherwise a newer one came, or the generation ended
  }

  /** Shows an image to insert in the mask, and dimmed around it; null: none.
   *  @param {import("editor/view/painter").Insert | null} insert */
  set insert(insert) {
    this.#painter.insert = insert
  }

  hidePreview() {
    this.#previewUrl = ""
    this.#painter.preview = null
  }

  // --- the mask ---

  /** Shows the mask that these operations make. While the worker draws, only the last call waits to be drawn.
   *  @param {readonly Operation[]} operations */
  show(operations) {
    this.#next = operations
    if (this.#live || this.#answered >= this.#shownBy) this.#showNext()
  }

  /** Begins an operation that grows: a stroke or a shape with its first points. `show` with it, after `end`, is instant.
   *  @param {Growing} operation */
  begin(operation) {
    this.#showNext()
    this.#live = { operation: { ...operation, points: [...operation.points] }, pending: [], message: this.#send({ type: "begin", operation }) }
  }

  /** Adds points, as `extended` in operations.js. @param {number[][]} points */
  extend(points) {
    if (!this.#live) return
    this.#live.operation.points = extended(this.#live.operation, points)
    this.#live.pending.push(...points)
    if (this.#answered >= this.#live.message) this.#sendPoints()
  }

  end() {
    if (!this.#live) return
    if (this.#live.pending.length) this.#sendPoints()
    this.#operations = [...this.#operations.slice(0, this.#shown), this.#live.operation]
    this.#shown = this.#operations.length
    this.#live = null
    this.#send({ type: "end" })
  }

  /** Drops the operation that grows. */
  cancel() {
    if (!this.#live) return
    this.#live = null
    this.#send({ type: "cancel" })
  }

  /** Resolves when all operations are drawn. */
  async drawn() {
    if (this.#answered < this.#sent) await /** @type {Promise<void>} */ (new Promise((resolve) => { this.#waiting.push(resolve) }))
  }

  /** The share of the photo that is repainted, 0 to 1, of what is drawn. */
  coverage() {
    return this.#coverage
  }

  /** @returns {Promise<{covered: number, count: number, largest: number}>} the share that is repainted, the number of
   *  separate parts, and the pixels of the largest */
  specks() {
    return this.#ask({ type: "specks" })
  }

  /** The bounds of what is repainted, also in part: left, top, right and bottom in pixels of the photo; null for none.
   *  @returns {Promise<number[] | null>} */
  bounds() {
    return this.#ask({ type: "bounds" })
  }

  /** The mask at a point of the photo, 0 to 255. @param {number} x @param {number} y @returns {Promise<number>} */
  at(x, y) {
    return this.#ask({ type: "at", x, y })
  }

  /** The mask as a PNG of the photo's size. @param {0 | 255} marked  the grey of what is repainted; 0 as the API takes a mask
   *  @returns {Promise<Blob>} */
  png(marked = 0) {
    return this.#ask({ type: "png", marked })
  }

  /** A copy of the mask of at most `side` pixels: black where it repaints, clear elsewhere.
   *  @param {number} side @returns {Promise<{width: number, height: number, rgba: Uint8ClampedArray<ArrayBuffer>}>} */
  shape(side) {
    return this.#ask({ type: "thumbnail", side })
  }

  /** Draws the mask, whole, in a 128-pixel square with empty space beside it: black is repainted. @param {HTMLCanvasElement} canvas */
  async thumbnail(canvas) {
    const { width, height, rgba } = await this.shape(2 * PREVIEW_SIDE)
    const scale = PREVIEW_SIDE / Math.max(width, height)
    /** @type {[number, number, number, number]} */
    const place = [(PREVIEW_SIDE - width * scale) / 2, (PREVIEW_SIDE - height * scale) / 2, width * scale, height * scale]
    canvas.width = canvas.height = PREVIEW_SIDE
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"))
    context.fillStyle = "white"
    context.fillRect(...place)
    context.imageSmoothingQuality = "high"
    context.drawImage(await createImageBitmap(new ImageData(rgba, width, height)), ...place)
  }

  /** Reads a mask file. @param {Blob} file @param {string | null} known the part that is repainted, where that is known
   *  @returns {Promise<{width: number, height: number, repaints: import("editor/document/operations").MaskFile["repaints"], flat: boolean}>} flat: one colour only */
  inspect(file, known = null) {
    return this.#ask({ type: "inspect", file, known })
  }

  // --- the worker ---

  /** @param {object} message @returns {number} its id */
  #send(message) {
    this.#overlay.setAttribute("aria-busy", "true")
    this.#worker.postMessage({ ...message, id: ++this.#sent })
    return this.#sent
  }

  #showNext() {
    const operations = this.#next
    this.#next = null
    if (!operations) return
    const known = this.#operations
    const keep = operations.findIndex((operation, i) => i >= known.length || !isSame(known[i], operation))
    const added = keep < 0 ? [] : operations.slice(keep)
    this.#operations = [...operations, ...(added.length ? [] : known.slice(operations.length))]
    if (!added.length && !this.#live && this.#shown === operations.length) return
    this.#live = null
    this.#shown = operations.length
    this.#shownBy = this.#send({ type: "show", keep, added, count: operations.length })
  }

  /** @template T @param {object} message @returns {Promise<T>} */
  #ask(message) {
    this.#showNext()
    const id = this.#send(message)
    return new Promise((resolve, reject) => { this.#questions.set(id, { resolve: /** @type {(value: unknown) => void} */ (resolve), reject }) })
  }

  #sendPoints() {
    const live = /** @type {Live} */ (this.#live)
    live.message = this.#send({ type: "extend", points: live.pending })
    live.pending = []
  }

  /** @param {Answer} answer */
  #receive({ id, needs, value, error, ...drawn }) {
    if (needs) {
      get(needs).then((blob) => this.#worker.postMessage({ type: "image", id: needs, blob }))
      return
    }
    if (id === undefined) return this.#painter.take(/** @type {number} */ (drawn.level), drawn.patches)
    this.#answered = Math.max(this.#answered, id) // questions may be answered later
    const question = this.#questions.get(id)
    this.#questions.delete(id)
    if (error) (question?.reject ?? reportError)(error)
    else if (question) question.resolve(value)
    else this.#take(drawn)
    if (id >= this.#shownBy) this.#showNext()
    if (this.#live?.pending.length && id >= this.#live.message) this.#sendPoints()
    if (id < this.#sent) return
    this.#overlay.removeAttribute("aria-busy")
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** @param {Change} change */
  #take({ level, patches, coverage, bytes, problems }) {
    if (level !== undefined) this.#painter.take(level, patches)
    this.#coverage = coverage
    this.onDrawn({ coverage, bytes, problems })
  }

  // --- the viewport ---

  #box() {
    return { width: this.#surface.clientWidth, height: this.#surface.clientHeight }
  }

  /** The part of the stage inside its padding, which leaves room for what floats over it. */
  get free() {
    const { paddingLeft, paddingTop, paddingRight, paddingBottom } = getComputedStyle(this.#surface)
    const [left, top] = [parseFloat(paddingLeft), parseFloat(paddingTop)]
    const { width, height } = this.#box()
    const [right, bottom] = [width - parseFloat(paddingRight), height - parseFloat(paddingBottom)]
    return { left, top, right, bottom, width: right - left, height: bottom - top }
  }

  #resize() {
    if (this.#isFitted) this.fit()
    else this.#moveTo(this.#viewport)
  }

  /** @param {Viewport} viewport */
  #moveTo(viewport) {
    const { width, height } = this.#box()
    if (!this.#photo || !width) return
    this.#viewport = this.#painter.viewport = viewport
    const side = TILE_SIDE * 2 ** this.#levelAt(viewport)
    const [start, end] = [toImage(viewport, { left: 0, top: 0 }), toImage(viewport, { left: width, top: height })]
    const view = { // with one more tile on each side, for the next move
      level: this.#levelAt(viewport),
      left: Math.max(0, Math.floor(start.x / side) - 1), right: Math.min(Math.ceil(this.#photo.width / side), Math.ceil(end.x / side) + 1),
      top: Math.max(0, Math.floor(start.y / side) - 1), bottom: Math.min(Math.ceil(this.#photo.height / side), Math.ceil(end.y / side) + 1),
    }
    if (JSON.stringify(view) !== JSON.stringify(this.#view)) {
      if (view.level === this.#view?.level) this.#painter.keep(view)
      this.#view = view
      this.#send({ type: "view", view })
    }
    this.onView(viewport, this.#photo)
  }

  /** The level at which a pixel of the mask is at most one of the screen. @param {Viewport} viewport */
  #levelAt({ scale }) {
    return Math.max(0, Math.min(LARGEST_LEVEL, Math.floor(-Math.log2(scale * this.#painter.density))))
  }
}

/** Whether two operations are equal: the document's one is a copy of the one that grew.
 *  @param {unknown} a @param {unknown} b @returns {boolean} */
function isSame(a, b) {
  if (a === b) return true
  if (typeof a !== "object" || typeof b !== "object") return false
  const [one, other] = [/** @type {Record<string, unknown>} */ (a), /** @type {Record<string, unknown>} */ (b)]
  if (Array.isArray(a)) return a.length === other.length && a.every((value, i) => isSame(value, other[i]))
  const keys = Object.keys(other)
  return keys.length === Object.keys(one).length && keys.every((key) => key in one && isSame(one[key], other[key]))
}
