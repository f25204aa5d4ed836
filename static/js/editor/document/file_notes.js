// What the first bytes of a file say of its photo that a person would not see. Pure: no DOM.

import { gettext } from "text"

const PNG_SIGNATURE = "\x89PNG\r\n\x1a\n"
const HEAD_BYTES = 4096 // in which the marks of an animation lie, before the first frame

/** What a person would not see of a photo: "16 bits kept", "first frame only". @param {Blob} file @param {Blob} shown
 *  @returns {Promise<string[]>} */
export async function notesOn(file, shown) {
  const [own, seen] = await Promise.all([file, shown].map(headOf))
  const isDeep = seen.startsWith(PNG_SIGNATURE) && seen.charCodeAt(24) === 16 // of a PNG's IHDR
  const isAnimated = own.startsWith(PNG_SIGNATURE) ? own.includes("acTL")
    : own.startsWith("RIFF") ? own.startsWith("VP8X", 12) && Boolean(own.charCodeAt(20) & 2)
      : own.startsWith("GIF8") && own.includes("NETSCAPE2.0")
  return [...(isDeep ? [gettext("16 bits kept")] : []), ...(isAnimated ? [gettext("first frame only")] : [])]
}

/** The first bytes of a file as characters. @param {Blob} file */
async function headOf(file) {
  return String.fromCharCode(...new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer()))
}
