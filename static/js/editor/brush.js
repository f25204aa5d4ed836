// The round brush and the eraser: one tool with the methods down, move and up, which makes a stroke.

import { stroke } from "editor/core/operations"

const CLOSEST = 0.5 // image pixels: nearer points add nothing to see
const SMALLEST_BRUSH = 1
const LARGEST_BRUSH = 100

/** `settings()` gives {size, erases}; the stroke grows on `mask`; `onDone(stroke)` is called at its end. */
export function brush({ settings, mask, onDone }) {
  let live = null

  return {
    down({ x, y }) {
      live = { ...settings(), points: [[x, y]] }
      mask.begin(stroke(live))
    },
    move({ x, y }) {
      if (!live) return
      const [lastX, lastY] = live.points.at(-1)
      if (Math.hypot(x - lastX, y - lastY) < CLOSEST) return
      live.points.push([x, y])
      mask.extend([[x, y, 1]])
    },
    up() {
      if (!live) return
      const finished = stroke(live)
      live = null
      mask.end()
      onDone(finished)
    },
    cancel() {
      live = null
      mask.cancel()
    },
  }
}

/** The nearest allowed brush size, in whole image pixels. */
export function brushSize(wanted) {
  return Math.min(LARGEST_BRUSH, Math.max(SMALLEST_BRUSH, Math.round(wanted) || SMALLEST_BRUSH))
}

/** The next size up or down: by one while small, by a tenth later, so that the keys feel even. */
export function nextBrushSize(size, direction) {
  return brushSize(size + direction * Math.max(1, Math.round(size / 10)))
}
