// The list in the panel of the steps: the newest on top, the photo at the bottom.

import { stepInWords } from "editor/flow/verbs"
import { reportErrors } from "editor/form/messages"
import { zoomTo } from "editor/view/thumbnail"
import { stem } from "format"
import { gettext, pgettext } from "text"

/** @typedef {import("../document/stack.js").ServedStack} ServedStack */
/** @typedef {import("../document/stack.js").ServedStep} ServedStep */
/** @typedef {(generation: string) => Promise<void>} Listener */

export class StepList {
  #elements
  #listeners

  /** @param {Pick<import("editor/flow/steps").Elements, "list" | "photo" | "template" | "download" | "share" | "show">} elements
   *  @param {{onToggle: Listener, onPaintBack: Listener, onRunAgain: Listener}} listeners */
  constructor(elements, listeners) {
    this.#elements = elements
    this.#listeners = listeners
  }

  /** `name`: for the file; `isBehind`: whether the photo that is open lacks results that have arrived meanwhile.
   *  @param {ServedStack | null} stack @param {{name: string, isBehind: boolean}} editor */
  show(stack, { name, isBehind }) {
    const { list, photo, download, share, show } = this.#elements
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.step
    /** @param {string} generation @returns {HTMLElement | null} */
    const eyeOf = (generation) => list.querySelector(`[data-step="${generation}"]`)
    list.replaceChildren(...(stack?.steps.map((step, place) => this.#item(step, place + 1)).reverse() ?? []))
    if (focused) eyeOf(focused)?.focus()
    show.hidden = !isBehind
    photo.hidden = download.hidden = !stack
    share.hidden = !stack?.seen.length
    if (!stack) return
    Object.assign(/** @type {HTMLImageElement} */ (photo.querySelector("img")), { src: stack.photo.thumbnail })
    ;/** @type {HTMLElement} */ (photo.querySelector(".help")).textContent = stack.photo.name
    download.hidden = !stack.image.url
    Object.assign(download, { href: `${stack.image.url}?format=png`, download: `${stem(name)}.png` })
  }

  /** @param {ServedStep} step @param {number} number */
  #item(step, number) {
    const { generation, hidden, thumbnail, window, url, changes_size: changesSize } = step
    const item = /** @type {HTMLElement} */ (/** @type {DocumentFragment} */ (this.#elements.template.content.cloneNode(true)).firstElementChild)
    /** @param {string} selector */
    const part = (selector) => /** @type {HTMLElement} */ (item.querySelector(selector))
    item.classList.toggle("is-hidden", hidden)
    const image = /** @type {HTMLImageElement} */ (part("img"))
    if (thumbnail) image.src = thumbnail
    if (thumbnail && window && !changesSize) zoomTo(image, step, window)
    part("b").textContent = stepInWords(step)
    part(".help").textContent = [gettext("Step {number}", { number }), stateOf(step)].filter(Boolean).join(" · ")
    part(".outdated").hidden = !step.made_on_hidden || hidden
    const eye = /** @type {HTMLButtonElement} */ (part(".eye"))
    eye.dataset.step = generation
    eye.disabled = !url
    eye.setAttribute("aria-label", gettext("Step {number}: {what}", { number, what: stepInWords(step) }))
    eye.setAttribute("aria-pressed", String(!hidden))
    eye.title = hidden ? gettext("Show this step") : changesSize ? gettext("Hide this step and all after it") : gettext("Hide this step")
    part(".step-actions").hidden = !url || changesSize
    this.#listen(eye, this.#listeners.onToggle, generation)
    this.#listen(part(".paint-back"), this.#listeners.onPaintBack, generation)
    this.#listen(part(".run-again"), this.#listeners.onRunAgain, generation)
    part(".paint-back").setAttribute("aria-label", gettext("Paint back step {number}", { number }))
    part(".run-again").setAttribute("aria-label", gettext("Run again step {number}", { number }))
    return item
  }

  /** @param {HTMLElement} button @param {Listener} listener @param {string} generation */
  #listen(button, listener, generation) {
    button.addEventListener("click", () => reportErrors("photo", () => listener(generation)))
  }
}

/** @param {ServedStep} step */
function stateOf({ url, hidden, painted_back: back, status }) {
  if (!url) return status === "queued" ? pgettext("a step", "Waiting") : gettext("Painting…")
  return hidden ? gettext("Hidden") : back ? gettext("Painted back in part") : ""
}
