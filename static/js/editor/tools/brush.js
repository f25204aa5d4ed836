// The brush and the eraser: strokes along the pointer, straight lines from the last stroke's end with Shift.

import { stroke } from "editor/core/operations"
import { distance } from "editor/tools/geometry"

const CLOSEST = 0.75 // pixels of the screen between two points of a stroke

/** @param {import("./toolbox.js").Tooling} tooling */
export function brush(name, { add, mask, options, scale, size }) {
  let live = null // the stroke that grows, its points still a list
  let lastEnd = null

  const pressed = ({ x, y, pressure }) => [x, y, options.values.pressure ? pressure : 1]
  return {
    name,
    byKeys: "click",
    get ring() {
      return size()
    },
    down(point) {
      const here = pressed(point)
      const points = point.shift && lastEnd ? [[...lastEnd.slice(0, 2), here[2]], here] : [here]
      live = { erases: (name === "eraser") !== point.erases, size: size(), hardness: options.values.hardness, points }
      mask.begin(stroke(live))
    },
    move(points) {
      if (!live) return
      const far = []
      for (const point of points.map(pressed)) {
        if (distance(far.at(-1) ?? live.points.at(-1), point) * scale() >= CLOSEST) far.push(point)
      }
      if (!far.length) return
      live.points.push(...far)
      mask.extend(far)
    },
    up() {
      if (!live) return
      const finished = stroke(live)
      lastEnd = finished.points.at(-1)
      live = null
      mask.end()
      add(finished)
    },
    cancel() {
      if (!live) return
      live = null
      mask.cancel()
    },
    forget() {
      lastEnd = null
    },
  }
}
