// One image of the form beside the photo: where it is dropped, its preview and its name, and keeping it with the draft.

import { fetchFile } from "api"
import { dropzone } from "dropzone"
import { get, put } from "editor/document/images"
import { drawPreview, readPhoto } from "editor/document/files"
import { reportErrors } from "editor/form/messages"

/** @typedef {{image: string, name: string}} Kept  a file as the draft keeps it, by its id */
/** @typedef {Record<string, unknown>} Generation  as the API returns it */
/** @typedef {{image: string, id: string, limits: ReturnType<typeof import("editor/document/files").photoLimits>,
 *   onChange: () => void}} ZoneOptions */

export class ImageZone {
  #limits
  #onChange
  #fileId = ""
  /** @type {((bitmap: ImageBitmap) => void) | null} */
  onRead = null // called with the image of each file that is taken

  /** `image` names the file in the API, `id` is the prefix of the elements' ids; `onChange` is called when one comes or goes.
   *  @param {ZoneOptions} options */
  constructor({ image, id, limits, onChange }) {
    this.image = image
    this.id = id
    this.root = /** @type {HTMLElement} */ (document.getElementById(`${id}-field`))
    /** @type {File | null} */
    this.chosen = null
    this.#limits = limits
    this.#onChange = onChange
    dropzone(this.#zone, this.#input, ([file]) => this.choose(file))
    this.#part("button").addEventListener("click", () => {
      this.forget()
      this.focus() // the button is gone
    })
  }

  focus() {
    this.#input.focus()
  }

  get isHidden() {
    return this.root.hidden
  }

  /** Takes the file that the person chose. @param {File} file */
  async choose(file) {
    await this.take(file)
  }

  /** @param {File} file */
  async take(file) {
    await reportErrors(this.id, async () => {
      const { bitmap } = await readPhoto(file, this.#limits)
      drawPreview(/** @type {HTMLCanvasElement} */ (this.#zone.querySelector("canvas")), bitmap)
      this.onRead?.(bitmap)
      bitmap.close()
      this.#fileId = await put(file)
      this.chosen = file
      this.changed()
    })
  }

  /** Takes the image at a URL of the API; none without one. @param {unknown} url */
  async takeUrl(url) {
    this.forget()
    if (url) await reportErrors(this.id, async () => this.take(await fetchFile(/** @type {string} */ (url), `${this.id}.png`)))
  }

  /** The chosen file as the draft keeps it: {image: its id, name}; null without one. @returns {Kept | null} */
  get kept() {
    return this.chosen && { image: this.#fileId, name: this.chosen.name }
  }

  /** Chooses what `kept` gave; nothing where that is missing. @param {Kept | undefined} kept */
  async fill(kept) {
    if (this.chosen && this.#fileId === kept?.image) return
    this.forget()
    const file = kept?.image && await get(kept.image)
    if (file) await this.take(new File([file], /** @type {Kept} */ (kept).name, { type: file.type }))
  }

  forget() {
    if (!this.chosen) return
    this.chosen = null
    this.changed()
  }

  /** Shows the file, or `hint` where there is none; nothing where the hint is empty. @param {string} hint */
  showZone(hint) {
    this.#zone.hidden = !hint
    this.#part(".mask-empty").hidden = Boolean(this.chosen)
    this.#part(".mask-file").hidden = !this.chosen
    const name = this.#part(".mask-name")
    name.textContent = name.title = this.chosen?.name ?? ""
    this.#part(`#${this.id}-wanted`).textContent = hint
  }

  show() {}

  changed() {
    this.show()
    this.#onChange()
  }

  get #zone() {
    return /** @type {HTMLElement} */ (document.getElementById(`${this.id}-zone`))
  }

  get #input() {
    return /** @type {HTMLInputElement} */ (this.#zone.querySelector("input"))
  }

  /** @param {string} selector */
  #part(selector) {
    return /** @type {HTMLElement} */ (this.#zone.querySelector(selector))
  }
}
