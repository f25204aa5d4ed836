// An image beside the source image: what a ControlNet or an IP-Adapter is given. The adapter is chosen in a select of
// the form; the numbers beside it are the form's own.

import { fetchFile } from "api"
import { dropzone } from "dropzone"
import { get, put } from "editor/document/images"
import { drawPreview, readPhoto } from "editor/document/files"
import { reportErrors } from "editor/form/messages"

/** An adapter that is installed. kind: what it is, such as a ControlNet; control: the image that it takes.
 *  @typedef {{slug: string, label: string, kind: string, control: string, is_computed: boolean, computed: string[]}} Adapter */
/** @typedef {{picture: string, name: string}} Kept  a file as the draft keeps it, by its id */
/** @typedef {Record<string, unknown>} Generation  as the API returns it */
/** @typedef {{setting: string, image: string, first: string, id: string, adapters: Adapter[], computed: string[],
 *   limits: ReturnType<typeof import("editor/document/files").photoLimits>, onChange: () => void}} Options */

/** What a ControlNet takes that is not computed from the photo. @type {Record<string, string>} */
const IMAGES = {
  depth: "a depth map",
  scribble: "a drawing",
  tile: "an image",
  openpose: "a skeleton",
  lineart: "a line drawing",
  softedge: "soft edges",
  normal: "a map of normals",
  segment: "a map of segments",
}
const PHOTO = "tile" // without an image of this kind the photo itself is used

export class ConditioningImage {
  #root
  #select
  #limits
  #onChange
  #adapters
  #computed
  /** @type {File | null} */
  #file = null
  #picture = "" // the file's id

