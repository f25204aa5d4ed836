// Reads files from the disk as a photo or a mask for the editor; raises Refused with a message for the person.

import { displayable } from "editor/document/displayable"
import { bytes } from "format"
import { FORMATS, isPhoto } from "photo_types"
import { gettext } from "text"

const PREVIEW_SIDE = 128

/** The file cannot be used here. Its message is for the person. */
export class Refused extends Error {}

/** @typedef {{bytes: number, side: number, pixels: number}} Limits */
/** @typedef {{file: File, shown: Blob, bitmap: ImageBitmap, name: string, width: number, height: number}} ReadPhoto
 *  shown: what the browser shows of the file */

const SIMILAR = 0.02 // of the ratio of the sides

/** @param {File} file @param {Limits} limits @returns {Promise<ReadPhoto>} */
export async function readPhoto(file, limits) {
  if (!isPhoto(file)) {
    throw new Refused(gettext("“{name}” is not a {formats} file.", { name: file.name, formats: FORMATS }))
  }
  if (file.size > limits.bytes) {
    throw new Refused(gettext("This photo has {size}; at most {most} are allowed.", { size: bytes(file.size), most: bytes(limits.bytes) }))
  }
  const shown = await displayable(file)
  const bitmap = await decode(shown, file.name)
  const { width, height } = bitmap
  if (Math.max(width, height) > limits.side || width * height > limits.pixels) {
    bitmap.close()
    throw new Refused(gettext("This photo is {width}×{height}; at most {side} a side and {megapixels} megapixels are allowed.", { width, height, side: limits.side, megapixels: limits.pixels / 1e6 }))
  }
  return { file, shown, bitmap, name: file.name, width, height }
}

/** The limits that a page has on photos. @param {{dataset: DOMStringMap}} root @returns {Limits} */
export const photoLimits = ({ dataset }) => ({ bytes: Number(dataset.maxImageBytes), side: Number(dataset.maxSide), pixels: Number(dataset.maxPixels) })

/** Whether a mask file may be taken at all: by type and size, before anything is decoded.
 *  @param {File} file @param {number} limitBytes */
export function checkMaskFile(file, limitBytes) {
  if (file.type !== "image/png") {
    throw new Refused(kindInWords(file))
  }
  if (file.size > limitBytes) {
    throw new Refused(gettext("Masks must be {most} or less; this one has {size}.", { most: bytes(limitBytes), size: bytes(file.size) }))
  }
}

/** An image in a 128-pixel square, whole, with empty space beside it.
 *  @param {HTMLCanvasElement} canvas @param {ImageBitmap} image */
export function drawPreview(canvas, image) {
  canvas.width = canvas.height = PREVIEW_SIDE
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"))
  const scale = PREVIEW_SIDE / Math.max(image.width, image.height)
  const [width, height] = [image.width * scale, image.height * scale]
  const [x, y] = [(PREVIEW_SIDE - width) / 2, (PREVIEW_SIDE - height) / 2]
  context.fillStyle = "white"
  context.fillRect(x, y, width, height)
  context.imageSmoothingQuality = "high"
  context.drawImage(image, x, y, width, height)
}

/** Of files dropped together, finds the photo and the mask by their names. @param {File[]} files */
export function sortFiles(files) {
  const mask = files.find((file) => /mask/i.test(file.name)) ?? null
  const photo = files.find((file) => file !== mask) ?? null
  return { photo, mask }
}

/** Whether a file that is dropped on a photo is its mask: by its name and the ratio of its sides.
 *  @param {File} file @param {{width: number, height: number}} photo */
export async function isMaskOf(file, photo) {
  if (!/mask/i.test(file.name) || file.type !== "image/png") return false
  const bitmap = await decode(file)
  const { width, height } = bitmap
  bitmap.close()
  return Math.abs((width / height) / (photo.width / photo.height) - 1) < SIMILAR
}

/** The image in a file that the browser can show. @param {Blob & {name?: string}} file @param {string} [name] @returns {Promise<ImageBitmap>} */
export async function decode(file, name = file.name) {
  try {
    return await createImageBitmap(file) // turns the photo upright by its EXIF orientation, as the server does
  } catch (error) {
    if (/** @type {Error} */ (error).name !== "InvalidStateError" && /** @type {Error} */ (error).name !== "EncodingError") throw error
    throw new Refused(gettext("“{name}” cannot be read as an image; it may be damaged, or too large for this browser.", { name: name ?? "" }))
  }
}

/** @param {File} file no PNG file */
const kindInWords = ({ name, type }) => (type
  ? gettext("Masks must be PNG files; “{name}” is a {type} file.", { name, type: type.replace(/^image\//, "").toUpperCase() })
  : gettext("Masks must be PNG files; “{name}” is of an unknown kind.", { name }))
