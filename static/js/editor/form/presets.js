// Presets: settings under a name, kept in this browser.

import { element } from "dom"
import { remember, remembered } from "editor/form/remembered"
import { gettext } from "text"

/** @typedef {import("editor/form/settings_form").Settings} Settings */
/** @typedef {Record<string, Settings>} ByName */

export class Presets {
  #list
  #onChoose

  /** `elements` is {list, name: a text field, save: a button}; `current()` gives the settings, `onChoose(settings)` takes them.
   *  @param {{list: HTMLElement, name: HTMLInputElement, save: HTMLElement}} elements
   *  @param {{current: () => Settings, onChoose: (settings: Settings) => void}} options */
  constructor({ list, name, save }, { current, onChoose }) {
    this.#list = list
    this.#onChoose = onChoose
    const keep = () => {
      if (!name.value.trim()) return name.focus()
      this.#change((presets) => ({ ...presets, [name.value.trim()]: current() }))
      name.value = ""
    }
    save.addEventListener("click", keep)
    name.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return
      event.preventDefault() // it would send the form
      keep()
    })
    this.#show(remembered("presets", {}))
  }

  /** @param {(presets: ByName) => ByName} change */
  #change(change) {
    const presets = change(remembered("presets", {}))
    remember("presets", presets)
    this.#show(presets)
  }

  /** @param {ByName} presets */
  #show(presets) {
    this.#list.replaceChildren(...Object.entries(presets).map(([name, settings]) => {
      const choose = element("button", { type: "button", className: "button", textContent: name, dir: "auto" })
      choose.addEventListener("click", () => this.#onChoose(settings))
      const forget = element("button", { type: "button", className: "tool", textContent: "×" })
      forget.setAttribute("aria-label", gettext("Forget {name}", { name }))
      forget.addEventListener("click", () => this.#change(({ [name]: gone, ...others }) => others))
      return element("li", {}, choose, forget)
    }))
  }
}
