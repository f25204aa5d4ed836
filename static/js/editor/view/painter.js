// Paints the photo and the mask over it on two canvases of the screen's size, once a frame, and only what has changed.

import { COLOUR, OUTLINE_WIDTH, drawOverlay } from "editor/view/overlay"
import { touch } from "editor/view/screen"

const TILE_SIDE = 256 // pixels of a display tile (raster/levels.js)
const CRISP_FROM = 3 // CSS pixels per photo pixel from which single pixels are shown as squares
const OVERVIEW_SIDE = 2048 // the photo's copy for zoomed-out views
const LARGEST_ON_PHONES = 2 ** 24 // pixels of an image that is drawn: the limit of a canvas in iOS

export class Painter {
  #photo // the canvases
  #overlay
  #frame = 0
  #isPhotoStale = false
  #stale = null // the part of the overlay to paint, in device pixels
  #bitmap = null
  #overview = null
  #size = null
  #viewport = { scale: 1, left: 0, top: 0 }
  #level = 0
  #tiles = new Map() // "column row" -> {column, row, canvas, or isFull}
  #mode = "overlay"
  #preview = null

  /** @param {{photo: HTMLCanvasElement, overlay: HTMLCanvasElement}} canvases one over the other
   *  @param {() => {width: number, height: number}} box their size in CSS pixels */
  constructor({ photo, overlay }, box) {
    this.#photo = photo
    this.#overlay = overlay
    this.box = box
    this.onPainted = null
  }

  /** @param {ImageBitmap} bitmap closed when it is no longer needed @param {{width: number, height: number}} size the photo's */
  open(bitmap, size) {
    this.#bitmap?.close()
    this.#bitmap = bitmap
    this.#size = size
    this.#overview = overviewOf(bitmap)
    if (this.#overview && touch.matches && bitmap.width * bitmap.height > LARGEST_ON_PHONES) {
      this.#overview = scaled(bitmap, Math.sqrt(LARGEST_ON_PHONES / (bitmap.width * bitmap.height)))
      bitmap.close()
      this.#bitmap = null
    }
    this.#tiles.clear()
    this.#preview = null
  }

  set viewport(viewport) {
    this.#viewport = viewport
    this.#isPhotoStale = true
    this.#spoil(null)
  }

  set mode(mode) {
    this.#mode = mode
    this.#spoil(null)
  }

  /** @param {{image: CanvasImageSource, box: number[]} | null} preview box: left, top, right, bottom in photo pixels */
  set preview(preview) {
    this.#preview = preview
    this.#spoil(null)
  }

  /** Takes changed display tiles; those of another level replace all. @param {import("../raster/drawing.js").Patch[]} patches */
  take(level, patches) {
    if (level !== this.#level) {
      this.#tiles.clear()
      this.#level = level
      this.#spoil(null)
    }
    for (const patch of patches) {
      this.#takePatch(patch)
      this.#spoil(this.#placeOf(patch, patch.box))
    }
  }

  /** Drops the display tiles outside of a view. */
  keep({ left, top, right, bottom }) {
    for (const [key, { column, row }] of this.#tiles) {
      if (column < left || column >= right || row < top || row >= bottom) this.#tiles.delete(key)
    }
  }

  /** Device pixels for one CSS pixel. */
  get density() {
    return window.devicePixelRatio || 1
  }

