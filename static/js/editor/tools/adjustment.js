// Growing, shrinking and feathering the mask: shown on the canvas while the number of pixels is chosen.

import { feather, grow } from "editor/document/operations"
import { gettext } from "text"

/** @typedef {"grow" | "shrink" | "feather"} Kind */

/** @type {Record<Kind, {label: string, operation: (pixels: number) => import("editor/document/operations").Operation, pixels: number}>} */
const KINDS = {
  grow: { label: gettext("Grow by"), operation: (pixels) => grow(pixels), pixels: 4 },
  shrink: { label: gettext("Shrink by"), operation: (pixels) => grow(-pixels), pixels: 4 },
  feather: { label: gettext("Soften the edge over"), operation: (pixels) => feather(pixels), pixels: 8 },
}
export const MOST_PIXELS = 200

export class Adjustment {
  /** @type {Kind | ""} */
  #kind = ""
  #pixels = 0

  /** @param {import("./toolbox.js").Tooling} tooling */
  constructor({ add, mask, store, refresh }) {
    this.add = add
    this.mask = mask
    this.store = store
    this.refresh = refresh
  }

  get isOpen() {
    return Boolean(this.#kind)
  }

  get pixels() {
    return this.#pixels
  }

  get label() {
    return this.isOpen ? KINDS[/** @type {Kind} */ (this.#kind)].label : ""
  }

  /** @param {Kind} kind */
  open(kind) {
    this.#kind = kind
    this.set(KINDS[kind].pixels)
  }

  /** @param {number} pixels */
  set(pixels) {
    this.#pixels = Math.min(MOST_PIXELS, Math.max(1, Math.round(pixels) || 1))
    this.mask.show([...this.store.view.operations, this.#operation()])
    this.refresh()
  }

  apply() {
    if (!this.isOpen) return
    const operation = this.#operation()
    this.#kind = ""
    this.add(operation)
    this.refresh()
  }

  cancel() {
    if (!this.isOpen) return
    this.#kind = ""
    this.mask.show(this.store.view.operations)
    this.refresh()
  }

  #operation() {
    return KINDS[/** @type {Kind} */ (this.#kind)].operation(this.#pixels)
  }
}
