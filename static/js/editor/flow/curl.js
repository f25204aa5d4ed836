// A request as a curl command. Pure: no DOM.

import { UPSCALE_PATH, fieldsOfUpscaling, hasMaskOfDetail, isEnlarged } from "job/upscaling"
import { settingTexts } from "job/setting_texts"

/**
 * The command that asks for the same as a generation once more. @param {string} paintUrl of `POST /api/img2img`
 * @param {import("job/upscaling").About} metadata of the generation
 */
export function asCurl(paintUrl, metadata) {
  const enlarges = isEnlarged(metadata), url = enlarges ? new URL(UPSCALE_PATH, paintUrl).href : paintUrl
  const fields = enlarges ? fieldsOfUpscaling(metadata) : settingTexts(metadata.requested)
  const hasMask = !enlarges || hasMaskOfDetail(metadata)
  return [
    `curl ${quoted(url)}`,
    '-H "Authorization: Bearer $DREAMLAYER_KEY"',
    `-F image=@photo.png${hasMask ? " -F mask=@mask.png" : ""}`,
    ...Object.entries(fields).map(([name, value]) => `--form-string ${quoted(`${name}=${value}`)}`),
  ].join(" \\\n  ")
}

/** For a POSIX shell. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`
