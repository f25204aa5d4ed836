// The magic wand: a click selects the pixels of a similar colour, connected ones or all. Its options tune the last click.

import { replaceLast } from "editor/document/document"
import { wand as operation } from "editor/document/operations"

/** @typedef {import("editor/document/operations").Operation} Operation */

/** @param {import("./toolbox.js").Tooling} tooling @returns {import("editor/tools/toolbox").Tool} */
export function wand({ add, options, photo, store }) {
  /** @type {import("./toolbox.js").Point | null} */
  let start = null
  options.subscribe(({ tool, tolerance, contiguous }) => { if (tool === "wand") tune({ tolerance, contiguous }) })

  /** Selects anew from where the last click was, as the same step of undo.
   *  @param {Pick<import("editor/tools/options").Values, "tolerance" | "contiguous">} changes */
  function tune(changes) {
    const last = /** @type {{operation?: Operation} | undefined} */ (store.document.entries[store.document.cursor - 1])
    if (last?.operation?.kind !== "wand") return
    const tuned = operation({ ...last.operation, ...changes })
    if (JSON.stringify(tuned) === JSON.stringify(last.operation)) return
    store.update((document) => replaceLast(document, { kind: "mask", operation: tuned }))
  }

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
