// What the browser shows of a photo: the file itself or, of a TIFF or HEIC that it cannot read, the server's PNG of it. The
// file stays what is sent and painted on.

import { call, fetchFile } from "api"
import { sha256 } from "editor/document/sha256"
import { isShownEverywhere } from "photo_types"

/** @type {WeakMap<Blob, Promise<Blob>>} */
const shown = new WeakMap() // file -> a promise of its PNG

/** The file, or a PNG that shows the same. @param {Blob} file @returns {Promise<Blob>}
 *  Rejects with an ApiError that tells why the server cannot read it. */
export async function displayable(file) {
  if (isShownEverywhere(file.type) || (await isReadable(file))) return file
  if (!shown.has(file)) {
    shown.set(file, convert(file))
    ;/** @type {Promise<Blob>} */ (shown.get(file)).catch(() => shown.delete(file)) // it may be read later
  }
  return /** @type {Promise<Blob>} */ (shown.get(file))
}

/** @param {Blob} file */
async function isReadable(file) {
  try {
    (await createImageBitmap(file)).close()
    return true
  } catch {
    return false
  }
}

/** Sends the file as an image of the draft, where the editor would send it anyway. @param {Blob} file */
async function convert(file) {
  const url = `/api/draft/pictures/${await sha256(await file.arrayBuffer())}/`
  await call(url, { method: "PUT", body: file, headers: { "Content-Type": file.type || "application/octet-stream" } })
  return fetchFile(`${url}png/`, "shown.png")
}
