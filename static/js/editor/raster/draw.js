// Draws an operation on a mask, and gives the changed mask; the given one stays as it is.

import { fillHoles } from "./components.js"
import { feather, grow } from "./grow.js"
import { imageMask } from "./images.js"
import { REPAINTED, selected } from "./polarity.js"
import { shapeMask } from "./shapes.js"
import { drawStroke } from "./stroke/stroke.js"
import { Mask, composite, inverted } from "./tiles.js"
import { wandMask } from "./wand.js"

/** @typedef {{photo: () => Promise<import("./images.js").Pixels>, image: (id: string) => Promise<ImageBitmap>}} Sources
 *  the photo's pixels for the wand, and images by their id */

/** @param {Mask} mask @param {import("../document/operations.js").Operation} operation @param {Sources} sources @returns {Promise<Mask>} */
export async function draw(mask, operation, sources) {
  /** @param {Mask} cover */
  const add = (cover) => composite(mask, cover, "erases" in operation && operation.erases)
  switch (operation.kind) {
    case "stroke": return drawStroke(mask, operation)
    case "shape": return add(shapeMask(mask, operation))
    case "wand": return add(wandMask(await sources.photo(), operation))
    case "image": return add(await imageIn(mask, operation, operation.box, selected, sources))
    case "file": return imageIn(mask, operation, [0, 0, mask.width, mask.height], REPAINTED[operation.repaints], sources)
    case "grow": return grow(mask, operation.pixels)
    case "feather": return feather(mask, operation.pixels)
    case "fill-holes": return fillHoles(mask)
    case "invert": return inverted(mask)
    case "clear": return new Mask(mask.width, mask.height)
  }
  throw new RangeError(`"${/** @type {{kind: string}} */ (operation).kind}" is not an operation`)
}

/** @param {Mask} mask @param {{image: string}} operation @param {readonly number[]} box
 *  @param {import("./polarity.js").ValueOf} valueOf @param {Sources} sources */
async function imageIn(mask, { image }, box, valueOf, sources) {
  const bitmap = await sources.image(image)
  try {
    return imageMask(mask, bitmap, box, valueOf)
  } finally {
    bitmap.close()
  }
}
