// Regions in the form: parts of the photo with a prompt of their own. Each is the mask as it was when the region was added,
// without those before it: the mask grows from region to region, and is whole in the end.

import { fetchFile } from "api"
import { get, put } from "editor/document/images"
import { Loras } from "editor/form/loras"
import { reportErrors, showMessage } from "editor/form/messages"
import { gettext } from "text"

/** As the API takes it. @typedef {{prompt: string, weight?: number, loras?: import("editor/form/loras").Lora[]}} Region */
/** @typedef {import("editor/form/image_zone").Kept} Kept */
/** @typedef {import("editor/form/image_zone").Generation} Generation */
/** mask: white inside, null until it is loaded. @typedef {{row: HTMLElement, loras: Loras, mask: File | null, id: string}} Entry */
/** The place of a mask. @typedef {{image: string, kept: Kept | null, neededKind: () => null,
 *   fill: (kept: Kept | undefined) => Promise<void>, takeFrom: (generation: Generation) => Promise<void>}} MaskPlace */

/** Of the regions, in their order; none is near the red of the mask. */
const COLOURS = ["#2f7df6", "#1f9d55", "#d99a00", "#8b4fe0", "#00a0a8", "#d6489a", "#7a8b00", "#8a5a3c"]

const STRIP = 256 // rows

export class Regions {
  #root = /** @type {HTMLFieldSetElement} */ (document.getElementById("regions"))
  #list = /** @type {HTMLElement} */ (document.getElementById("regions-list"))
  #add = /** @type {HTMLButtonElement} */ (document.getElementById("region-add"))
  #template = /** @type {HTMLTemplateElement} */ (document.getElementById("region-template"))
  /** @type {Entry[]} */
  #entries = []
  /** @type {string[]} */
  #offered = [] // the slugs of the LoRAs that fit the model
  #onChange

  /** `names`: of the masks in the API. `currentMask` makes a file of the mask, white inside; null where nothing is marked.
   *  @param {string[]} names @param {{currentMask: () => Promise<Blob | null>, onChange: () => void}} options */
  constructor(names, { currentMask, onChange }) {
    this.#onChange = onChange
    this.images = names.map((image, index) => this.#placeOf(image, index))
    let isAdding = false // a second click meanwhile would add the same again
    this.#add.addEventListener("click", async () => {
      if (isAdding) return
      isAdding = true
      try {
        await reportErrors("regions", () => this.#addRegion(currentMask))
      } finally {
        isAdding = false
      }
    })
  }

  /** The masks with their colours, to be shown over the photo. @returns {{mask: File, colour: string}[]} */
  get layers() {
    return this.#read.map(({ mask }, index) => ({ mask: /** @type {File} */ (mask), colour: COLOURS[index] }))
  }

  /** As the API takes them; none where they have no effect. @returns {Region[]} */
  get chosen() {
    return this.#root.disabled ? [] : this.#read.map(regionOf)
  }

  /** All that is entered. @returns {Region[]} */
  get entered() {
    return this.#entries.map(regionOf)
  }

  /** For people: "Regions 2". */
  get labels() {
    return this.chosen.length ? [`${this.#root.dataset.label} ${this.chosen.length}`] : []
  }

  /** The first input that is out of range, or undefined. */
  get invalid() {
    const inputs = this.#entries.flatMap((entry) => Object.values(inputsOf(entry)))
    return inputs.find((input) => !input.checkValidity()) ?? this.#entries.map(({ loras }) => loras.invalid).find(Boolean)
  }

