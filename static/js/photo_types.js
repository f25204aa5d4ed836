// The files that are taken as photos, the same as in inpainting/core/codecs/accepted.py. Pure: no DOM.

import { gettext } from "text"

export const FORMATS = gettext("PNG, JPEG, WebP, GIF, TIFF, BMP, AVIF or HEIC")
export const TYPES = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/tiff", "image/bmp", "image/avif", "image/heic", "image/heif"]
export const ENDINGS = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif"]
const SHOWN_EVERYWHERE = ["image/png", "image/jpeg", "image/webp", "image/gif"]

/** Whether a file is taken as a photo: by its type or, as browsers do not know all types, by its name. @param {{name: string, type: string}} file */
export function isPhoto({ name, type }) {
  return TYPES.includes(type) || ENDINGS.some((ending) => name.toLowerCase().endsWith(ending))
}

/** Whether every browser can show files of this type; which of the others it can, it finds out. @param {string} type */
export const isShownEverywhere = (type) => SHOWN_EVERYWHERE.includes(type)
