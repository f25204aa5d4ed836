// The brush and the eraser: strokes along the pointer, straight lines from the last stroke's end with Shift.

import { stroke } from "editor/core/operations"
import { distance } from "editor/tools/geometry"

const CLOSEST = 0.75 // pixels of the screen between two points of a stroke
const CLOSEST_SHARE = { hard: 0.02, soft: 0.05 } // of the brush's size: each point of a large brush changes millions of pixels

/** @param {import("./toolbox.js").Tooling} tooling */
export function brush(name, { add, mask, options, scale, size }) {
  let live = null // the stroke that grows, its points still a list
  let skipped = null // the pointer's last place, where it is too close to the last point
  let lastEnd = null

  const pressed = ({ x, y, pressure }) => [x, y, options.values.pressure ? pressure : 1]
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
      const here = pressed(point)
      const points = point.shift && lastEnd ? [[...lastEnd.slice(0, 2), here[2]], here] : [here]
      live = { erases: (name === "eraser") !== point.erases, size: size(), hardness: options.values.hardness, points }
      skipped = null
      mask.begin(stroke(live))
    },
    move(points) {
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
      if (!live) return
      if (skipped && distance(live.points.at(-1), skipped) * scale() >= CLOSEST) extend([skipped])
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
