// Shapes that are filled when they are finished: rectangle and ellipse by two corners, lasso by a drag, polygon by clicks.

import { imageInBox, shape } from "editor/document/operations"
import { put } from "editor/document/images"
import { blobOf } from "editor/tools/object/finder"
import { boundsOf, boxOf, clipped, distance, squared, thinned } from "editor/tools/geometry"
import { gettext } from "text"

const CLOSEST = 2 // pixels of the screen between two points of a lasso
const MOST_CORNERS = 500 // of a lasso that is snapped to edges
const AROUND_LASSO = 0.4 // of its longer side, which the server sees too
const TO_CLOSE = 12 // pixels of the screen around the first corner of a polygon that close it

/** @param {{x: number, y: number}} point */
const xy = ({ x, y }) => [x, y]
/** @param {import("editor/tools/options").Options} options @param {import("./toolbox.js").Point} point */
const erasing = (options, point) => options.values.erases !== (point.alt || point.erases)

/** Shift makes a square or a circle. @param {"rectangle" | "ellipse"} name @param {import("./toolbox.js").Tooling} tooling
 *  @returns {import("editor/tools/toolbox").Tool} */
export function box(name, tooling) {
  const { mask, options, redraw, scale } = tooling
  /** @type {{from: number[], to: number[], erases: boolean} | null} */
  let live = null
  return {
    name,
    byKeys: "drag",
    down(point) {
      live = { from: xy(point), to: xy(point), erases: erasing(options, point) }
      mask.begin({ kind: "shape", erases: live.erases, shape: name, points: [live.from, live.to] })
    },
    move(points) {
      if (!live) return
      const last = /** @type {import("./toolbox.js").Point} */ (points.at(-1))
      live.to = last.shift ? squared(live.from, xy(last)) : xy(last)
      mask.extend([live.to])
      redraw()
    },
    up() {
      if (!live) return
      const { from, to, erases } = live
      live = null
      const isDrawn = Math.min(Math.abs(from[0] - to[0]), Math.abs(from[1] - to[1])) * scale() >= 1
      end(tooling, isDrawn && shape({ erases, shape: name, points: [from, to] }))
    },
    cancel() {
      if (live) end(tooling)
      live = null
    },
    get isDrawing() {
      return live !== null
    },
    guides: () => (live ? [{ kind: name, box: boxOf(live.from, live.to) }] : []),
  }
}

/** @param {import("./toolbox.js").Tooling} tooling @returns {import("editor/tools/toolbox").Tool} */
export function lasso(tooling) {
  const { add, finder, mask, options, photo, redraw, showMessage, scale } = tooling
  /** @type {{points: number[][], erases: boolean} | null} */
  let live = null

  /** The object in the lasso, as one operation; the lasso itself where none is found.
   *  @param {number[][]} points @param {import("editor/document/operations").Shape} drawn */
  async function snap(points, drawn) {
    const box = clipped(boundsOf(points), photo())
    if (!box) return add(drawn)
    showMessage(gettext("Looking for edges…"))
    const part = await finder.partAround(box, AROUND_LASSO)
    /** @type {(Pick<import("editor/tools/object/finder").Answer, "box" | "mask"> & {message?: undefined}) | {box: null, message: string}} */
    const answer = await finder.find(part, { outline: thinned(points, MOST_CORNERS).map(part.inPart) }).catch((error) => ({ box: null, message: error.message }))
    if (photo()?.id !== part.photo) return
    showMessage(answer.box ? "" : (answer.message ?? gettext("No edges were found; the lasso is as it was drawn.")))
    add(answer.box ? imageInBox({ erases: drawn.erases, image: await put(blobOf(answer.mask)), box: part.box }) : drawn)
  }

  return {
    name: "lasso",
    byKeys: "drag",
    down(point) {
      live = { points: [xy(point)], erases: erasing(options, point) }
      mask.begin({ kind: "shape", erases: live.erases, shape: "polygon", points: live.points })
    },
    move(points) {
      if (!live) return
      /** @type {number[][]} */
      const far = []
      for (const point of points.map(xy)) if (distance(/** @type {number[]} */ (far.at(-1) ?? live.points.at(-1)), point) * scale() >= CLOSEST) far.push(point)
      live.points.push(...far)
      mask.extend(far)
      redraw()
    },
    up() {
      if (!live) return
      const { points, erases } = live
      live = null
      const drawn = points.length >= 3 && shape({ erases, shape: "polygon", points })
      if (!drawn || !options.values.snaps) return end(tooling, drawn)
      end(tooling)
      snap(points, drawn)
    },
    cancel() {
      if (live) end(tooling)
      live = null
    },
    get isDrawing() {
      return live !== null
    },
    guides: () => (live ? [{ kind: "path", points: live.points, isClosed: true }] : []),
  }
}

/** Ends with a click on its first corner, a second click on its last, or Enter.
 *  @param {import("./toolbox.js").Tooling} tooling @returns {import("editor/tools/toolbox").Tool} */
export function polygon(tooling) {
  const { keep, mask, options, redraw, scale } = tooling
  /** @type {{corners: number[][], erases: boolean, at: number[]} | null} at: where the pointer is */
  let live = null
  /** @param {number[]} corner @param {number[]} point */
  const near = (corner, point) => distance(corner, point) * scale() <= TO_CLOSE

  /** @param {number[][]} corners @param {boolean} erases */
  function begin(corners, erases) {
    live = { corners, erases, at: /** @type {number[]} */ (corners.at(-1)) }
    mask.begin({ kind: "shape", erases, shape: "polygon", points: [...corners] })
    redraw()
  }

  const kept = () => keep(live && { erases: live.erases, points: [...live.corners] })

  function close() {
    if (!live) return
    const { corners, erases } = live
    live = null
    kept()
    end(tooling, corners.length >= 3 && shape({ erases, shape: "polygon", points: corners }))
  }
  /** @param {import("./toolbox.js").Point} point */
  function hover(point) {
    if (!live) return
    live.at = xy(point)
    redraw()
  }

  return {
    name: "polygon",
    byKeys: "click",
    down(point) {
      const corner = xy(point)
      if (!live) {
        begin([corner], erasing(options, point))
        return kept()
      }
      const { corners } = live
      if (corners.length >= 3 && (near(corners[0], corner) || distance(/** @type {number[]} */ (corners.at(-1)), corner) * scale() <= 2)) return close()
      corners.push(corner)
      mask.extend([corner])
      redraw()
      kept()
    },
    move: (points) => { hover(/** @type {import("./toolbox.js").Point} */ (points.at(-1))) },
    up() {},
    hover,
    finish: close,
    cancel() {
      if (!live) return
      live = null
      kept()
      end(tooling)
    },
    forget() {
      live = null
    },
    resume: ({ erases, points }) => begin(points.map((point) => [...point]), erases),
    get isDrawing() {
      return live !== null
    },
    guides() {
      if (!live) return []
      return [{ kind: "path", points: [...live.corners, live.at] }, { kind: "handles", points: live.corners }]
    },
  }
}

/** Ends a shape that grows: with an operation it is added, without one it is dropped.
 *  @param {import("./toolbox.js").Tooling} tooling
 *  @param {import("editor/document/operations").Operation | false | null} operation */
function end({ add, mask, redraw }, operation = null) {
  if (operation) {
    mask.end()
    add(operation)
  } else {
    mask.cancel()
  }
  redraw()
}
