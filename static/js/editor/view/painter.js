// Paints the photo and the mask over it on two canvases of the screen's size, once a frame, and only what has changed.

import { COLOUR, OUTLINE_WIDTH, drawOverlay } from "editor/view/overlay"
import { touch } from "editor/view/screen"

const TILE_SIDE = 256 // pixels of a display tile (raster/levels.js)
const CRISP_FROM = 3 // CSS pixels per photo pixel from which single pixels are shown as squares
const OVERVIEW_SIDE = 2048 // the photo's copy for zoomed-out views
const LARGEST_ON_PHONES = 2 ** 24 // pixels of an image that is drawn: the limit of a canvas in iOS

/** @typedef {import("editor/view/placement").Box} Box */
/** @typedef {import("editor/raster/drawing").Patch} Patch */
/** A display tile; without a canvas it is full.
 *  @typedef {{column: number, row: number, canvas: HTMLCanvasElement | null, context?: CanvasRenderingContext2D}} Tile */
/** @typedef {{image: CanvasImageSource, box: number[]}} Preview  box: left, top, right, bottom in photo pixels */
/** @typedef {{image: CanvasImageSource, placement: import("editor/tools/insert_geometry").Placement,
 *   size: import("editor/tools/geometry").Size}} Insert  size: of the image that is inserted */

export class Painter {
  #photo // the canvases
  #overlay
  #frame = 0
  #isPhotoStale = false
  /** @type {Box | null} */
  #stale = null // the part of the overlay to paint, in device pixels
  /** @type {ImageBitmap | null} */
  #bitmap = null
  /** @type {HTMLCanvasElement | null} */
  #overview = null
  /** @type {import("editor/tools/geometry").Size | null} */
  #size = null
  /** @type {import("editor/view/viewport").Viewport} */
  #viewport = { scale: 1, left: 0, top: 0 }
  #level = 0
  /** @type {Map<string, Tile>} */
  #tiles = new Map() // by "column row"
  /** @type {import("editor/view/overlay").Mode} */
  #mode = "overlay"
  /** @type {Preview | null} */
  #preview = null
  /** @type {Insert | null} */
  #insert = null

  /** @param {{photo: HTMLCanvasElement, overlay: HTMLCanvasElement}} canvases one over the other
   *  @param {() => {width: number, height: number}} box their size in CSS pixels */
  constructor({ photo, overlay }, box) {
    this.#photo = photo
    this.#overlay = overlay
    this.box = box
    /** @type {(() => void) | null} */
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

  /** @param {import("editor/view/viewport").Viewport} viewport */
  set viewport(viewport) {
    this.#viewport = viewport
    this.#isPhotoStale = true
    this.#spoil(null)
  }

  /** @param {import("editor/view/overlay").Mode} mode */
  set mode(mode) {
    this.#mode = mode
    this.#spoil(null)
  }

  /** @param {Preview | null} preview */
  set preview(preview) {
    this.#preview = preview
    this.#spoil(null)
  }

  /** @param {Insert | null} insert */
  set insert(insert) {
    if (insert?.image === this.#insert?.image && JSON.stringify(insert?.placement) === JSON.stringify(this.#insert?.placement)) return
    this.#insert = insert
    this.#spoil(null)
  }

  /** Takes changed display tiles; those of another level replace all.
   *  @param {number} level @param {Patch[]} patches */
  take(level, patches) {
    if (level !== this.#level) {
      this.#tiles.clear()
      this.#level = level
      this.#spoil(null)
    }
    for (const patch of patches) {
      this.#takePatch(patch)
      this.#spoil(this.#placeOf(patch, /** @type {Box | undefined} */ (patch.box)))
    }
  }

  /** Drops the display tiles outside of a view. @param {Box} view */
  keep({ left, top, right, bottom }) {
    for (const [key, { column, row }] of this.#tiles) {
      if (column < left || column >= right || row < top || row >= bottom) this.#tiles.delete(key)
    }
  }

  /** Device pixels for one CSS pixel. */
  get density() {
    return window.devicePixelRatio || 1
  }

  /** @param {Patch} patch */
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
      const context = contextOf(canvas)
      if (tile) fillWith(context, 0, 0, TILE_SIDE, TILE_SIDE)
      tile = { column, row, canvas, context }
      this.#tiles.set(key, tile)
    }
    const { left, top, right } = /** @type {Box} */ (box)
    const pixels = new ImageData(/** @type {Uint8ClampedArray<ArrayBuffer>} */ (rgba), right - left)
    const context = /** @type {CanvasRenderingContext2D} */ (tile.context)
    context.putImageData(pixels, left, top)
  }

