// The further pictures of the form: what guides the painting, and what it looks at. Each is a part of the model and a
// file for it. The numbers beside them are the form's own.

import { fetchFile } from "api"
import { dropzone } from "dropzone"
import { drawPreview, readPhoto } from "editor/files"
import { saying } from "editor/messages"

/** What a ControlNet is guided by that is not computed from the photo. */
const GUIDES = { depth: "a depth map", scribble: "a drawing", tile: "a picture" }
const OPTIONAL = new Set(["tile"]) // the photo itself, where nothing else is sent

export class Reference {
  #root
  #select
  #limitBytes
  #onChange
  #offered = []
  #file = null

  /**
   * `field` names the part in the API, `picture` what it looks at. `id` is how the elements of the page begin.
   * `onChange` hears of a file that came or went.
   */
  constructor({ field, picture, id, limitBytes, onChange }) {
    Object.assign(this, { field, picture, id })
    this.#root = document.getElementById(`${id}-field`)
    this.#select = this.#root.querySelector("select")
    this.#limitBytes = limitBytes
    this.#onChange = onChange
    dropzone(this.#zone, this.#zone.querySelector("input"), ([file]) => this.take(file))
    this.#zone.querySelector("button").addEventListener("click", () => {
      this.forget()
      this.focus() // the button is gone
    })
  }

  /** Offers these parts, [{slug, label, control, is_computed}]; none, and there is nothing to choose. */
  offer(parts) {
    const chosen = this.#select.value
    this.#offered = parts
    this.#select.replaceChildren(new Option("None", ""), ...parts.map(({ slug, label }) => new Option(label, slug)))
    this.#select.value = parts.some(({ slug }) => slug === chosen) ? chosen : ""
    this.#show()
  }

  /** The chosen part, if there is one. */
  get part() {
    return this.#offered.find(({ slug }) => slug === this.#select.value)
  }

  /** The file that goes along; null where none is wanted. */
  get file() {
    return this.#wants ? this.#file : null
  }

  /** Why it cannot be sent yet, in a sentence; nothing where it can. */
  get problem() {
    if (this.file || !this.#wants || OPTIONAL.has(this.part.control)) return ""
    return `${this.part.label} needs ${this.#wants}: drop it or choose it under “More settings”.`
  }

  focus() {
    this.#zone.querySelector("input").focus()
  }

  async take(file) {
    await saying(this.id, async () => {
      const { bitmap } = await readPhoto(file, this.#limitBytes)
      drawPreview(this.#zone.querySelector("canvas"), bitmap)
      bitmap.close()
      this.#file = file
      this.#changed()
    })
  }

  /** The picture of an earlier generation, as the server tells of it. */
  async takeFrom(generation) {
    this.forget()
    const url = generation[this.picture]
    if (url) await saying(this.id, async () => this.take(await fetchFile(url, `${this.id}.png`)))
  }

  forget() {
    this.#file = null
    this.#changed()
  }

  get #zone() {
    return document.getElementById(`${this.id}-zone`)
  }

  /** In words, the picture that the chosen part looks at; nothing where it needs none. */
  get #wants() {
    if (!this.part || this.part.is_computed) return ""
    return GUIDES[this.part.control] ?? "a picture"
  }

  #changed() {
    this.#show()
    this.#onChange()
  }

  #show() {
    this.#root.hidden = !this.#offered.length
    const wanted = this.#wants
    this.#zone.hidden = !wanted
    this.#zone.querySelector(".mask-empty").hidden = Boolean(this.#file)
    this.#zone.querySelector(".mask-file").hidden = !this.#file
    this.#zone.querySelector(".mask-name").textContent = this.#zone.querySelector(".mask-name").title = this.#file?.name ?? ""
    const otherwise = this.part && OPTIONAL.has(this.part.control) ? "; without one it is the photo itself" : ""
    document.getElementById(`${this.id}-wanted`).textContent = wanted && `Drop ${wanted} here, or choose one${otherwise}`
    const numbers = this.#root.querySelector(".numbers")
    numbers.hidden = !this.part
    for (const input of numbers.querySelectorAll("input")) input.disabled ||= !this.part
    this.#select.disabled ||= !this.#offered.length
  }
}
