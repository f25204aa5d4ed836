// The photo with the red mask over it: two canvases of the screen's size, and one of the photo's size behind them.
//
// `mask` holds the drawn marks at the photo's size (at most 4096 a side: phones refuse more); the mask for the
// server is drawn from the marks at full size.

import { Refused } from "editor/files"
import { coverage, draw, drawForServer, drawLine } from "editor/mask"
import { fit, pan, toScreen, zoomAt } from "editor/viewport"

const LARGEST_SIDE = 4096
const SAMPLE_SIDE = 2048
const RED = "#ff2d46"
const OVERLAY_OPACITY = 0.55
const CRISP_FROM = 3 // CSS pixels per photo pixel from which single pixels are shown as squares

export class Stage {
  #photo = null
  #viewport = { scale: 1, left: 0, top: 0 }
  #fitted = true
  #frame = 0
  #mask = document.createElement("canvas")
  #preview = null
  #previewUrl = ""
  #elements

  /** `elements` is {surface, photo, overlay, cursor}; `onView(viewport, photo)` is called when the photo moves or is zoomed. */
  constructor(elements, onView) {
    this.#elements = elements
    this.onView = onView
    new ResizeObserver(() => this.#resize()).observe(elements.surface)
  }

  get viewport() {
    return this.#viewport
  }

  /** The minimum scale: half of the scale at which the photo fits the stage. */
  get minScale() {
    return this.#photo ? fit(this.#photo, this.#free()).scale / 2 : 1
  }

  setViewport(viewport) {
    if (!this.#photo) return
    this.#viewport = viewport
    this.#fitted = false
    this.#redrawAll()
  }

  /** Zooms around the middle of what is free of the panels. */
  zoomBy(factor) {
    const { left, top, width, height } = this.#free()
    this.setViewport(zoomAt(this.#viewport, { left: left + width / 2, top: top + height / 2 }, factor, this.minScale))
  }

  open(photo) {
    this.#photo?.bitmap.close()
    this.#photo = photo
    const scale = Math.min(1, LARGEST_SIDE / Math.max(photo.width, photo.height))
    this.#mask.width = Math.max(1, Math.round(photo.width * scale))
    this.#mask.height = Math.max(1, Math.round(photo.height * scale))
    this.fit()
  }

  fit() {
    if (!this.#photo) return
    const free = this.#free()
    this.#viewport = pan(fit(this.#photo, free), free)
    this.#fitted = true
    this.#redrawAll()
  }

  drawMarks(marks) {
    if (!this.#photo) return
    draw(this.#maskContext(), marks, this.#photo, RED)
    this.#redrawOverlay()
  }

  /** A stroke that is still being made: only its newest piece is drawn. */
  drawGrowing(stroke) {
    const context = this.#maskContext()
    context.save()
    context.globalCompositeOperation = stroke.erases ? "destination-out" : "source-over"
    context.fillStyle = context.strokeStyle = RED
    drawLine(context, stroke.points.slice(-2), stroke.size)
    context.restore()
    this.#redrawOverlay()
  }

  /**
   * Shows an unfinished picture inside the mask, in the place of the red. @param {{url: string, box: number[]}} preview:
   * the part of the photo that it shows, as left, top, right and bottom in its pixels.
   */
  async showPreview({ url, box: [left, top, right, bottom] }) {
    const picture = new Image()
    picture.src = this.#previewUrl = url
    await picture.decode()
    if (this.#previewUrl !== url) return // a newer one came, or the generation ended
    const canvas = document.createElement("canvas")
    Object.assign(canvas, { width: this.#mask.width, height: this.#mask.height })
    const context = canvas.getContext("2d")
    context.drawImage(this.#mask, 0, 0)
    context.globalCompositeOperation = "source-in" // only where the mask is
    context.imageSmoothingQuality = "high"
    context.scale(canvas.width / this.#photo.width, canvas.height / this.#photo.height)
    context.drawImage(picture, left, top, right - left, bottom - top)
    this.#preview = canvas
    this.#redrawOverlay()
  }

  hidePreview() {
    this.#previewUrl = ""
    if (!this.#preview) return
    this.#preview = null
    this.#redrawOverlay()
  }

  /** The share of the photo that is red, 0 to 1. */
  coverage() {
    const scale = Math.min(1, SAMPLE_SIDE / Math.max(this.#mask.width, this.#mask.height))
    const sample = document.createElement("canvas")
    sample.width = Math.ceil(this.#mask.width * scale)
    sample.height = Math.ceil(this.#mask.height * scale)
    const context = sample.getContext("2d", { willReadFrequently: true })
    context.drawImage(this.#mask, 0, 0, sample.width, sample.height)
    return coverage(context.getImageData(0, 0, sample.width, sample.height).data)
  }

  /** The mask as the API takes it: a PNG of the photo's size, white kept, black repainted. @returns {Promise<Blob>} */
  async exportMask(marks) {
    const { width, height } = this.#photo
    const canvas = document.createElement("canvas")
    Object.assign(canvas, { width, height })
    drawForServer(canvas.getContext("2d"), marks, { width, height })
    const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png") })
    if (!blob) throw new Refused("This photo is too large for this browser to make a mask for.")
    return blob
  }

  /** Shows the brush as a ring of its true size; null hides it. */
  showCursor(screenPoint, size) {
    const { cursor } = this.#elements
    cursor.hidden = !screenPoint || !this.#photo
    if (cursor.hidden) return
    const diameter = Math.max(3, size * this.#viewport.scale)
    cursor.style.width = cursor.style.height = `${diameter}px`
    cursor.style.transform = `translate(${screenPoint.left - diameter / 2}px, ${screenPoint.top - diameter / 2}px)`
  }

  #box() {
    return { width: this.#elements.surface.clientWidth, height: this.#elements.surface.clientHeight }
  }

  /** The part of the stage inside its padding, which leaves room for what floats over it. */
  #free() {
    const { paddingLeft, paddingTop, paddingRight, paddingBottom } = getComputedStyle(this.#elements.surface)
    const [left, top] = [parseFloat(paddingLeft), parseFloat(paddingTop)]
    const { width, height } = this.#box()
    return { left, top, width: width - left - parseFloat(paddingRight), height: height - top - parseFloat(paddingBottom) }
  }

  #resize() {
    if (this.#fitted) this.fit()
    else this.#redrawAll()
  }

  #maskContext() {
    const context = this.#mask.getContext("2d")
    context.setTransform(this.#mask.width / this.#photo.width, 0, 0, this.#mask.height / this.#photo.height, 0, 0)
    return context
  }

  #redrawAll() {
    if (!this.#photo || !this.#box().width) return
    this.onView(this.#viewport, this.#photo)
    this.#drawOn(this.#elements.photo, this.#photo.bitmap, 1)
    this.#drawOverlay()
  }

  #redrawOverlay() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0
      this.#drawOverlay()
    })
  }

  #drawOverlay() {
    if (this.#preview) this.#drawOn(this.#elements.overlay, this.#preview, 1)
    else this.#drawOn(this.#elements.overlay, this.#mask, OVERLAY_OPACITY)
  }

  #drawOn(canvas, picture, opacity) {
    const box = this.#box()
    const density = window.devicePixelRatio || 1
    const [width, height] = [Math.round(box.width * density), Math.round(box.height * density)]
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height })
    const context = canvas.getContext("2d")
    context.setTransform(density, 0, 0, density, 0, 0)
    context.clearRect(0, 0, box.width, box.height)
    context.globalAlpha = opacity
    context.imageSmoothingEnabled = this.#viewport.scale < CRISP_FROM
    context.imageSmoothingQuality = "high"
    const { left, top } = toScreen(this.#viewport, { x: 0, y: 0 })
    const { scale } = this.#viewport
    context.drawImage(picture, left, top, this.#photo.width * scale, this.#photo.height * scale)
  }
}
