// The menu beside the download button: the shown result in other formats, with or without its settings, and as a command.

import { element } from "dom"
import { asCurl } from "editor/flow/curl"
import { stem } from "format"

/** @type {Record<string, string>} */
const EXTENSIONS = { png: "png", jpeg: "jpg", webp: "webp" }

export class Downloads {
  #elements
  #image = { url: "" }
  #name = ""
  #requested = {}

  /** @param {{formats: Iterable<HTMLAnchorElement>, embed: HTMLInputElement, list: HTMLElement, curl: HTMLButtonElement,
   *    command: HTMLElement}} elements  formats: links with data-format; embed: a checkbox; curl: with data-url */
  constructor(elements) {
    this.#elements = elements
    elements.embed.addEventListener("change", () => this.#link())
    elements.curl.addEventListener("click", () => this.#copy())
  }

  /** Offers a result under its file name. `requested` are the settings of its generation.
   *  @param {{url: string}} image @param {string} name @param {object} requested */
  show(image, name, requested) {
    this.#image = image
    this.#name = name
    this.#requested = requested
    this.#link()
  }

  /** Offers each of several results; none for one. @param {{url: string}[]} images @param {string[]} names */
  list(images, names) {
    const links = images.map(({ url }, index) => element("a", { href: url, download: names[index], textContent: `Download result ${index + 1}` }))
    this.#elements.list.replaceChildren(...links.map((link) => element("li", {}, link)))
    this.#elements.list.hidden = images.length < 2
  }

  #link() {
    for (const link of this.#elements.formats) {
      const { format } = link.dataset
      link.href = `${this.#image.url}?format=${format}&embed_settings=${this.#elements.embed.checked}`
      link.download = `${stem(this.#name)}.${EXTENSIONS[/** @type {string} */ (format)]}`
    }
  }

  async #copy() {
    const { curl, command: shown } = this.#elements
    const label = /** @type {HTMLElement} */ (curl.querySelector("span"))
    const command = asCurl(new URL(/** @type {string} */ (curl.dataset.url), location.href).href, this.#requested)
    try {
      await navigator.clipboard.writeText(command)
      label.textContent = "Copied"
    } catch {
      shown.textContent = command // no clipboard without HTTPS: select it for Ctrl+C
      shown.hidden = false
      getSelection()?.selectAllChildren(shown)
      label.textContent = "Press Ctrl+C"
    }
  }
}
