// A straight line of the brush: dragged from end to end, or from the end of the last one to a click.

import { distance } from "editor/tools/geometry"

const CLICK = 8 // pixels of the screen: a shorter drag is a click

/** @param {{x: number, y: number}} point */
const xy = ({ x, y }) => [x, y]

export class StraightLine {
  #from
  #to
  #start

  /** @param {{x: number, y: number}} point where it begins @param {import("editor/tools/brush").Start} start */
  constructor(point, start) {
    this.#from = this.#to = xy(point)
    this.#start = start
  }

  /** @param {{x: number, y: number}} point */
  drag(point) {
    this.#to = xy(point)
  }

  /** For the page, while it is dragged. @returns {import("editor/tools/guides").Guide} */
  get guide() {
    return { kind: "path", points: [this.#from, this.#to] }
  }

  /** The stroke of it. `lastEnd`: of the stroke before, or null; `scale`: pixels of the screen for one of the photo.
   *  @param {readonly number[] | null} lastEnd @param {number} scale */
  drawn(lastEnd, scale) {
    const isClick = distance(this.#from, this.#to) * scale < CLICK
    const ends = isClick ? [...(lastEnd ? [lastEnd.slice(0, 2)] : []), this.#from] : [this.#from, this.#to]
    return { ...this.#start, points: ends.map((end) => [...end, 1]) }
  }
}
