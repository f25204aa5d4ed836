// Growing, shrinking and feathering the mask: shown on the canvas while the number of pixels is chosen.

import { feather, grow } from "editor/document/operations"

const KINDS = {
  grow: { label: "Grow by", operation: (pixels) => grow(pixels), pixels: 4 },
  shrink: { label: "Shrink by", operation: (pixels) => grow(-pixels), pixels: 4 },
  feather: { label: "Soften the edge over", operation: (pixels) => feather(pixels), pixels: 8 },
}
export const MOST_PIXELS = 200

export class Adjustment {
  #kind = ""
  #pixels = 0

  /** @param {import("./toolbox.js").Tooling} tooling */
  constructor({ add, mask, store, refresh }) {
    Object.assign(this, { add, mask, store, refresh })
  }

  get isOpen() {
    return Boolean(this.#kind)
  }

  get pixels() {
    return this.#pixels
  }

  get label() {
    return this.isOpen ? KINDS[this.#kind].label : ""
  }

  /** kind: "grow", "shrink" or "feather". */
  open(kind) {
    this.#kind = kind
    this.set(KINDS[kind].pixels)
  }

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
    return KINDS[this.#kind].operation(this.#pixels)
  }
}