  #takePatch({ column, row, value, box, rgba }) {
    const key = `${column} ${row}`
    if (value !== undefined) {
      if (value) this.#tiles.set(key, { column, row, canvas: null })
      else this.#tiles.delete(key)
      return
    }
    let tile = this.#tiles.get(key)
    if (!tile?.canvas) {
      const canvas = Object.assign(document.createElement("canvas"), { width: TILE_SIDE, height: TILE_SIDE })
      const context = canvas.getContext("2d")
      if (tile) fillWith(context, 0, 0, TILE_SIDE, TILE_SIDE)
      tile = { column, row, canvas, context }
      this.#tiles.set(key, tile)
    }
    tile.context.putImageData(new ImageData(rgba, box.right - box.left), box.left, box.top)
  }

  /** Where a display tile, or a part of it in its pixels, is on the canvas: whole device pixels, so that tiles meet. */
  #placeOf({ column, row }, { left, top, right, bottom } = { left: 0, top: 0, right: TILE_SIDE, bottom: TILE_SIDE }) {
    const across = (x) => Math.round(this.density * (this.#viewport.left + (column * TILE_SIDE + x) * 2 ** this.#level * this.#viewport.scale))
    const down = (y) => Math.round(this.density * (this.#viewport.top + (row * TILE_SIDE + y) * 2 ** this.#level * this.#viewport.scale))
    return { left: across(left), top: down(top), right: across(right), bottom: down(bottom) }
  }

  get #photoPlace() {
    const { scale, left, top } = this.#viewport
    const [width, height] = [this.#size.width * scale * this.density, this.#size.height * scale * this.density]
    return { left: left * this.density, top: top * this.density, width, height }
  }

  /** Has a part of the overlay painted in the next frame; all of it for null. */
  #spoil(box) {
    const whole = { left: -Infinity, top: -Infinity, right: Infinity, bottom: Infinity }
    this.#stale = union(this.#stale ?? box ?? whole, box ?? whole)
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0
      this.#paint()
    })
  }

  #paint() {
    const { width, height } = this.box()
    if (!this.#size || !width) return
    for (const canvas of [this.#photo, this.#overlay]) this.#fitToBox(canvas, width, height)
    if (this.#isPhotoStale) this.#paintPhoto()
    this.#isPhotoStale = false
    this.#paintOverlay()
    this.#stale = null
    this.onPainted?.()
  }

  #fitToBox(canvas, width, height) {
    const [across, down] = [Math.round(width * this.density), Math.round(height * this.density)]
    if (canvas.width === across && canvas.height === down) return
    Object.assign(canvas, { width: across, height: down })
    this.#isPhotoStale = true
    this.#stale = union(this.#stale, { left: -Infinity, top: -Infinity, right: Infinity, bottom: Infinity })
  }

  #paintPhoto() {
    const context = this.#photo.getContext("2d")
    context.clearRect(0, 0, this.#photo.width, this.#photo.height)
    const { left, top, width, height } = this.#photoPlace
    const isSmall = !this.#bitmap || (this.#overview && width <= this.#overview.width)
    const image = isSmall ? this.#overview : this.#bitmap
    context.imageSmoothingEnabled = this.#viewport.scale < CRISP_FROM
    context.imageSmoothingQuality = "high"
    const [scaleX, scaleY] = [image.width / width, image.height / height]
    const [from, to] = [Math.max(0, -left), Math.min(width, this.#photo.width - left)]
    const [above, below] = [Math.max(0, -top), Math.min(height, this.#photo.height - top)]
    if (from >= to || above >= below) return
    context.drawImage(image, from * scaleX, above * scaleY, (to - from) * scaleX, (below - above) * scaleY,
      left + from, top + above, to - from, below - above)
  }

  #paintOverlay() {
    const margin = 2 + OUTLINE_WIDTH // pixels beside a changed one can change with it
    const clip = {
      left: Math.max(0, this.#stale.left - margin), right: Math.min(this.#overlay.width, this.#stale.right + margin),
      top: Math.max(0, this.#stale.top - margin), bottom: Math.min(this.#overlay.height, this.#stale.bottom + margin),
    }
    if (clip.left >= clip.right || clip.top >= clip.bottom) return
    const context = this.#overlay.getContext("2d")
    context.save()
    context.beginPath()
    context.rect(clip.left, clip.top, clip.right - clip.left, clip.bottom - clip.top)
    context.clip()
    context.clearRect(clip.left, clip.top, clip.right - clip.left, clip.bottom - clip.top)
    const { left, top, width, height } = this.#photoPlace
    context.beginPath()
    context.rect(left, top, width, height)
    context.clip()
    context.imageSmoothingEnabled = this.#viewport.scale < CRISP_FROM
    const place = { left, top, width, height }
    drawOverlay(context, this.#mode, (target) => this.#drawTiles(target, clip), place, this.#previewIn(place))
    context.restore()
  }

  #previewIn({ left, top }) {
    if (!this.#preview) return null
    const scale = this.#viewport.scale * this.density
    const [x, y, right, bottom] = this.#preview.box
    return { image: this.#preview.image, place: [left + x * scale, top + y * scale, (right - x) * scale, (bottom - y) * scale] }
  }

  #drawTiles(context, clip) {
    for (const tile of this.#tiles.values()) {
      const { left, top, right, bottom } = this.#placeOf(tile)
      const isNear = right + OUTLINE_WIDTH > clip.left && left - OUTLINE_WIDTH < clip.right
        && bottom + OUTLINE_WIDTH > clip.top && top - OUTLINE_WIDTH < clip.bottom
      if (!isNear) continue
      if (tile.canvas) context.drawImage(tile.canvas, left, top, right - left, bottom - top)
      else fillWith(context, left, top, right - left, bottom - top)
    }
  }
}

function fillWith(context, left, top, width, height) {
  context.fillStyle = `rgb(${COLOUR.red} ${COLOUR.green} ${COLOUR.blue})`
  context.fillRect(left, top, width, height)
}

/** A smaller copy, or null where the image is small itself. */
function overviewOf(bitmap) {
  const scale = OVERVIEW_SIDE / Math.max(bitmap.width, bitmap.height)
  return scale < 0.75 ? scaled(bitmap, scale) : null
}

function scaled(bitmap, scale) {
  const canvas = document.createElement("canvas")
  Object.assign(canvas, { width: Math.max(1, Math.floor(bitmap.width * scale)), height: Math.max(1, Math.floor(bitmap.height * scale)) })
  const context = canvas.getContext("2d")
  context.imageSmoothingQuality = "high"
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  return canvas
}

function union(a, b) {
  if (!a) return b
  return { left: Math.min(a.left, b.left), top: Math.min(a.top, b.top), right: Math.max(a.right, b.right), bottom: Math.max(a.bottom, b.bottom) }
}
