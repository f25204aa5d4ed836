// “Describe the photo”: fills the prompt with words for it (POST /api/captions/). Ctrl+Z in the prompt takes them back.

import { post } from "api"
import { reportErrors } from "editor/form/messages"
import { cut } from "editor/tools/object/finder"
import { gettext } from "text"

const SIDE = 512 // what captioners see of it, or less

/** @typedef {{button: HTMLButtonElement, prompt: HTMLTextAreaElement, message: HTMLElement}} Elements */
/** @typedef {{id: string, bitmap: ImageBitmap, width: number, height: number}} Photo */

export class Describe {
  #elements
  #current
  #isBusy = false

  /** `elements` is {button, prompt, message}; `current()` is the photo, or null; `mayChange()`: whether the form may change.
   *  @param {Elements} elements @param {{current: () => Photo | null, mayChange: () => boolean}} options */
  constructor(elements, { current, mayChange }) {
    this.#elements = elements
    this.#current = { photo: current, mayChange }
    elements.button.addEventListener("click", () => reportErrors("prompt", () => this.#describe()))
    elements.prompt.addEventListener("input", () => this.#showStatus(""))
    new MutationObserver(() => this.refresh()).observe(elements.prompt, { attributeFilter: ["disabled"] })
  }

  refresh() {
    const { button, prompt } = this.#elements
    const reason = !this.#current.photo() ? gettext("First drop or choose a photo.") : prompt.disabled ? gettext("The chosen engine reads no prompt.") : ""
    button.disabled = this.#isBusy || Boolean(reason) || !this.#current.mayChange()
    button.title = reason || gettext("Describe the photo: its words become the prompt")
  }

  async #describe() {
    const photo = /** @type {Photo} */ (this.#current.photo())
    this.#setBusy(true)
    this.#showStatus(gettext("Looking at the photo…"))
    try {
      const form = new FormData()
      form.append("image", (await cut(photo.bitmap, photo.id, [0, 0, photo.width, photo.height], SIDE)).blob, "photo.jpg")
      const { caption, captioner } = await post(/** @type {string} */ (this.#elements.button.dataset.url), form)
      if (this.#current.photo()?.id !== photo.id) return this.#showStatus("")
      this.#write(caption)
      this.#showStatus(inWords(captioner, this.#elements.button.dataset))
    } catch (error) {
      this.#showStatus("")
      throw error
    } finally {
      this.#setBusy(false)
    }
  }

  /** As if it were typed, so that the browser's undo knows it. @param {string} text */
  #write(text) {
    const { prompt } = this.#elements
    prompt.focus()
    prompt.select()
    document.execCommand("insertText", false, text)
  }

  /** @param {boolean} isBusy */
  #setBusy(isBusy) {
    this.#isBusy = isBusy
    this.#elements.button.setAttribute("aria-busy", String(isBusy))
    this.refresh()
  }

  /** @param {string} text */
  #showStatus(text) {
    this.#elements.message.textContent = text
    this.#elements.message.hidden = !text
  }
}

/** @param {string} captioner @param {DOMStringMap} dataset */
const inWords = (captioner, { noModel, label }) =>
  captioner === noModel ? gettext("Only its colours: no captioner is installed.") : gettext("Described by {captioner}.", { captioner: label || captioner })
