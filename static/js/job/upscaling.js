// An upscaling, as `POST /api/upscale` takes it once more. Pure: no DOM.

import { settingTexts } from "job/setting_texts"

export const UPSCALE_PATH = "/api/upscale"

/** What these read of the metadata of a generation.
 *  @typedef {Pick<import("job/follow").Metadata, "verb" | "requested" | "width" | "height" | "results">} About */

/** @param {Pick<About, "verb">} metadata */
export const isEnlarged = ({ verb }) => verb === "Enlarged"

/** Whether a mask marked the part that got detail. @param {Pick<About, "results">} metadata */
export const hasMaskOfDetail = ({ results }) => results.some(({ coverage = 1 }) => coverage < 1)

/** The fields that ask for the same. @param {About} metadata @returns {Record<string, string>} */
export function fieldsOfUpscaling({ requested, width, height }) {
  const { engine: _, ...settings } = settingTexts(requested)
  return { ...settings, width: String(width), height: String(height) }
}
