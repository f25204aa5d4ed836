// Which files are photos, which are masks, and which mask belongs to which photo. Pure: no DOM.

import { isPhoto } from "photo_types"

const MASK = /mask/i

/** Whether these files are for a batch rather than one photo, perhaps with its mask. @param {{name: string}[]} files */
export const isBatch = (files) => files.filter(({ name }) => !MASK.test(name)).length > 1

/** @param {File[]} files @returns {{photos: File[], masks: File[], others: File[]}} others: no images */
export function sorted(files) {
  const images = files.filter(isPhoto)
  return {
    photos: images.filter(({ name }) => !MASK.test(name)),
    masks: images.filter(({ name, type }) => MASK.test(name) && type === "image/png"),
    others: files.filter((file) => !isPhoto(file) || (MASK.test(file.name) && file.type !== "image/png")),
  }
}

/** The mask of each photo, by their names: "Bench mask.png" or "mask_bench.png" belongs to "bench.jpg"; null where there is none.
 *  @template {{name: string}} Mask @param {{name: string}[]} photos @param {Mask[]} masks @returns {(Mask | null)[]} */
export function masksOf(photos, masks) {
  const byName = new Map(masks.map((mask) => [bare(mask.name), mask]))
  return photos.map(({ name }) => byName.get(bare(name)) ?? null)
}

/** "IMG 12-mask.png" -> "img12" @param {string} name */
const bare = (name) => name.replace(/\.[^.]+$/, "").replace(MASK, "").replace(/[^\p{L}\p{N}]/gu, "").toLowerCase()
