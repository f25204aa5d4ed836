// The brush and the eraser: strokes along the pointer; straight lines by the option, or from the last stroke's end with Shift.

import { stroke } from "editor/document/operations"
import { distance } from "editor/tools/geometry"
import { StraightLine } from "editor/tools/straight_line"

const CLOSEST = 0.75 // pixels of the screen between two points of a stroke
const CLOSEST_SHARE = { hard: 0.02, soft: 0.05 } // of the brush's size: each point of a large brush changes millions of pixels

/** @typedef {{erases: boolean, size: number, hardness: number}} Start  of a stroke */

/** @param {"brush" | "eraser"} name @param {import("./toolbox.js").Tooling} tooling
 *  @returns {import("editor/tools/toolbox").Tool} */
export function brush(name, { add, mask, options, redraw, scale, size }) {
  /** @type {Start & {points: number[][]} | null} */
  let live = null // the stroke that grows, its points still a list
  /** @type {StraightLine | null} */
  let line = null // the straight line that is dragged
  /** @type {number[] | null} */
  let skipped = null // the pointer's last place, where it is too close to the last point
  /** @type {readonly number[] | null} */
  let lastEnd = null

  /** @param {import("editor/tools/toolbox").Point} point */
  const pressed = ({ x, y, pressure }) => [x, y, options.values.pressure ? pressure : 1]
  /** @param {import("editor/tools/toolbox").Point} point @returns {Start} */
  const startOf = (point) => ({ erases: (name === "eraser") !== point.erases, size: size(), hardness: options.values.hardness })
  /** @param {Start & {points: number[][]}} drawn */
  function finish(drawn) {
    const finished = stroke(drawn)
    lastEnd = /** @type {readonly number[]} */ (finished.points.at(-1))
    add(finished)
  }
  /** @param {number[][]} points */
  function extend(points) {
    if (!points.length) return
    /** @type {NonNullable<typeof live>} */ (live).points.push(...points)
    mask.extend(points)
  }

  return {
    name,
    byKeys: "click",
    get ring() {
      return size()
    },
    down(point) {
      if (options.values.straight) {
        line = new StraightLine(point, startOf(point))
        return
      }
      const here = pressed(point)
      const points = point.shift && lastEnd ? [[...lastEnd.slice(0, 2), here[2]], here] : [here]
      live = { ...startOf(point), points }
      skipped = null
      mask.begin(stroke(live))
    },
    move(points) {
      line?.drag(/** @type {import("editor/tools/toolbox").Point} */ (points.at(-1)))
      if (line) redraw()
      if (!live) return
      const share = CLOSEST_SHARE.soft + (CLOSEST_SHARE.hard - CLOSEST_SHARE.soft) * live.hardness
      const closest = Math.max(CLOSEST / scale(), share * live.size)
      /** @type {number[][]} */
      const far = []
      for (const point of points.map(pressed)) {
        const isFar = distance(/** @type {number[]} */ (far.at(-1) ?? live.points.at(-1)), point) >= closest
        if (isFar) far.push(point)
        skipped = isFar ? null : point
      }
      extend(far)
    },
    up() {
      if (line) {
        const drawn = line.drawn(lastEnd, scale())
        line = null
        finish(drawn)
      }
      if (!live) return
      if (skipped && distance(/** @type {number[]} */ (live.points.at(-1)), skipped) * scale() >= CLOSEST) extend([skipped])
      const drawn = live
      live = null
      mask.end()
      finish(drawn)
    },
    cancel() {
      if (line) redraw()
      line = null
      if (!live) return
      live = null
      mask.cancel()
    },
    get isDrawing() {
      return line !== null
    },
    guides: () => (line ? [line.guide] : []),
    forget() {
      lastEnd = null
    },
  }
}