  /** Where a display tile, or a part of it in its pixels, is on the canvas: whole device pixels, so that tiles meet.
   *  @param {Pick<Tile, "column" | "row">} tile @param {Box} part @returns {Box} */
  #placeOf({ column, row }, { left, top, right, bottom } = { left: 0, top: 0, right: TILE_SIDE, bottom: TILE_SIDE }) {
    /** @param {number} x */
    const across = (x) => Math.round(this.density * (this.#viewport.left + (column * TILE_SIDE + x) * 2 ** this.#level * this.#viewport.scale))
    /** @param {number} y */
    const down = (y) => Math.round(this.density * (this.#viewport.top + (row * TILE_SIDE + y) * 2 ** this.#level * this.#viewport.scale))
    return { left: across(left), top: down(top), right: across(right), bottom: down(bottom) }
  }

  get #photoPlace() {
    const { scale, left, top } = this.#viewport
    const size = /** @type {import("editor/tools/geometry").Size} */ (this.#size)
    const [width, height] = [size.width * scale * this.density, size.height * scale * this.density]
    return { left: left * this.density, top: top * this.density, width, height }
  }

  /** Has a part of the overlay painted in the next frame; all of it for null. @param {Box | null} box */
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

  /** @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
  #fitToBox(canvas, width, height) {
    const [across, down] = [Math.round(width * this.density), Math.round(height * this.density)]
    if (canvas.width === across && canvas.height === down) return
    Object.assign(canvas, { width: across, height: down })
    this.#isPhotoStale = true
    this.#stale = union(this.#stale, { left: -Infinity, top: -Infinity, right: Infinity, bottom: Infinity })
  }

  #paintPhoto() {
    const context = contextOf(this.#photo)
    context.clearRect(0, 0, this.#photo.width, this.#photo.height)
    const { left, top, width, height } = this.#photoPlace
    const isSmall = !this.#bitmap || (this.#overview && width <= this.#overview.width)
    const image = /** @type {HTMLCanvasElement | ImageBitmap} */ (isSmall ? this.#overview : this.#bitmap)
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
    const stale = /** @type {Box} */ (this.#stale)
    const clip = {
      left: Math.max(0, stale.left - margin), right: Math.min(this.#overlay.width, stale.right + margin),
      top: Math.max(0, stale.top - margin), bottom: Math.min(this.#overlay.height, stale.bottom + margin),
    }
    if (clip.left >= clip.right || clip.top >= clip.bottom) return
    const context = contextOf(this.#overlay)
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
    const insert = this.#insert
    const drawInsert = insert && ((/** @type {CanvasRenderingContext2D} */ target) => this.#drawInsert(target, insert))
    drawOverlay(context, this.#mode, (target) => this.#drawTiles(target, clip), place, this.#previewIn(place), drawInsert)
    context.restore()
  }

  /** @param {import("editor/view/viewport").ScreenPoint} place */
  #previewIn({ left, top }) {
    if (!this.#preview) return null
    const scale = this.#viewport.scale * this.density
    const [x, y, right, bottom] = this.#preview.box
    return { image: this.#preview.image, place: [left + x * scale, top + y * scale, (right - x) * scale, (bottom - y) * scale] }
  }

  /** @param {CanvasRenderingContext2D} context @param {Insert} insert */
  #drawInsert(context, { image, placement: { x, y, width, rotation }, size }) {
    const scale = this.#viewport.scale * this.density
    const [across, down] = [width * scale, (width * size.height / size.width) * scale]
    context.save()
    context.imageSmoothingEnabled = true
    context.imageSmoothingQuality = "high"
    context.translate(this.#viewport.left * this.density + x * scale, this.#viewport.top * this.density + y * scale)
    context.rotate(rotation * Math.PI / 180)
    context.drawImage(image, -across / 2, -down / 2, across, down)
    context.restore()
  }

  /** @param {CanvasRenderingContext2D} context @param {Box} clip */
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

/** @param {HTMLCanvasElement} canvas */
const contextOf = (canvas) => /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"))

/** @param {CanvasRenderingContext2D} context @param {number} left @param {number} top @param {number} width @param {number} height */
function fillWith(context, left, top, width, height) {
  context.fillStyle = `rgb(${COLOUR.red} ${COLOUR.green} ${COLOUR.blue})`
  context.fillRect(left, top, width, height)
}

/** A smaller copy, or null where the image is small itself. @param {ImageBitmap} bitmap */
function overviewOf(bitmap) {
  const scale = OVERVIEW_SIDE / Math.max(bitmap.width, bitmap.height)
  return scale < 0.75 ? scaled(bitmap, scale) : null
}

/** @param {ImageBitmap} bitmap @param {number} scale */
function scaled(bitmap, scale) {
  const canvas = document.createElement("canvas")
  Object.assign(canvas, { width: Math.max(1, Math.floor(bitmap.width * scale)), height: Math.max(1, Math.floor(bitmap.height * scale)) })
  const context = contextOf(canvas)
  context.imageSmoothingQuality = "high"
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  return canvas
}

/** @param {Box | null} a @param {Box} b @returns {Box} */
function union(a, b) {
  if (!a) return b
  return { left: Math.min(a.left, b.left), top: Math.min(a.top, b.top), right: Math.max(a.right, b.right), bottom: Math.max(a.bottom, b.bottom) }
}
