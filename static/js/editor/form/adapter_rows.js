// The adapters of a list in the form: a row of inputs for each, of which the first is always there.

import { adapterOf, numbered } from "editor/form/adapter_lists"
import { ConditioningImage } from "editor/form/conditioning_image"

export class AdapterRows {
  #rows
  #add
  /** @type {Set<ConditioningImage>} */
  #added = new Set() // rows that were asked for and are still empty

  /** @param {import("./adapter_lists.js").AdapterList} list
   *  @param {Pick<import("./conditioning_image.js").Options, "adapters" | "limits" | "computed" | "onChange">} options */
  constructor(list, options) {
    const { id, images } = list
    this.#rows = images.map((image, index) => {
      const ids = { id: index ? `${id}-${index + 1}` : id, setting: numbered(adapterOf(list), index + 1) }
      return new ConditioningImage({ ...options, ...ids, image, first: images[0] })
    })
    this.#add = /** @type {HTMLElement} */ (document.getElementById(`${id}-add`))
    this.#add.addEventListener("click", () => {
      const [row] = this.#hidden
      this.#added.add(row)
      this.show()
      row.focusAdapter()
    })
    for (const row of this.#rows.slice(1)) {
      row.onRemove(() => {
        this.#added.delete(row)
        row.clear() // calls onChange
        this.#add.focus()
      })
    }
  }

  /** The images, a ConditioningImage for each row. */
  get images() {
    return this.#rows
  }

  /** The files to send, by the names of the API: the nth image is that of the nth adapter that is chosen.
   *  @returns {Record<string, File>} */
  get files() {
    const chosen = this.#rows.filter(({ isChosen }) => isChosen)
    const files = chosen.map(({ file }, index) => [this.#rows[index].image, file])
    return Object.fromEntries(files.filter(([, file]) => file))
  }

  /** Empty rows are hidden but for the first one and those that were asked for. */
  show() {
    for (const row of this.#rows) row.show(row === this.#rows[0] || row.isChosen || this.#added.has(row))
    this.#add.hidden = !this.#rows[0].isChosen || !this.#hidden.length || this.#rows.some((row) => !row.isHidden && !row.isChosen)
  }

  /** Empties all rows. */
  clear() {
    this.#added.clear()
    for (const row of this.#rows) row.forget()
  }

  get #hidden() {
    return this.#rows.filter(({ isHidden }) => isHidden)
  }
}
