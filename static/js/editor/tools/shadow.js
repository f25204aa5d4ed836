// Adds the cast shadow and the mirror image of what is marked to the mask, as one step of undo. They are those that the
// setting `include_shadow` finds: the server plans a smaller copy of the photo with it (POST /api/plan/).

import { post } from "api"
import { put } from "editor/document/images"
import { imageInBox } from "editor/document/operations"
import { blobOf, changeBetween, cut } from "editor/tools/object/finder"
import { gettext } from "text"

const SIDE = 1024 // several times what the search works with
const FIELDS = { prompt: "", engine: "quick-fill", mask_polarity: "white_repaints", include_shadow: "true" }
const NOTHING = gettext("No shadow or mirror image of it was found.")
const CHANGED = gettext("The mask changed meanwhile, so no shadow was added.")

/** @param {import("./toolbox.js").Tooling} tooling @returns {{add: () => Promise<void>}} */
export function shadow({ add, mask, photo, photoBitmap, planUrl, showMessage, store }) {
  let isLooking = false

  async function find() {
    const before = store.document
    const { id, width, height } = photo()
    const box = [0, 0, width, height]
    const { blob } = await cut(await photoBitmap(), id, box, SIDE)
    const marked = await whiteOnBlack(await mask.shape(SIDE))
    const form = new FormData()
    form.append("image", blob, "photo.jpg")
    form.append("mask", marked, "mask.png")
    for (const [name, value] of Object.entries(FIELDS)) form.append(name, value)
    const found = blobOf((await post(planUrl, form)).mask)
    const shadowed = await changeBetween(marked, found, false)
    const image = shadowed && (await put(shadowed))
    if (store.document !== before) return showMessage(CHANGED)
    if (image) add(imageInBox({ image, box }))
    showMessage(image ? "" : NOTHING)
  }

  return {
    async add() {
      if (isLooking) return
      isLooking = true
      showMessage(gettext("Looking for its shadow…"))
      try {
        await find()
      } catch (error) {
        showMessage(/** @type {Error} */ (error).message)
      } finally {
        isLooking = false
      }
    },
  }
}

/** The mask as a PNG, white where it repaints. @param {{width: number, height: number, rgba: Uint8ClampedArray<ArrayBuffer>}} shape
 *  black where it repaints, clear elsewhere @returns {Promise<Blob>} */
async function whiteOnBlack({ width, height, rgba }) {
  const canvas = document.createElement("canvas")
  Object.assign(canvas, { width, height })
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"))
  context.putImageData(new ImageData(rgba, width, height), 0, 0)
  for (const [way, colour] of /** @type {[GlobalCompositeOperation, string][]} */ ([["source-in", "white"], ["destination-over", "black"]])) {
    context.globalCompositeOperation = way
    context.fillStyle = colour
    context.fillRect(0, 0, width, height)
  }
  return /** @type {Promise<Blob>} */ (new Promise((resolve) => { canvas.toBlob(/** @type {BlobCallback} */ (resolve), "image/png") }))
}
