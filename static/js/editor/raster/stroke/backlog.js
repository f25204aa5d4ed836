// The strokes that the page sees already (preview.js) and that are not drawn at full size yet.

import { StrokeDrawer } from "./stroke.js"

/** @typedef {import("../../document/operations.js").Stroke} Stroke */

export class Backlog {
  /** @type {{stroke: Stroke, count: number, drawer: StrokeDrawer | null, steps: ReturnType<StrokeDrawer["steps"]> | null}[]} */
  #strokes = [] // {stroke, count, drawer, steps}; count: of the operations with it

  get isEmpty() {
    return this.#strokes.length === 0
  }

  /** The strokes, the oldest first. */
  get strokes() {
    return this.#strokes.map(({ stroke }) => stroke)
  }

  /** @param {Stroke} stroke @param {number} count */
  add(stroke, count) {
    this.#strokes.push({ stroke, count, drawer: null, steps: null })
  }

  /** Forgets the strokes after the first `count` operations: undo does not wait for what it takes away. @param {number} count */
  truncate(count) {
    this.#strokes = this.#strokes.filter((each) => each.count <= count)
  }

  /** Draws a part of the oldest stroke. @param {import("../tiles.js").Mask} mask with the strokes before it
   *  @returns {{mask: import("../tiles.js").Mask, count: number} | null} the mask with all of it, once it is drawn */
  step(mask) {
    const [oldest] = this.#strokes
    oldest.drawer ??= new StrokeDrawer(mask, oldest.stroke)
    oldest.steps ??= oldest.drawer.steps(oldest.stroke.points)
    if (!oldest.steps.next().done) return null
    this.#strokes.shift()
    return { mask: oldest.drawer.end(), count: oldest.count }
  }
}
