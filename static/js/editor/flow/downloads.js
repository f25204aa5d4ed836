// The menu beside the download button: the shown result in other formats, with or without its settings, and as a command.

import { fetchFile } from "api"
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
   *    command: HTMLElement, copy: HTMLButtonElement, share: HTMLButtonElement, main: HTMLAnchorElement}} elements
   *  formats: links with data-format; embed: a checkbox; curl: with data-url; main: the link to the result */
  constructor(elements) {
    this.#elements = elements
    elements.copy.hidden = !window.ClipboardItem || !navigator.clipboard?.write // only over HTTPS, or on this machine
    elements.copy.addEventListener("click", () => this.#copyImage())
    elements.share.hidden = !navigator.canShare?.({ files: [new File([], "photo.png", { type: "image/png" })] })
    elements.share.addEventListener("click", () => this.#share())
    elements.main.addEventListener("dragstart", (event) => { // into a folder, in browsers that can
      event.dataTransfer?.setData("DownloadURL", `image/png:${stem(this.#name)}.png:${new URL(this.#image.url, location.href).href}?format=png`)
    })
    elements.embed.addEventListener("change", () => this.#link())
    elements.curl.addEventListener("click", () => this.#copy())
  }

  /** Offers a result under its file name. `requested` are the settings of its generation.
   *  @param {{url: string}} image @param {string} name @param {object} requested */
  show(image, name, requested) {
    this.#image = image
    this.#name = name
    this.#requested = requested
    ;/** @type {HTMLElement} */ (this.#elements.copy.querySelector("span")).textContent = "Copy the image"
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

  /** The lossless result as a file. */
  async #file() {
    return fetchFile(`${this.#image.url}?format=png`, `${stem(this.#name)}.png`)
  }

  async #copyImage() {
    const label = /** @type {HTMLElement} */ (this.#elements.copy.querySelector("span"))
    try {
      await navigator.clipboard.write([new ClipboardItem({ "image/png": this.#file() })])
      label.textContent = "Copied"
    } catch {
      label.textContent = "The browser did not allow it"
    }
  }

  async #share() {
    const file = await this.#file()
    await navigator.share({ files: [file] }).catch(() => {}) // the person changed their mind
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
