// Selects an object by a click on it or a box around it: the server finds its pixels (POST /api/masks/).
//
// Only what is seen is sent, at most SIDE pixels wide or high, so that a photo of any size takes a moment: closer to the
// object, its edges are found more exactly.

import { post } from "api"
import { picture } from "editor/core/operations"
import { put } from "editor/core/pictures"
import { boxOf, clipped, distance, rounded, visible, widened } from "editor/tools/geometry"

const SIDE = 1024
const AROUND_VIEW = 0.25, AROUND_BOX = 0.4
const TO_DRAG = 6 // pixels of the screen: a shorter drag is a click

/** @param {import("./toolbox.js").Tooling} tooling */
export function object({ add, options, photo, photoBitmap, redraw, say, scale, surface, url, view }) {
  let live = null
  let asked = 0

  async function select({ from, to, erases }) {
    const isClick = distance(from, to) * scale() < TO_DRAG
    const box = isClick ? null : clipped(boxOf(from, to), photo())
    const around = isClick ? visible(view.viewport, { width: surface.clientWidth, height: surface.clientHeight }, photo()) : box
    const isInside = isClick && clipped([from[0], from[1], from[0] + 0.01, from[1] + 0.01], photo())
    if (!around || (isClick && !isInside)) return
    const part = rounded(clipped(widened(around, isClick ? AROUND_VIEW : AROUND_BOX), photo()))
    const request = ++asked
    const { id } = photo()
    say("Looking for the object…")
    const { blob, factor } = await cut(await photoBitmap(), part)
    const inPart = ([x, y]) => [(x - part[0]) * factor, (y - part[1]) * factor]
    const form = new FormData()
    form.append("image", blob, "part.jpg")
    form.append("store", "false")
    if (box) form.append("box", JSON.stringify([...inPart(box.slice(0, 2)), ...inPart(box.slice(2))]))
    else form.append("points", JSON.stringify([inPart(from)]))
    const answer = await post(url, form)
    if (photo()?.id !== id) return
    if (request === asked) say(answer.box ? "" : "No object was found here. Try a box around it.")
    if (answer.box) add(picture({ erases, picture: await put(await blobOf(answer.mask)), box: part }))
  }

  return {
    name: "object",
    byKeys: "click",
    down(point) {
      live = { from: [point.x, point.y], to: [point.x, point.y], erases: options.values.erases !== (point.alt || point.erases) }
    },
    move(points) {
      if (!live) return
      live.to = [points.at(-1).x, points.at(-1).y]
      redraw()
    },
    up() {
      if (!live) return
      const selection = live
      live = null
      redraw()
      select(selection).catch((error) => say(error.message))
    },
    cancel() {
      live = null
      redraw()
    },
    get isDrawing() {
      return live !== null
    },
    guides: () => (live && distance(live.from, live.to) * scale() >= TO_DRAG ? [{ kind: "rectangle", box: boxOf(live.from, live.to) }] : []),
  }
}

/** A part of the photo as a JPEG, and its scale. */
async function cut(bitmap, [left, top, right, bottom]) {
  const factor = Math.min(1, SIDE / Math.max(right - left, bottom - top))
  const canvas = document.createElement("canvas")
  canvas.width = Math.max(1, Math.round((right - left) * factor))
  canvas.height = Math.max(1, Math.round((bottom - top) * factor))
  const context = canvas.getContext("2d")
  context.imageSmoothingQuality = "high"
  context.drawImage(bitmap, left, top, right - left, bottom - top, 0, 0, canvas.width, canvas.height)
  const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.92) })
  return { blob, factor }
}

/** A data URL as a Blob. The page's policy allows no fetch of it. */
async function blobOf(dataUrl) {
  const [head, encoded] = dataUrl.split(",")
  const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0))
  return new Blob([bytes], { type: head.slice("data:".length).split(";")[0] })
}
