// Images of a document by their id, the SHA-256 of the file in hexadecimal digits. Kept in memory, and in the store of the
// draft where there is one.

import { sha256 } from "editor/document/sha256"

/** @type {Map<string, Blob>} */
const kept = new Map()
/** @typedef {{put: (id: string, blob: Blob) => Promise<unknown>, get: (id: string) => Promise<Blob | null>}} Store */
/** @type {Store} */
let store = { put: async () => {}, get: async () => null }

/** Keeps the images in another store too, and finds there what is not in memory.
 *  @param {Store} other */
export function keepIn(other) {
  store = other
}

/** Keeps the file. @param {Blob} blob @returns {Promise<string>} its id */
export async function put(blob) {
  const id = await sha256(await blob.arrayBuffer())
  if (!kept.has(id)) {
    kept.set(id, blob)
    await store.put(id, blob)
  }
  return id
}

/** @param {string} id @returns {Promise<Blob | null>} null where no such image is kept */
export async function get(id) {
  if (!kept.has(id)) {
    const found = await store.get(id)
    if (!found) return null
    kept.set(id, found)
  }
  return /** @type {Blob} */ (kept.get(id))
}
