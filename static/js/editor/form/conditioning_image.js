// An image beside the source image: what a ControlNet or an IP-Adapter is given. The adapter is chosen in a select of
// the form; the numbers beside it are the form's own.

import { ImageZone } from "editor/form/image_zone"
import { gettext } from "text"

/** An adapter that is installed. kind: what it is, such as a ControlNet; control: the image that it takes.
 *  @typedef {{slug: string, label: string, kind: string, control: string, is_computed: boolean, computed: string[]}} Adapter */
/** @typedef {import("editor/form/image_zone").Kept} Kept */
/** @typedef {import("editor/form/image_zone").Generation} Generation */
/** @typedef {import("editor/form/image_zone").ZoneOptions & {setting: string, first: string, adapters: Adapter[], computed: string[]}} Options */

/** What a ControlNet takes that is not computed from the photo. @type {Record<string, string>} */
const IMAGES = {
  depth: gettext("a depth map"),
  scribble: gettext("a drawing"),
  tile: gettext("an image"),
  openpose: gettext("a skeleton"),
  lineart: gettext("a line drawing"),
  softedge: gettext("soft edges"),
  normal: gettext("a map of normals"),
  segment: gettext("a map of segments"),
}
const PHOTO = "tile" // without an image of this kind the photo itself is used

export class ConditioningImage extends ImageZone {
  #select
  #adapters
  #computed

  /**
   * `setting` names the adapter in the form, `image` the file, `first` that of the first adapter, which the others
   * share where they have none. `id` is the prefix of the elements' ids. `adapters` are all of that kind, [{slug, label,
   * control, is_computed, computed}], the last the kinds that need no file; `computed` the kinds that never need one.
   * `onChange` is called when one comes or goes.
   * @param {Options} options
   */
  constructor({ setting, image, first, id, adapters, computed, limits, onChange }) {
    super({ image, id, limits, onChange })
    this.setting = setting
    this.first = first
    this.#select = /** @type {HTMLSelectElement} */ (this.root.querySelector("select"))
    this.#adapters = adapters
    this.#computed = ["", ...computed] // the first is the default of a ControlNet-Union
  }

  /** The file to send; null where the chosen adapter needs none. */
  get file() {
    return this.#wanted ? this.chosen : null
  }

  /** Why the form cannot be sent yet, in a sentence; empty where it can. */
  get problem() {
    if (this.file || !this.#wanted || this.#isOptional) return ""
    return gettext("{adapter} needs {image}: drop it or choose it under “Advanced”.", { adapter: /** @type {Adapter} */ (this.#adapter).label, image: this.#wanted })
  }

  focusAdapter() {
    this.#select.focus()
  }

  /** Whether an adapter is chosen. */
  get isChosen() {
    return Boolean(this.#adapter)
  }

  /** `removed` is called by the button that takes the row away. @param {() => void} removed */
  onRemove(removed) {
    /** @type {HTMLElement} */ (this.root.querySelector(".remove")).addEventListener("click", removed)
  }

  /** Empties the row: adapter, numbers and image. */
  clear() {
    for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (this.root.querySelectorAll("[data-setting]"))) input.value = ""
    this.chosen = null
    this.changed()
  }

  /** The kind of which the image of the first adapter has to be, for this one in an earlier generation; null for any.
   *  @param {Generation} generation @returns {string | null | undefined} */
  neededKind(generation) {
    const isOwn = this.image === this.first
    const isNeeded = this.#wanted && (isOwn ? this.#control !== PHOTO : !this.#isOptional && !generation[this.image])
    return isNeeded ? this.#control : null
  }

  /**
   * Loads the image of an earlier generation, given as the API returns it. `needed`: the kinds of which the image of the
   * first adapter has to be. One that is computed shares it too, as on the server, unless another needs it for another kind.
   * @param {Generation} generation @param {(string | null | undefined)[]} needed
   */
  async takeFrom(generation, needed) {
    const isShared = this.#wanted && this.#control !== PHOTO && needed.every((kind) => kind === this.#control)
    await this.takeUrl(generation[this.image] ?? (isShared ? generation[this.first] : null))
  }

  /** Shows what the chosen adapter needs; nothing where no adapter is offered. `isShown`: whether the row is used. */
  show(isShown = !this.root.hidden) {
    this.root.hidden = this.#select.options.length < 2 || !isShown
    if (this.#kind) {
      /** @type {HTMLElement} */ (this.#kind.closest(".field")).hidden = !this.#isUnion
      if (!this.#isUnion) this.#kind.value = ""
    }
    this.showZone(this.#hint)
    const numbers = /** @type {HTMLElement} */ (this.root.querySelector(".numbers"))
    numbers.hidden = !this.#adapter
  }

  get #adapter() {
    return this.#adapters.find(({ slug }) => slug === this.#select.value)
  }

  /** The select of the kind of control image; null for an IP-Adapter. @returns {HTMLSelectElement | null} */
  get #kind() {
    return this.root.querySelector("[name^=control_type]")
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
    return IMAGES[/** @type {string} */ (this.#control)] ?? gettext("an image")
  }

  get #isComputed() {
    return Boolean(this.#adapter?.computed.includes(/** @type {string} */ (this.#control)))
  }

  /** Whether the form can be sent without a file. */
  get #isOptional() {
    return this.#control === PHOTO || this.#isComputed
  }

  /** What to drop, and what happens without it; empty where no image is needed. */
  get #hint() {
    const image = this.#wanted
    if (!image) return ""
    if (this.#control === PHOTO) return gettext("Drop {image} here, or choose one; without one it is the photo itself", { image })
    if (this.#isComputed) return gettext("Drop {image} here, or choose one; without one it is computed from the photo", { image })
    return gettext("Drop {image} here, or choose one", { image })
  }
}
