// The round brush and the eraser: one tool with the methods down, move and up, which makes a stroke.

import { stroke } from "editor/strokes"

const CLOSEST = 0.5 // image pixels: nearer points add nothing to see

/** `settings()` gives {size, erases}; `onGrow(stroke)` is called for each new point, `onDone(stroke)` at the end, `onDrop()` when the stroke is discarded. */
export function brush({ settings, onGrow, onDone, onDrop }) {
  let live = null

  return {
    down(imagePoint) {
      live = { ...settings(), points: [imagePoint] }
      onGrow(live)
    },
    move(imagePoint) {
      if (!live) return
      const last = live.points.at(-1)
      if (Math.hypot(imagePoint.x - last.x, imagePoint.y - last.y) < CLOSEST) return
      live.points.push(imagePoint)
      onGrow(live)
    },
    up() {
      if (!live) return
      const finished = stroke(live)
      live = null
      onDone(finished)
    },
    cancel() {
      if (!live) return
      live = null
      onDrop()
    },
  }
}
