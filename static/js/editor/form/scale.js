// How many times larger the photo becomes, for the task that enlarges it.

import { gettext } from "text"

/** @typedef {import("editor/tools/geometry").Size} Size */

export class Scale {
  #field
  #limits

  /** @param {HTMLSelectElement} field @param {Pick<import("editor/document/files").Limits, "side" | "pixels">} limits of the result */
  constructor(field, limits) {
    this.#field = field
    this.#limits = limits
  }

  get factor() {
    return Number(this.#field.value)
  }

  /** The size of a photo once it is enlarged, in words. @param {Size} photo */
  inWords(photo) {
    const { width, height } = this.#sizeOf(photo)
    return `${width} × ${height}`
  }

  /** Why a photo cannot be enlarged as chosen; empty where it can. @param {Size} photo */
  problem(photo) {
    const { width, height } = this.#sizeOf(photo)
    const { side, pixels } = this.#limits
    if (Math.max(width, height) <= side && width * height <= pixels) return ""
    return gettext("{size} is too large: at most {side} a side and {megapixels} megapixels.", { size: this.inWords(photo), side, megapixels: pixels / 1e6 })
  }

  /** @param {Size} photo @returns {Size} */
  #sizeOf({ width, height }) {
    return { width: Math.round(width * this.factor), height: Math.round(height * this.factor) }
  }
}
