// The round brush and the eraser: one tool, led by down, move and up. What it makes is a stroke.

import { stroke } from "editor/strokes"

const CLOSEST = 0.5 // image pixels: nearer points add nothing to see

/** `settings()` gives {size, erases}; `onGrow(stroke)` hears every addition, `onDone(stroke)` the end, `onDrop()` that it is void. */
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