  /** The files to send, by the names of the API. @returns {Record<string, File>} */
  get files() {
    return Object.fromEntries(this.chosen.map((_, index) => [this.images[index].image, /** @type {File} */ (this.#read[index].mask)]))
  }

  /** Enters these, with masks to come: see `images`. @param {Region[]} regions */
  fill(regions) {
    this.#entries = []
    this.#list.replaceChildren()
    for (const region of regions.slice(0, this.images.length)) this.#append(region)
    this.show()
  }

  /** Offers each region the LoRAs with these slugs. @param {string[]} slugs */
  offer(slugs) {
    this.#offered = slugs
    for (const { loras } of this.#entries) loras.offer(slugs)
  }

  /** Greys them out where they have no effect. @param {string} reason */
  set ignored(reason) {
    this.#root.disabled = Boolean(reason)
    this.#root.classList.toggle("ignored", Boolean(reason))
    const place = /** @type {HTMLElement} */ (document.getElementById("regions-reason"))
    place.textContent = reason
    place.hidden = !reason
  }

  show() {
    this.#add.hidden = this.#entries.length >= this.images.length
    for (const [index, { row, loras }] of this.#entries.entries()) {
      const used = row.querySelector(".loras-used")
      if (used) used.textContent = loras.labels.join(" · ")
      const colour = /** @type {HTMLElement} */ (row.querySelector(".region-colour"))
      colour.style.backgroundColor = COLOURS[index]
      colour.textContent = String(index + 1)
    }
  }

  /** Removes all. */
  clear() {
    this.fill([])
  }

  /** @param {() => Promise<Blob | null>} currentMask */
  async #addRegion(currentMask) {
    const mask = await currentMask()
    const rest = mask && await without(mask, this.layers.map((layer) => layer.mask))
    if (!rest) return showMessage("regions", gettext("Mark the region with the brush first."))
    const entry = this.#append({ prompt: "" })
    await this.#take(entry, new File([rest], "region.png", { type: rest.type }))
    inputsOf(entry).prompt.focus()
  }

  /** Those whose mask is loaded. */
  get #read() {
    return this.#entries.filter(({ mask }) => mask)
  }

  /** @param {Region} region */
  #append({ prompt, weight = 1, loras: used = [] }) {
    const row = /** @type {HTMLElement} */ (/** @type {HTMLElement} */ (this.#template.content.firstElementChild).cloneNode(true))
    /** @type {Entry} */
    const entry = { row, loras: new Loras(/** @type {HTMLElement | null} */ (row.querySelector(".loras"))), mask: null, id: "" }
    entry.loras.offer(this.#offered)
    entry.loras.fill(used)
    const inputs = inputsOf(entry)
    inputs.prompt.value = prompt
    inputs.weight.value = weight === 1 ? "" : String(weight)
    row.querySelector("button")?.addEventListener("click", () => {
      this.#entries = this.#entries.filter((other) => other !== entry)
      row.remove()
      this.#add.focus()
      this.#changed()
    })
    this.#entries.push(entry)
    this.#list.append(row)
    return entry
  }

  /** @param {Entry} entry @param {File} mask */
  async #take(entry, mask) {
    entry.id = await put(mask)
    entry.mask = mask
    this.#changed()
  }

  #changed() {
    this.show()
    this.#onChange()
  }

  /** @param {string} image @param {number} index @returns {MaskPlace} */
  #placeOf(image, index) {
    const entryAt = () => this.#entries[index]
    return {
      image,
      get kept() {
        const entry = entryAt()
        return entry?.mask ? { image: entry.id, name: entry.mask.name } : null
      },
      neededKind: () => null,
      fill: async (kept) => {
        const entry = entryAt(), file = entry && kept?.image && await get(kept.image)
        if (file) await this.#take(entry, new File([file], /** @type {Kept} */ (kept).name, { type: file.type }))
      },
      takeFrom: async (generation) => {
        const entry = entryAt(), url = /** @type {string | undefined} */ (generation[image])
        if (entry && url) await reportErrors("regions", async () => this.#take(entry, await fetchFile(url, `${image}.png`)))
      },
    }
  }
}

/** @param {{row: HTMLElement}} entry */
function inputsOf({ row }) {
  const [prompt, weight] = /** @type {NodeListOf<HTMLInputElement>} */ (row.querySelectorAll("input"))
  return { prompt, weight }
}

/** @param {Entry} entry @returns {Region} */
function regionOf(entry) {
  const { prompt, weight } = inputsOf(entry), { chosen } = entry.loras
  return { prompt: prompt.value.trim(), ...(weight.value.trim() && { weight: Number(weight.value) }), ...(chosen.length && { loras: chosen }) }
}

/** A mask without what is in others; null where nothing is left. @param {Blob} mask @param {Blob[]} others @returns {Promise<Blob | null>} */
async function without(mask, others) {
  if (!others.length) return mask
  const left = await drawn(mask), { width, height } = left.canvas
  let isMarked = false
  const subtracted = await Promise.all(others.map((other) => drawn(other, left.canvas)))
  for (let top = 0; top < height; top += STRIP) { // not all pixels at once
    const rows = Math.min(STRIP, height - top)
    const strip = left.getImageData(0, top, width, rows)
    for (const other of subtracted) {
      const { data } = other.getImageData(0, top, width, rows)
      for (let at = 0; at < data.length; at++) if (at % 4 < 3) strip.data[at] -= data[at] // at least 0
    }
    isMarked ||= strip.data.some((value, at) => value && at % 4 === 0)
    left.putImageData(strip, 0, top)
  }
  return isMarked ? left.canvas.convertToBlob({ type: "image/png" }) : null
}

/** An image on a canvas of the size of another one, else of its own. @param {Blob} image @param {{width: number, height: number}} [size] */
async function drawn(image, size) {
  const bitmap = await createImageBitmap(image)
  const { width, height } = size ?? bitmap
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true }))
  context.fillRect(0, 0, width, height) // black where a mask is transparent
  context.drawImage(bitmap, 0, 0, width, height)
  bitmap.close()
  return context
}
