// The part of the photo that a diffusion model would get, outlined while the mask is drawn: the plan says where it lies.

import { percent } from "format"
import { gettext } from "text"

/** @typedef {import("editor/tools/geometry").Size} Size */
/** @typedef {import("editor/view/mask_view").MaskView} MaskView */
/** What the plan needs to know of the mask. @typedef {{image_size: number[], mask_box: number[]}} Marked */
/** @typedef {{window: number[] | null, work_size: number[] | null}} Window  of an answer of POST /api/plan/ */

/** The box of the mask in pixels of the photo; null where nothing is marked. @param {MaskView} mask @param {Size} photo
 *  @returns {Promise<Marked | null>} */
export async function marked(mask, photo) {
  const box = mask.coverage() ? await mask.bounds() : null
  return box && { image_size: [photo.width, photo.height], mask_box: box }
}

/** "Seen by the model at 350 %". @param {number[]} window @param {number[]} work */
export const caption = ([left, , right], [width]) => gettext("Seen by the model at {share}", { share: percent(width / (right - left)) })

export class WindowOutline {
  #element
  #mask
  /** @type {number[] | null} */
  #box = null

  /** @param {HTMLElement} element @param {MaskView} mask */
  constructor(element, mask) {
    this.#element = element
    this.#mask = mask
  }

  /** Shows the window of a plan; nothing where it is the whole photo, or where there is none.
   *  @param {Window} plan @param {Size | null} photo */
  show({ window, work_size }, photo) {
    const isWhole = !window || !photo || (window[2] - window[0] >= photo.width && window[3] - window[1] >= photo.height)
    this.#box = isWhole ? null : window
    this.#element.dataset.caption = this.#box && work_size ? caption(this.#box, work_size) : ""
    this.place()
  }

  /** Puts the outline where the photo is. */
  place() {
    this.#element.hidden = !this.#box
    if (!this.#box) return
    const [left, top, right, bottom] = this.#box
    const { scale, left: x, top: y } = this.#mask.viewport
    Object.assign(this.#element.style, {
      width: `${(right - left) * scale}px`, height: `${(bottom - top) * scale}px`, transform: `translate(${left * scale + x}px, ${top * scale + y}px)`,
    })
  }
}
