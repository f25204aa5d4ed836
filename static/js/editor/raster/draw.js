// Draws an operation on a mask, and gives the changed mask; the given one stays as it is.

import { fillHoles } from "./components.js"
import { feather, grow } from "./grow.js"
import { imageMask } from "./images.js"
import { REPAINTED, selected } from "./polarity.js"
import { shapeMask } from "./shapes.js"
import { drawStroke } from "./stroke/stroke.js"
import { Mask, composite, inverted } from "./tiles.js"
import { wandMask } from "./wand.js"

/** @param {Mask} mask @param {import("../document/operations.js").Operation} operation
 *  @param {{photo: () => Promise<{width: number, height: number, rgba: Uint8Array}>, image: (id: string) => Promise<ImageBitmap>}} sources
 *  the photo's pixels for the wand, and images by their id @returns {Promise<Mask>} */
export async function draw(mask, operation, sources) {
  const add = (cover) => composite(mask, cover, "erases" in operation && operation.erases)
  switch (operation.kind) {
    case "stroke": return drawStroke(mask, operation)
    case "shape": return add(shapeMask(mask, operation))
    case "wand": return add(wandMask(await sources.photo(), operation))
    case "picture": return add(await imageIn(mask, operation, operation.box, selected, sources))
    case "file": return imageIn(mask, operation, [0, 0, mask.width, mask.height], REPAINTED[operation.repaints], sources)
    case "grow": return grow(mask, operation.pixels)
    case "feather": return feather(mask, operation.pixels)
    case "fill-holes": return fillHoles(mask)
    case "invert": return inverted(mask)
    case "clear": return new Mask(mask.width, mask.height)
  }
  throw new RangeError(`"${/** @type {any} */ (operation).kind}" is not an operation`)
}

async function imageIn(mask, { picture }, box, valueOf, sources) {
  const bitmap = await sources.image(picture)
  try {
    return imageMask(mask, bitmap, box, valueOf)
  } finally {
    bitmap.close()
  }
}
