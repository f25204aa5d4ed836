// How a model adds detail to the photo once it is enlarged: whether, by which model and how strongly.

import { gettext, number } from "text"

/** As the API takes it. @typedef {{detail?: number, detail_model?: string}} Fields */

export class Detail {
  #elements

  /** `box` turns it on; the others are missing where no model is installed. `row`: of the other fields, or of the reason
   *  why there are none; `part`: where a mask may mark a part, the place to say so.
   *  @param {{box: HTMLInputElement, row: HTMLElement, strength: HTMLInputElement | null, shown: HTMLOutputElement | null, model: HTMLSelectElement | null,
   *    part?: HTMLElement | null}} elements
   *  @param {() => void} onChange called where it was turned on or off */
  constructor(elements, onChange) {
    this.#elements = elements
    elements.box.addEventListener("input", onChange)
    elements.strength?.addEventListener("input", () => this.#showStrength())
    this.#showStrength()
  }

  get isOn() {
    return this.#elements.box.checked
  }

  /** The fields to send. @returns {Fields} */
  get fields() {
    const { strength, model } = this.#elements
    return this.isOn && strength && model ? { detail: Number(strength.value), detail_model: model.value } : {}
  }

  /** Says which part of the photo gets it. @param {boolean} isMarked */
  set isMarked(isMarked) {
    const { part } = this.#elements
    if (part) part.textContent = isMarked ? gettext("Only the marked part gets detail.") : gettext("Brush over a part to add detail only there.")
  }

  /** Fills in what an earlier generation requested. @param {Fields} requested */
  fill({ detail, detail_model: slug }) {
    const { box, strength, model } = this.#elements
    box.checked = Boolean(detail) && !box.disabled
    if (detail && strength) strength.value = String(detail)
    if (model && [...model.options].some(({ value }) => value === slug)) model.value = /** @type {string} */ (slug)
    this.#showStrength()
  }

  /** Shows the row, where the photo is to be enlarged and there is something to choose, or to say. @param {boolean} enlarges */
  show(enlarges) {
    const { box, row } = this.#elements
    row.hidden = !enlarges || !(box.checked || box.disabled)
  }

  #showStrength() {
    const { strength, shown } = this.#elements
    if (strength && shown) shown.value = number(Number(strength.value), 2)
  }
}
