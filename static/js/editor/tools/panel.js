// The options of the chosen tool, as controls of the page (templates/includes/tool_options.html).

import { byId } from "dom"
import { setFrame } from "editor/tools/frame"
import { SIDES, framed, limited, sizeOf, withRatio } from "editor/tools/frame_geometry"
import { clipped, placeOf, sizeAt } from "editor/tools/geometry"
import { shape } from "editor/document/operations"
import { percent } from "format"
import { gettext } from "text"

const SLIDER = 1000
/** @param {Element} button */
const useOf = (button) => /** @type {SVGUseElement} */ (button.querySelector("use"))
/** @typedef {HTMLInputElement | HTMLSelectElement} Control */
/** @typedef {import("editor/document/document").Photo} Photo */

const $ = /** @type {import("dom").ById<{
  "tool-size": HTMLInputElement, "tool-pixels": HTMLInputElement, "tool-words": HTMLInputElement, "tool-frame-ratio": HTMLSelectElement,
  "tool-frame-width": HTMLInputElement, "tool-frame-height": HTMLInputElement,
}>} */ (byId)

export class ToolPanel {
  #toolbox
  #root = $("tool-options")
  #message = ""

  /** @param {import("editor/tools/toolbox").Toolbox} toolbox */
  constructor(toolbox) {
    this.#toolbox = toolbox
    this.#listen()
    toolbox.subscribe(() => this.#show())
    this.#show()
  }

  #listen() {
    const { options, adjustment, maxMargin, store } = this.#toolbox
    for (const control of /** @type {NodeListOf<Control>} */ (this.#root.querySelectorAll("[data-option]"))) {
      control.addEventListener("input", () => this.#setOption(control))
    }
    $("tool-size").addEventListener("input", () => options.set({ size: sizeAt(Number($("tool-size").value) / SLIDER, this.#largest) }))
    $("tool-pixels").addEventListener("input", () => adjustment.set(Number($("tool-pixels").value)))
    $("tool-words-find")?.addEventListener("click", () => this.#findWords())
    $("tool-box-add").addEventListener("click", () => this.#addBox())
    $("tool-frame-reset").addEventListener("click", () => setFrame(store, limited({}, maxMargin)))
    $("tool-frame-ratio").addEventListener("input", ({ target }) => {
      const { value } = /** @type {HTMLSelectElement} */ (target)
      if (value) setFrame(store, withRatio(/** @type {Photo} */ (store.view.photo), value, maxMargin))
    })
    const inputs = [.../** @type {NodeListOf<HTMLInputElement>} */ (this.#root.querySelectorAll("[data-side]"))]
    for (const input of inputs) {
      input.addEventListener("change", () => setFrame(store, limited(Object.fromEntries(inputs.map((each) => [each.dataset.side, Number(each.value)])), maxMargin)))
    }
    const [width, height] = [$("tool-frame-width"), $("tool-frame-height")]
    for (const input of [width, height]) {
      input.addEventListener("change", () => setFrame(store, framed(/** @type {Photo} */ (store.view.photo), { width: Number(width.value), height: Number(height.value) }, maxMargin)))
    }
    this.#root.addEventListener("keydown", (event) => this.#onEnter(event))
  }

  /** Enter uses what was typed; it does not send the form around the options. @param {KeyboardEvent} event */
  #onEnter(event) {
    const target = /** @type {HTMLElement} */ (event.target)
    if (event.key !== "Enter" || !target.matches("input")) return
    event.preventDefault()
    if (target.dataset.edge) this.#addBox()
    else if (target.id === "tool-words") this.#findWords()
    else if (target.id === "tool-pixels") this.#toolbox.adjustment.apply()
    else target.dispatchEvent(new Event("change"))
  }

  /** The largest brush in the chosen unit. */
  get #largest() {
    const { largestSize, options, view } = this.#toolbox
    return Math.max(100, options.values.unit === "screen" ? largestSize * view.viewport.scale : largestSize)
  }

  /** @param {Control} control */
  #setOption(control) {
    const { options, view } = this.#toolbox
    const value = control.type === "checkbox" ? /** @type {HTMLInputElement} */ (control).checked : control.type === "range" ? Number(control.value) : control.value
    /** @type {Partial<import("editor/tools/options").Values>} */
    const changes = { [/** @type {string} */ (control.dataset.option)]: value }
    if (control.dataset.option === "unit") {
      const factor = value === "photo" ? 1 / view.viewport.scale : view.viewport.scale // the brush keeps its width
      changes.size = Math.max(1, Math.round(options.values.size * factor))
    }
    options.set(changes)
  }

  #findWords() {
    const text = $("tool-words").value.trim()
    if (!text) return
    const { words } = /** @type {Required<import("editor/tools/toolbox").Tool>} */ (this.#toolbox.tool)
    words(text)
  }

  #addBox() {
    const { add, options, store, tool } = this.#toolbox
    const [left, top, width, height] = ["left", "top", "width", "height"].map((edge) => Number(/** @type {HTMLInputElement} */ (this.#root.querySelector(`[data-edge=${edge}]`)).value))
    const box = width > 0 && height > 0 ? clipped([left, top, left + width, top + height], /** @type {Photo} */ (store.view.photo)) : null
    if (!box) return this.showMessage(gettext("This lies outside the photo."))
    this.showMessage("")
    add(shape({ erases: options.values.erases, shape: /** @type {"rectangle" | "ellipse"} */ (tool.name), points: [box.slice(0, 2), box.slice(2)] }))
  }

  /** Shows a sentence below the options. @param {string} text */
  showMessage(text) {
    this.#message = text
    this.#show()
  }

  #show() {
    const { adjustment, crosshair, isEditing, options, store, tool } = this.#toolbox
    const { values } = options
    const photo = store.view.photo
    this.#root.hidden = !photo || !isEditing()
    this.#showChosen(tool.name)
    for (const part of /** @type {NodeListOf<HTMLElement>} */ (this.#root.querySelectorAll("[data-for]"))) {
      part.hidden = adjustment.isOpen || !/** @type {string} */ (part.dataset.for).split(" ").includes(tool.name)
    }
    $("tool-sizes").hidden ||= !tool.canResize?.(0)
    for (const control of /** @type {NodeListOf<Control>} */ (this.#root.querySelectorAll("[data-option]"))) {
      const value = values[/** @type {keyof typeof values} */ (control.dataset.option)]
      if (control.type === "checkbox") /** @type {HTMLInputElement} */ (control).checked = /** @type {boolean} */ (value)
      else control.value = String(value)
    }
    $("tool-size").value = String(SLIDER * placeOf(values.size, this.#largest))
    $("tool-size-shown").textContent = `${values.size} px`
    $("tool-hardness-shown").textContent = percent(values.hardness)
    $("tool-tolerance-shown").textContent = String(values.tolerance)
    $("tool-adjustment").hidden = !adjustment.isOpen
    $("tool-pixels-label").textContent = adjustment.label
    $("tool-pixels").value = String(adjustment.pixels)
    $("tool-pixels-shown").textContent = `${adjustment.pixels} px`
    const at = crosshair.at?.map(Math.round)
    const message = this.#message || (at ? gettext("Crosshair at {x}, {y}", { x: at[0], y: at[1] }) : "")
    if ($("tool-message").textContent !== message) $("tool-message").textContent = message
    if (photo) this.#showFrame(photo, store.view.frame)
  }

  /** The button of the tools that a phone hides shows which of them is chosen. @param {string} name */
  #showChosen(name) {
    const button = $("more-tools-button")
    const chosen = $("more-tools").querySelector(`[data-command=${name}]`)
    button.setAttribute("aria-label", chosen ? gettext("More tools, {tool} chosen", { tool: chosen.getAttribute("aria-label") ?? "" }) : gettext("More tools"))
    if (chosen) useOf(button).setAttribute("href", /** @type {string} */ (useOf(chosen).getAttribute("href")))
  }

  /** @param {Photo} photo @param {import("editor/document/document").Frame} frame */
  #showFrame(photo, frame) {
    for (const side of SIDES) this.#fill(/** @type {HTMLInputElement} */ (this.#root.querySelector(`[data-side=${side}]`)), frame[side])
    const { width, height } = sizeOf(photo, frame)
    this.#fill($("tool-frame-width"), width)
    this.#fill($("tool-frame-height"), height)
    const ratio = $("tool-frame-ratio")
    /** @param {string} value */
    const isOf = (value) => JSON.stringify(withRatio(photo, value, this.#toolbox.maxMargin)) === JSON.stringify(frame)
    ratio.value = [...ratio.options].find(({ value }) => value && isOf(value))?.value ?? ""
  }

  /** @param {HTMLInputElement} input @param {number} value */
  #fill(input, value) {
    if (document.activeElement !== input || input.value === "") input.value = String(value)
  }
}
