// The brush and the eraser: strokes along the pointer; straight lines by the option, or from the last stroke's end with Shift.

import { stroke } from "editor/document/operations"
import { distance } from "editor/tools/geometry"
import { StraightLine } from "editor/tools/straight_line"

const CLOSEST = 0.75 // pixels of the screen between two points of a stroke
const CLOSEST_SHARE = { hard: 0.02, soft: 0.05 } // of the brush's size: each point of a large brush changes millions of pixels

/** @param {import("./toolbox.js").Tooling} tooling */
export function brush(name, { add, mask, options, redraw, scale, size }) {
  let live = null // the stroke that grows, its points still a list
  let line = null // the straight line that is dragged
  let skipped = null // the pointer's last place, where it is too close to the last point
  let lastEnd = null

  const pressed = ({ x, y, pressure }) => [x, y, options.values.pressure ? pressure : 1]
  const startOf = (point) => ({ erases: (name === "eraser") !== point.erases, size: size(), hardness: options.values.hardness })
  function finish(drawn) {
    const finished = stroke(drawn)
    lastEnd = finished.points.at(-1)
    add(finished)
  }
  function extend(points) {
    if (!points.length) return
    live.points.push(...points)
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
      line?.drag(points.at(-1))
      if (line) redraw()
      if (!live) return
      const share = CLOSEST_SHARE.soft + (CLOSEST_SHARE.hard - CLOSEST_SHARE.soft) * live.hardness
      const closest = Math.max(CLOSEST / scale(), share * live.size)
      const far = []
      for (const point of points.map(pressed)) {
        const isFar = distance(far.at(-1) ?? live.points.at(-1), point) >= closest
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
      if (skipped && distance(live.points.at(-1), skipped) * scale() >= CLOSEST) extend([skipped])
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
