// Strokes as the page sees them until they are drawn at full size: drawn at the level of the view, and only in its tiles.

import { reduced } from "../levels.js"
import { StrokeDrawer } from "./stroke.js"
import { SIDE } from "../tiles.js"

export class Preview {
  /** @type {StrokeDrawer | null} */
  #drawer = null // of the stroke that was begun
  #limit

  /** @param {import("../tiles.js").Mask} base what is drawn at full size @param {import("../drawing.js").View} view */
  constructor(base, view) {
    const { level, left, top, right, bottom } = view
    this.base = base
    this.level = level
    this.first = this.mask = reduced(base, level, view)
    const { width, height } = this.mask
    this.#limit = {
      left: Math.max(0, left * SIDE), top: Math.max(0, top * SIDE),
      right: Math.min(width, right * SIDE), bottom: Math.min(height, bottom * SIDE),
    }
  }

  /** The share of the image that is repainted, 0 to 1, as far as it is seen. */
  get coverage() {
    return Math.max(0, Math.min(1, this.base.coverage + this.mask.coverage - this.first.coverage))
  }

  /** Begins a stroke; its points come by `add`. @param {import("../../document/operations.js").Stroke} stroke */
  begin(stroke) {
    this.#drawer = new StrokeDrawer(this.mask, { ...stroke, size: stroke.size / 2 ** this.level }, this.#limit)
    this.mask = this.#drawer.mask
  }

  /** @param {import("../../document/operations.js").Points} points @returns {Map<number, import("../tiles.js").Box>} the changed display tiles: the part of each */
  add(points) {
    const scale = 2 ** -this.level
    return /** @type {StrokeDrawer} */ (this.#drawer).add(points.map(([x, y, pressure]) => [x * scale, y * scale, pressure]))
  }

  end() {
    this.mask = /** @type {StrokeDrawer} */ (this.#drawer).end()
  }

  /** Takes the stroke back. */
  cancel() {
    this.mask = /** @type {StrokeDrawer} */ (this.#drawer).base
  }
}
