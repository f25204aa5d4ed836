// The image to insert in the form: its file, how it is used, and where it lies over the photo.

import { ImageZone } from "editor/form/image_zone"
import { drawPreview } from "editor/document/files"
import { placed } from "editor/tools/insert_geometry"
import { gettext } from "text"

const SHOWN_SIDE = 2048 // of the copy that is shown over the photo
const STRIP = 256 // rows
const PLACE = /** @type {const} */ (["x", "y", "width", "rotation"])

/** @typedef {import("editor/form/image_zone").Generation} Generation */
/** @typedef {import("editor/tools/insert_geometry").Placement} Placement */
/** @typedef {import("editor/tools/geometry").Size} Size */
/** How it is shown over the photo. @typedef {{image: HTMLCanvasElement, placement: Placement, size: Size}} Shown */

const NAME = "insert_image" // in the API

export class Insert extends ImageZone {
  #form
  #isWanted
  #onMove
  #onChosen
  #reason = /** @type {HTMLElement} */ (document.getElementById("insert-reason"))
  #name = /** @type {HTMLElement} */ (document.getElementById("insert-name"))
  #settings = /** @type {HTMLElement} */ (document.getElementById("insert-settings"))
  /** @type {HTMLCanvasElement | null} */
  #copy = null // of the file, to be shown over the photo
  #size = { width: 1, height: 1, isTransparent: false }
  /** @type {import("editor/view/window_outline").Marked | null} */
  #marked = null
  /** @type {Placement | null} */
  #preview = null
  /** @type {Record<string, string>} */
  #ignored = {}

  /** `isWanted()`: whether an image is to be inserted by the chosen task. `onMove`: it is shown in another place. `onChosen`:
   *  the person has chosen an image.
   *  @param {Pick<import("./image_zone.js").ZoneOptions, "limits" | "onChange"> & {form: import("editor/form/settings_form").Form,
   *    isWanted: () => boolean, onMove: () => void, onChosen: () => void}} options */
  constructor({ form, isWanted, onMove, onChosen, ...options }) {
    super({ ...options, image: NAME, id: "insert-image" })
    this.#form = form
    this.#isWanted = isWanted
    this.#onMove = onMove
    this.#onChosen = onChosen
    this.onRead = (/** @type {ImageBitmap} */ bitmap) => this.#read(bitmap)
    this.button = /** @type {HTMLElement} */ (document.getElementById("insert-button"))
  }

  /** As of the other lists of images in the form. */
  get images() {
    return [this]
  }

  /** The form can be sent without. */
  get problem() {
    return ""
  }

  /** As of a ConditioningImage: any kind is taken. @returns {null} */
  neededKind() {
    return null
  }

  /** Whether an image can be inserted now. */
  get isOffered() {
    return this.#isWanted()
  }

  /** The file that the chosen task inserts, by its name in the API: the plan says whether the engine reads it.
   *  @returns {Record<string, File>} */
  get wanted() {
    return this.chosen && this.#isWanted() ? { [NAME]: this.chosen } : {}
  }

  /** The files to send, by the names of the API. @returns {Record<string, File>} */
  get files() {
    return "insert_mode" in this.#ignored ? {} : this.wanted
  }

  get isSent() {
    return NAME in this.files
  }

  /** What is entered, by the names of the API. @returns {Record<string, string>} */
  get entered() {
    return Object.fromEntries(this.inputs.filter(({ value }) => value).map(({ name, value }) => [name, value]))
  }

