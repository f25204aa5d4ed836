// The strength beside a result: a second slider for the form's own, where the planned engine reads it.

import { number } from "text"

export class Strength {
  #elements

  /** `field` is the form's slider, `root` what holds `slider` and `shown`, its value in words.
   *  @param {{field: HTMLInputElement, root: HTMLElement, slider: HTMLInputElement, shown: HTMLElement}} elements */
  constructor(elements) {
    this.#elements = elements
    const { field, slider } = elements
    Object.assign(slider, { min: field.min, max: field.max, step: field.step })
    slider.addEventListener("input", () => { field.value = slider.value }) // the form hears the same event
  }

  /** Call it when the form or its plan has changed. `isRead`: by the planned engine. @param {boolean} isRead */
  refresh(isRead) {
    const { field, root, slider, shown } = this.#elements
    root.hidden = !isRead
    slider.value = field.value
    shown.textContent = number(Number(field.value), 2)
  }
}
