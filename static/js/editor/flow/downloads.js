// The download button, and the menu beside it: the shown result in other formats, with or without its settings and Content
// Credentials, and as a command.

import { fetchFile } from "api"
import { element } from "dom"
import { asCurl } from "editor/flow/curl"
import { stem } from "format"
import { gettext } from "text"

/** @typedef {{url: string, digital_source_type: string}} Image */

/** @type {Record<string, string>} */
const EXTENSIONS = { png: "png", jpeg: "jpg", webp: "webp" }

export class Downloads {
  #elements
  #image = { url: "", digital_source_type: "" }
  /** @type {Image[]} */
  #images = []
  #name = ""
  /** @type {import("job/follow").Metadata | null} */
  #metadata = null

  /** @param {{formats: Iterable<HTMLAnchorElement>, embed: HTMLInputElement, credentials: HTMLInputElement, list: HTMLElement, curl: HTMLButtonElement,
   *    command: HTMLElement, copy: HTMLButtonElement, share: HTMLButtonElement, main: HTMLAnchorElement}} elements
   *  formats: links with data-format; embed, credentials: checkboxes, the second disabled where the site adds none; curl: with data-url; main: the link to the result */
  constructor(elements) {
    this.#elements = elements
    elements.copy.hidden = !window.ClipboardItem || !navigator.clipboard?.write // only over HTTPS, or on this machine
    elements.copy.addEventListener("click", () => this.#copyImage())
    elements.share.hidden = !navigator.canShare?.({ files: [new File([], "photo.png", { type: "image/png" })] })
    elements.share.addEventListener("click", () => this.#share())
    elements.main.addEventListener("dragstart", (event) => { // into a folder, in browsers that can
      event.dataTransfer?.setData("DownloadURL", `image/png:${stem(this.#name)}.png:${new URL(this.#address(this.#image, "format=png"), location.href).href}`)
    })
    for (const box of [elements.embed, elements.credentials]) box.addEventListener("change", () => this.#link())
    elements.curl.addEventListener("click", () => this.#copy())
  }

  /** Offers a result under its file name. `metadata`: of its generation.
   *  @param {Image} image @param {string} name @param {import("job/follow").Metadata} metadata */
  show(image, name, metadata) {
    if (this.#image.url !== image.url) this.#elements.credentials.checked = !this.#elements.credentials.disabled && !/\/(humanEdits|compositeCapture)$/.test(image.digital_source_type)
    this.#image = image
    this.#name = name
    this.#metadata = metadata
    ;/** @type {HTMLElement} */ (this.#elements.copy.querySelector("span")).textContent = gettext("Copy the image")
    this.#link()
  }

  /** Offers each of several results; none for one. @param {Image[]} images @param {string[]} names */
  list(images, names) {
    this.#images = images
    const links = images.map((image, index) => element("a", { href: image.url, download: names[index], textContent: gettext("Download result {number}", { number: index + 1 }) }))
    this.#elements.list.replaceChildren(...links.map((link) => element("li", {}, link)))
    this.#elements.list.hidden = images.length < 2
  }

  #link() {
    const { list, main } = this.#elements
    main.href = this.#address(this.#image)
    main.download = this.#name
    for (const [index, link] of list.querySelectorAll("a").entries()) link.href = this.#address(this.#images[index])
    for (const link of this.#elements.formats) {
      const { format } = link.dataset
      link.href = this.#address(this.#image, `format=${format}&embed_settings=${this.#elements.embed.checked}`)
      link.download = `${stem(this.#name)}.${EXTENSIONS[/** @type {string} */ (format)]}`
    }
  }

  /** The address of an image as the menu asks for it. @param {Image} image */
  #address(image, query = "") {
    const asked = [query, this.#elements.credentials.checked && "content_credentials=true"].filter(Boolean).join("&")
    return asked ? `${image.url}?${asked}` : image.url
  }

  /** The lossless result as a file. */
  async #file() {
    return fetchFile(this.#address(this.#image, "format=png"), `${stem(this.#name)}.png`)
  }

  async #copyImage() {
    const label = /** @type {HTMLElement} */ (this.#elements.copy.querySelector("span"))
    try {
      await navigator.clipboard.write([new ClipboardItem({ "image/png": this.#file() })])
      label.textContent = gettext("Copied")
    } catch {
      label.textContent = gettext("The browser did not allow it")
    }
  }

  async #share() {
    const file = await this.#file()
    await navigator.share({ files: [file] }).catch(() => {}) // the person changed their mind
  }

  async #copy() {
    const { curl, command: shown } = this.#elements
    const label = /** @type {HTMLElement} */ (curl.querySelector("span"))
    const url = new URL(/** @type {string} */ (curl.dataset.url), location.href).href
    const command = asCurl(url, /** @type {import("job/follow").Metadata} */ (this.#metadata))
    try {
      await navigator.clipboard.writeText(command)
      label.textContent = gettext("Copied")
    } catch {
      shown.textContent = command // no clipboard without HTTPS: select it for Ctrl+C
      shown.hidden = false
      getSelection()?.selectAllChildren(shown)
      label.textContent = gettext("Press Ctrl+C")
    }
  }
}