  /**
   * `setting` names the adapter in the form, `image` the file, `first` that of the first adapter, which the others
   * share where they have none. `id` is the prefix of the elements' ids. `adapters` are all of that kind, [{slug, label,
   * control, is_computed, computed}], the last the kinds that need no file; `computed` the kinds that never need one.
   * `onChange` is called when one comes or goes.
   * @param {Options} options
   */
  constructor({ setting, image, first, id, adapters, computed, limits, onChange }) {
    this.setting = setting
    this.image = image
    this.first = first
    this.id = id
    this.#root = /** @type {HTMLElement} */ (document.getElementById(`${id}-field`))
    this.#select = /** @type {HTMLSelectElement} */ (this.#root.querySelector("select"))
    this.#adapters = adapters
    this.#computed = ["", ...computed] // the first is the default of a ControlNet-Union
    this.#limits = limits
    this.#onChange = onChange
    dropzone(this.#zone, this.#input, ([file]) => this.take(file))
    this.#part("button").addEventListener("click", () => {
      this.forget()
      this.focus() // the button is gone
    })
  }

  /** The file to send; null where the chosen adapter needs none. */
  get file() {
    return this.#wanted ? this.#file : null
  }

  /** Why the form cannot be sent yet, in a sentence; empty where it can. */
  get problem() {
    if (this.file || !this.#wanted || this.#otherwise) return ""
    return `${/** @type {Adapter} */ (this.#adapter).label} needs ${this.#wanted}: drop it or choose it under “More settings”.`
  }

  focus() {
    this.#input.focus()
  }

  focusAdapter() {
    this.#select.focus()
  }

  /** Whether an adapter is chosen. */
  get isChosen() {
    return Boolean(this.#adapter)
  }

  get isHidden() {
    return this.#root.hidden
  }

  /** `removed` is called by the button that takes the row away. @param {() => void} removed */
  onRemove(removed) {
    /** @type {HTMLElement} */ (this.#root.querySelector(".remove")).addEventListener("click", removed)
  }

  /** Empties the row: adapter, numbers and image. */
  clear() {
    for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (this.#root.querySelectorAll("[data-setting]"))) input.value = ""
    this.#file = null
    this.#changed()
  }

  /** @param {File} file */
  async take(file) {
    await reportErrors(this.id, async () => {
      const { bitmap } = await readPhoto(file, this.#limits)
      drawPreview(/** @type {HTMLCanvasElement} */ (this.#zone.querySelector("canvas")), bitmap)
      bitmap.close()
      this.#picture = await put(file)
      this.#file = file
      this.#changed()
    })
  }

  /** The chosen file as the draft keeps it: {picture: its id, name}; null without one. @returns {Kept | null} */
  get kept() {
    return this.#file && { picture: this.#picture, name: this.#file.name }
  }

  /** Chooses what `kept` gave; nothing where that is missing. @param {Kept | undefined} kept */
  async fill(kept) {
    if (this.#file && this.#picture === kept?.picture) return
    this.forget()
    const file = kept?.picture && await get(kept.picture)
    if (file) await this.take(new File([file], /** @type {Kept} */ (kept).name, { type: file.type }))
  }

  /** The kind of which the image of the first adapter has to be, for this one in an earlier generation; null for any.
   *  @param {Generation} generation @returns {string | null | undefined} */
  neededKind(generation) {
    const isOwn = this.image === this.first
    const isNeeded = this.#wanted && (isOwn ? this.#control !== PHOTO : !this.#otherwise && !generation[this.image])
    return isNeeded ? this.#control : null
  }

  /**
   * Loads the image of an earlier generation, given as the API returns it. `needed`: the kinds of which the image of the
   * first adapter has to be. One that is computed shares it too, as on the server, unless another needs it for another kind.
   * @param {Generation} generation @param {(string | null | undefined)[]} needed
   */
  async takeFrom(generation, needed) {
    this.forget()
    const isShared = this.#wanted && this.#control !== PHOTO && needed.every((kind) => kind === this.#control)
    const url = /** @type {string | null} */ (generation[this.image] ?? (isShared ? generation[this.first] : null))
    if (url) await reportErrors(this.id, async () => this.take(await fetchFile(url, `${this.id}.png`)))
  }

  forget() {
    if (!this.#file) return
    this.#file = null
    this.#changed()
  }

  /** Shows what the chosen adapter needs; nothing where no adapter is offered. `isShown`: whether the row is used. */
  show(isShown = !this.#root.hidden) {
    this.#root.hidden = this.#select.options.length < 2 || !isShown
    if (this.#kind) {
      /** @type {HTMLElement} */ (this.#kind.closest(".field")).hidden = !this.#isUnion
      if (!this.#isUnion) this.#kind.value = ""
    }
    const wanted = this.#wanted
    this.#zone.hidden = !wanted
    this.#part(".mask-empty").hidden = Boolean(this.#file)
    this.#part(".mask-file").hidden = !this.#file
    const name = this.#part(".mask-name")
    name.textContent = name.title = this.#file?.name ?? ""
    const hint = wanted && `Drop ${wanted} here, or choose one${this.#otherwise}`
    const elements = {
      wanted: /** @type {HTMLElement} */ (document.getElementById(`${this.id}-wanted`)),
      numbers: /** @type {HTMLElement} */ (this.#root.querySelector(".numbers")),
    }
    elements.wanted.textContent = hint
    elements.numbers.hidden = !this.#adapter
  }

  get #zone() {
    return /** @type {HTMLElement} */ (document.getElementById(`${this.id}-zone`))
  }

  get #input() {
    return /** @type {HTMLInputElement} */ (this.#zone.querySelector("input"))
  }

  /** @param {string} selector */
  #part(selector) {
    return /** @type {HTMLElement} */ (this.#zone.querySelector(selector))
  }

  get #adapter() {
    return this.#adapters.find(({ slug }) => slug === this.#select.value)
  }

  /** The select of the kind of control image; null for an IP-Adapter. @returns {HTMLSelectElement | null} */
  get #kind() {
    return this.#root.querySelector("[name^=control_type]")
  }

  get #isUnion() {
    return this.#adapter?.control === "union"
  }

  /** The kind of control image of the chosen ControlNet. */
  get #control() {
    return this.#isUnion ? /** @type {HTMLSelectElement} */ (this.#kind).value : this.#adapter?.control
  }

  /** In words, the image that the chosen adapter is given; empty where it needs none. */
  get #wanted() {
    if (!this.#adapter || this.#adapter.is_computed || (this.#isUnion && this.#computed.includes(/** @type {string} */ (this.#control)))) return ""
    return IMAGES[/** @type {string} */ (this.#control)] ?? "an image"
  }

  /** What happens without a file, as the end of a sentence; empty where it cannot be left out. */
  get #otherwise() {
    if (this.#control === PHOTO) return "; without one it is the photo itself"
    return this.#adapter?.computed.includes(/** @type {string} */ (this.#control)) ? "; without one it is computed from the photo" : ""
  }

  #changed() {
    this.show()
    this.#onChange()
  }
}