  /** Its inputs: the place, and what is done with it. */
  get inputs() {
    return ["insert_mode", ...PLACE.map((name) => `insert_${name}`)].map((name) => this.#form.elements[name])
  }

  /** Why an image that is chosen is not placed, in a sentence; empty where it is. */
  get reason() {
    return NAME in this.wanted ? this.#ignored.insert_x ?? "" : ""
  }

  /** Why settings have no effect, as the plan says. @param {Record<string, string>} ignored */
  set ignored(ignored) {
    this.#ignored = ignored
  }

  /** What the mask marks. @param {import("editor/view/window_outline").Marked | null} marked */
  set marked(marked) {
    if (JSON.stringify(marked) === JSON.stringify(this.#marked)) return
    this.#marked = marked
    this.#showPlace()
    this.#onMove()
  }

  /** Where it lies; null where it is not placed, or nothing is marked. @returns {{placement: Placement, size: Size} | null} */
  get placed() {
    if (!this.isSent || this.#ignored.insert_x || !this.#marked) return null
    return { placement: placed(this.#given, this.#size, this.#grown(this.#marked)), size: this.#size }
  }

  /** How it is shown over the photo; null where it is not placed. @returns {Shown | null} */
  get shown() {
    const { placed } = this
    return placed && this.#copy && { ...placed, placement: this.#preview ?? placed.placement, image: this.#copy }
  }

  /** Shows it in another place, which is not entered; null: where it lies. @param {Placement | null} placement */
  preview(placement) {
    if (this.#preview === placement) return
    this.#preview = placement
    this.#onMove()
  }

  /** Enters where it lies. @param {Placement} placement */
  place(placement) {
    for (const name of PLACE) this.#input(name).value = String(placement[name])
    this.#form.dispatchEvent(new Event("input"))
    this.#onMove()
  }

  /** Puts it where the server does by itself. */
  resetPlacement() {
    for (const name of PLACE) this.#input(name).value = ""
    this.#form.dispatchEvent(new Event("input"))
    this.#onMove()
  }

  /** Takes the file that the person chose, in a place of its own. @param {File} file */
  async choose(file) {
    const before = this.chosen
    await this.take(file)
    if (!this.chosen || this.chosen === before) return // it was refused
    this.resetPlacement()
    this.#onChosen()
  }

  /** @param {ImageBitmap} bitmap */
  #read(bitmap) {
    const { width, height } = bitmap
    this.#size = { width, height, isTransparent: isTransparent(bitmap) }
    const scale = Math.min(1, SHOWN_SIDE / Math.max(width, height))
    this.#copy = Object.assign(document.createElement("canvas"), { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) })
    const context = /** @type {CanvasRenderingContext2D} */ (this.#copy.getContext("2d"))
    context.imageSmoothingQuality = "high"
    context.drawImage(bitmap, 0, 0, this.#copy.width, this.#copy.height)
    drawPreview(/** @type {HTMLCanvasElement} */ (this.button.querySelector("canvas")), bitmap)
  }

  /** Loads the image of an earlier generation, given as the API returns it. @param {Generation} generation */
  async takeFrom(generation) {
    await this.takeUrl(generation[NAME])
  }

  /** Removes the image and its place. */
  clear() {
    for (const input of this.inputs) input.value = ""
    this.forget()
  }

  show() {
    this.showZone(gettext("Drop an image here, paste it, or choose one"))
    this.#settings.hidden = !this.chosen
    this.button.classList.toggle("chosen", Boolean(this.chosen))
    const label = this.chosen ? gettext("Image to insert: {name}", { name: this.chosen.name }) : gettext("Insert an image")
    this.button.title = label
    this.button.setAttribute("aria-label", label)
    this.#name.textContent = this.chosen?.name ?? label
    const { reason } = this
    this.#reason.textContent = reason
    this.#reason.hidden = !reason
    this.#showPlace()
  }

  /** Shows in the empty inputs of the place what is used there. */
  #showPlace() {
    const placement = this.placed?.placement
    for (const name of PLACE) {
      const input = /** @type {HTMLInputElement} */ (this.#input(name))
      input.placeholder = placement ? String(placement[name]) : ""
    }
  }

  /** @returns {import("editor/tools/insert_geometry").Given} */
  get #given() {
    const [x, y, width, rotation] = PLACE.map((name) => this.#input(name)).map(({ value }) => (value.trim() && Number.isFinite(Number(value)) ? Number(value) : null))
    return { x, y, width: width && Math.max(1, width), rotation }
  }

  /** The bounds of the mask once it has grown or shrunk as the form says. @param {import("editor/view/window_outline").Marked} marked */
  #grown({ mask_box: [left, top, right, bottom], image_size: [width, height] }) {
    const entered = Number(this.#form.elements.mask_grow.value) || 0
    const grow = 2 * entered > -Math.min(right - left, bottom - top) ? entered : 0 // else nothing would be left of it
    return [Math.max(0, left - grow), Math.max(0, top - grow), Math.min(width, right + grow), Math.min(height, bottom + grow)]
  }

  /** @param {typeof PLACE[number]} name */
  #input(name) {
    return this.#form.elements[`insert_${name}`]
  }
}

/** Whether any pixel is transparent, also in part. @param {ImageBitmap} bitmap */
function isTransparent(bitmap) {
  const { width, height } = bitmap
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(width, Math.min(STRIP, height)).getContext("2d", { willReadFrequently: true }))
  for (let top = 0; top < height; top += STRIP) { // not all pixels at once
    const rows = Math.min(STRIP, height - top)
    context.clearRect(0, 0, width, rows)
    context.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows)
    const { data } = context.getImageData(0, 0, width, rows)
    for (let at = 3; at < data.length; at += 4) if (data[at] < 255) return true
  }
  return false
}
