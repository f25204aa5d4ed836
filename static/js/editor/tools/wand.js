// The magic wand: a click selects the pixels of a similar colour, connected ones or all.

import { wand as operation } from "editor/core/operations"

/** @param {import("./toolbox.js").Tooling} tooling */
export function wand({ add, options, photo }) {
  let start = null
  return {
    name: "wand",
    byKeys: "click",
    down(point) {
      start = point
    },
    move() {},
    up() {
      if (!start) return
      const { x, y, alt, erases } = start
      start = null
      const isInside = x >= 0 && y >= 0 && x < photo().width && y < photo().height
      const { tolerance, contiguous } = options.values
      if (isInside) add(operation({ erases: options.values.erases !== (alt || erases), x, y, tolerance, contiguous }))
    },
    cancel() {
      start = null
    },
  }
}
