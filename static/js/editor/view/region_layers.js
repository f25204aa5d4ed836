// The regions of the form as coloured layers over the photo, beside its mask.

import { element } from "dom"

/** @typedef {import("editor/tools/geometry").Size} Size */

const SIDE = 1024 // of a layer, in pixels

export class RegionLayers {
  #element
  #mask
  /** @type {WeakMap<Blob, Map<string, Promise<HTMLCanvasElement>>>} */
  #made = new WeakMap() // by mask and colour
  /** @type {HTMLCanvasElement[]} */
  #shown = []
  /** @type {Size | null} */
  #photo = null
  #latest = 0

  /** @param {HTMLElement} root @param {import("editor/view/mask_view").MaskView} mask */
  constructor(root, mask) {
    this.#element = root
    this.#mask = mask
  }

  /** @param {{mask: Blob, colour: string}[]} layers @param {Size | null} photo */
  async show(layers, photo) {
    const number = ++this.#latest
    this.#photo = photo
    const canvases = await Promise.all(layers.map(({ mask, colour }) => this.#layerOf(mask, colour)))
    if (number !== this.#latest) return // others are to be shown by now
    if (canvases.length !== this.#shown.length || canvases.some((canvas, index) => canvas !== this.#shown[index])) this.#element.replaceChildren(...canvases)
    this.#shown = canvases
    this.place()
  }

  /** Puts the layers where the photo is. */
  place() {
    this.#element.hidden = !this.#photo || !this.#shown.length
    if (!this.#photo) return
    const { scale, left, top } = this.#mask.viewport
    Object.assign(this.#element.style, {
      width: `${this.#photo.width * scale}px`, height: `${this.#photo.height * scale}px`, transform: `translate(${left}px, ${top}px)`,
    })
  }

  /** @param {Blob} mask @param {string} colour */
  #layerOf(mask, colour) {
    const made = this.#made.get(mask) ?? new Map()
    this.#made.set(mask, made)
    if (!made.has(colour)) made.set(colour, tinted(mask, colour))
    return /** @type {Promise<HTMLCanvasElement>} */ (made.get(colour))
  }
}

/** A mask in one colour, clear outside it. @param {Blob} mask @param {string} colour
 *  @returns {Promise<HTMLCanvasElement>} */
async function tinted(mask, colour) {
  const bitmap = await createImageBitmap(mask)
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height))
  const canvas = element("canvas", { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) })
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }))
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  bitmap.close()
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height)
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16))
  for (let at = 0; at < pixels.data.length; at += 4) pixels.data.set([red, green, blue, pixels.data[at] * pixels.data[at + 3] / 255], at)
  context.putImageData(pixels, 0, 0)
  return canvas
}
