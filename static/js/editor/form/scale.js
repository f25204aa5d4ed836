// How many times larger the photo becomes, for the task that enlarges it.

import { Plan } from "editor/form/plan"
import { roughly } from "format"
import { gettext, isolated } from "text"

/** @typedef {import("editor/tools/geometry").Size} Size */

export class Scale {
  #field
  #time
  #limits
  #detail
  #plan
  #asked = ""

  /** `time`: where the expected time is shown; `limits` of the result; `detail`: which the plan is asked about as well.
   *  @param {{field: HTMLSelectElement, time: HTMLElement}} parts
   *  @param {{limits: Pick<import("editor/document/files").Limits, "side" | "pixels">, detail: import("editor/form/detail").Detail, planUrl: string}} options */
  constructor({ field, time }, { limits, detail, planUrl }) {
    this.#field = field
    this.#time = time
    this.#limits = limits
    this.#detail = detail
    this.#plan = new Plan(planUrl, { estimate_seconds: null }, () => this.#showTime())
  }

  get factor() {
    return Number(this.#field.value)
  }

  /** The size of a photo once it is enlarged, in words. @param {Size} photo */
  inWords(photo) {
    const { width, height } = this.#sizeOf(photo)
    return isolated(`${width} × ${height}`)
  }

  /** Why a photo cannot be enlarged as chosen; empty where it can. @param {Size} photo */
  problem(photo) {
    const { width, height } = this.#sizeOf(photo)
    const { side, pixels } = this.#limits
    if (Math.max(width, height) <= side && width * height <= pixels) return ""
    return gettext("{size} is too large: at most {side} a side and {megapixels} megapixels.", { size: this.inWords(photo), side, megapixels: pixels / 1e6 })
  }

  /** Asks how long a photo takes as chosen, and shows that. `marked`: where detail is added; null for everywhere.
   *  @param {Size} photo @param {import("editor/view/window_outline").Marked | null} marked */
  plan({ width, height }, marked) {
    const part = this.#detail.isOn && marked ? { mask_box: marked.mask_box } : {}
    const question = { engine: "upscale", image_size: [width, height], scale: this.factor, ...this.#detail.fields, ...part }
    if (JSON.stringify(question) === this.#asked) return
    this.#asked = JSON.stringify(question)
    this.#time.textContent = ""
    this.#plan.askSoon(() => question)
  }

  #showTime() {
    const { estimate_seconds: seconds } = this.#plan.latest
    this.#time.textContent = seconds === null ? "" : gettext("about {time}", { time: roughly(seconds) })
  }

  /** @param {Size} photo @returns {Size} */
  #sizeOf({ width, height }) {
    return { width: Math.round(width * this.factor), height: Math.round(height * this.factor) }
  }
}
