// A request as a curl command. Pure: no DOM.

import { settingTexts } from "job/setting_texts"

/**
 * The command that asks for the same once more. @param {string} url of `POST /api/img2img`
 * @param {object} requested the settings as the metadata lists them
 */
export function asCurl(url, requested) {
  return [
    `curl ${quoted(url)}`,
    '-H "Authorization: Bearer $DREAMLAYER_KEY"',
    "-F image=@photo.png -F mask=@mask.png",
    ...Object.entries(settingTexts(requested)).map(([name, value]) => `--form-string ${quoted(`${name}=${value}`)}`),
  ].join(" \\\n  ")
}

/** For a POSIX shell. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`
