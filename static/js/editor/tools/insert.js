// The tool that places the image to insert: it is dragged, scaled by its corners and rotated by the handle above it.

import { corners, dragged, handle, moved, partAt, scaled, turned } from "editor/tools/insert_geometry"
import { gettext } from "text"

const REACH = 14, FINGER = 24 // pixels of the screen around a handle, for a mouse and for a finger
const AWAY = 32 // of the handle that rotates, from the image, in pixels of the screen
const STEP = 2, FAST = 20 // pixels of the screen for a press of an arrow key, without and with Shift

/** @typedef {import("editor/tools/insert_geometry").Placement} Placement */
/** @typedef {import("editor/tools/geometry").Size} Size */
/** The image to insert, as the form has it. placed: where it lies; null where none is placed. place(placement) enters
 *  another place, preview(placement) shows one without entering it.
 *  @typedef {{readonly placed: {placement: Placement, size: Size} | null, place: (placement: Placement) => void,
 *    preview: (placement: Placement | null) => void}} Insert */

/** @param {Pick<import("./toolbox.js").Tooling, "redraw" | "scale" | "showMessage"> & {insert: Insert}} tooling
 *  @returns {import("editor/tools/toolbox").Tool} */
export function insert({ insert, redraw, scale, showMessage }) {
  /** @type {{part: import("editor/tools/insert_geometry").Part, from: number[], start: Placement, now: Placement} | null} */
  let live = null
  /** @param {number[]} point @param {string} [type] of the pointer */
  const partOf = (point, type) => {
    const { placed } = insert
    return placed && partAt(placed.placement, placed.size, point, { reach: (type === "touch" ? FINGER : REACH) / scale(), away: AWAY / scale() })
  }
  /** Enters another place and says it. @param {(placement: Placement) => Placement} next */
  const change = (next) => {
    const { placed } = insert
    if (!placed) return
    const placement = next(placed.placement)
    insert.place(placement)
    showMessage(inWords(placement))
    redraw()
  }

  return {
    name: "insert",
    byKeys: "drag",
    get isUsable() {
      return Boolean(insert.placed)
    },
    down({ x, y, type }) {
      showMessage("")
      const part = partOf([x, y], type), placement = insert.placed?.placement
      live = part === null || !placement ? null : { part, from: [x, y], start: placement, now: placement }
    },
    move(points) {
      const { placed } = insert
      if (!live || !placed) return
      const { x, y, shift } = /** @type {import("./toolbox.js").Point} */ (points.at(-1))
      live.now = dragged(live.start, placed.size, live.part, live.from, [x, y], shift)
      insert.preview(live.now)
      redraw()
    },
    up() {
      if (!live) return
      const { start, now } = live
      live = null
      insert.preview(null)
      if (now !== start) insert.place(now)
      redraw()
    },
    cancel() {
      live = null
      insert.preview(null)
      showMessage("")
      redraw()
    },
    get isDrawing() {
      return live !== null
    },
    cursorAt({ x, y }) {
      const part = live ? live.part : partOf([x, y])
      if (part === null) return ""
      if (typeof part === "string") return part === "inside" ? "move" : "grab"
      return diagonal(part, insert.placed?.placement.rotation ?? 0)
    },
    byArrow({ key, shiftKey }) {
      const step = (shiftKey ? FAST : STEP) / scale()
      const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[/** @type {"ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown"} */ (key)]
      change((placement) => moved(placement, [across * step, down * step]))
    },
    enlarge: (factor) => change((placement) => scaled(placement, factor)),
    turn: (degrees) => change((placement) => turned(placement, degrees)),
    guides() {
      const { placed } = insert
      if (!placed) return []
      const { placement, size } = placed
      const points = corners(placement, size)
      const top = [(points[0][0] + points[1][0]) / 2, (points[0][1] + points[1][1]) / 2]
      return [{ kind: "path", points, isClosed: true }, { kind: "knob", from: top, at: handle(placement, size, AWAY / scale()) }, { kind: "handles", points }]
    },
  }
}

/** @param {Placement} placement */
const inWords = ({ x, y, width, rotation }) =>
  gettext("Image at {x}, {y}, {width} px wide, {degrees}°", { x: Math.round(x), y: Math.round(y), width: Math.round(width), degrees: Math.round(rotation) })

/** The cursor of a corner, which goes round with the image. @param {number} corner @param {number} rotation */
const diagonal = (corner, rotation) => ["nwse-resize", "ns-resize", "nesw-resize", "ew-resize"][(Math.round(rotation / 45) + 2 * corner + 8) % 4]
