// The outpainting frame: its edges and corners are dragged outward; the document keeps the margins.

import { push } from "editor/document/document"
import { dragged, edgesAt, isEmpty } from "editor/tools/frame_geometry"

const REACH = 14, FINGER = 24 // pixels of the screen around an edge, for a mouse and for a finger

/** @typedef {import("editor/document/document").Frame} Frame */

/** @param {import("./toolbox.js").Tooling} tooling @returns {import("editor/tools/toolbox").Tool} */
export function frame({ maxMargin, photo, redraw, scale, store }) {
  /** @type {{edges: string, from: number[], start: Frame, frame: Frame} | null} */
  let live = null
  const current = () => live?.frame ?? store.view.frame

  return {
    name: "frame",
    byKeys: "drag",
    down({ x, y, type }) {
      const edges = edgesAt(photo(), store.view.frame, [x, y], (type === "touch" ? FINGER : REACH) / scale())
      live = edges ? { edges, from: [x, y], start: store.view.frame, frame: store.view.frame } : null
    },
    move(points) {
      if (!live) return
      const { x, y } = /** @type {import("./toolbox.js").Point} */ (points.at(-1))
      live.frame = dragged(live.start, live.edges, [x - live.from[0], y - live.from[1]], maxMargin)
      redraw()
    },
    up() {
      if (!live) return
      const { frame, start } = live
      live = null
      setFrame(store, frame, start)
      redraw()
    },
    cancel() {
      live = null
      redraw()
    },
    get isDrawing() {
      return live !== null
    },
    cursorAt({ x, y }) {
      const edges = edgesAt(photo(), current(), [x, y], REACH / scale())
      return CURSORS[edges] ?? ""
    },
    guides: () => guidesOf(photo(), current(), true),
  }
}

/** Adds a frame to the document, unless it is the one there.
 *  @param {import("editor/document/store").Store} store @param {Frame} frame */
export function setFrame(store, frame, before = store.view.frame) {
  if (JSON.stringify(frame) !== JSON.stringify(before)) store.update((document) => push(document, { kind: "frame", frame }))
}

/** The frame around the photo; with handles while the tool is chosen.
 *  @param {import("editor/tools/geometry").Size} photo @param {Frame} margins @param {boolean} hasHandles
 *  @returns {import("./guides.js").Guide[]} */
export function guidesOf(photo, margins, hasHandles) {
  if (!hasHandles && isEmpty(margins)) return []
  const inner = [0, 0, photo.width, photo.height]
  const outer = [-margins.left, -margins.top, photo.width + margins.right, photo.height + margins.bottom]
  const [left, top, right, bottom] = outer
  const [across, down] = [(left + right) / 2, (top + bottom) / 2]
  const handles = [[left, top], [across, top], [right, top], [right, down], [right, bottom], [across, bottom], [left, bottom], [left, down]]
  return [{ kind: "frame", inner, outer }, ...(hasHandles ? [/** @type {const} */ ({ kind: "handles", points: handles })] : [])]
}

/** @type {Record<string, string>} */
const CURSORS = {
  left: "ew-resize", right: "ew-resize", top: "ns-resize", bottom: "ns-resize",
  "left top": "nwse-resize", "right bottom": "nwse-resize", "top right": "nesw-resize", "left bottom": "nesw-resize",
}
