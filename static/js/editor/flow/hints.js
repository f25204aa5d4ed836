// What may be meant otherwise: a mask of next to nothing, or of nothing but specks.

import { share } from "format"
import { gettext } from "text"

const LITTLE = 0.001 // a share of the photo; less is probably not what was meant
const SPECK_PIXELS = 16
const MOST_OF_SPECKS = 0.02 // a larger share is not searched for specks
const PAUSE_MS = 400

export class Hints {
  #mask
  #onChange
  /** @type {{count: number, largest: number} | null} */
  #specks = null
  #timer = 0

  /** `onChange()` is called when `text()` may have changed.
   *  @param {Pick<import("editor/flow/photos").MaskView, "coverage" | "specks">} mask @param {() => void} onChange */
  constructor(mask, onChange) {
    this.#mask = mask
    this.#onChange = onChange
  }

  /** Searches for specks once drawing pauses. Call it when the mask has changed. */
  check() {
    clearTimeout(this.#timer)
    const covered = this.#mask.coverage()
    if (covered === 0 || covered > MOST_OF_SPECKS) return
    this.#timer = setTimeout(async () => {
      this.#specks = await this.#mask.specks()
      this.#onChange()
    }, PAUSE_MS)
  }

  /** A sentence; empty where there is nothing to say. */
  text() {
    const covered = this.#mask.coverage()
    if (covered > 0 && covered < LITTLE) return gettext("Only {share} of the photo is painted over. Was that all?", { share: share(covered) })
    if (this.#specks && covered <= MOST_OF_SPECKS && this.#specks.largest < SPECK_PIXELS) return gettext("Only specks of a few pixels are painted over.")
    return ""
  }
}
