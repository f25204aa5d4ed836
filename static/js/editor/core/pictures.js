// Pictures of a document by their id, the SHA-256 of the file in hexadecimal digits. Kept in memory.

import { sha256 } from "editor/core/sha256"

const kept = new Map()

/** Keeps the file. @param {Blob} blob @returns {Promise<string>} its id */
export async function put(blob) {
  const id = await sha256(await blob.arrayBuffer())
  if (!kept.has(id)) kept.set(id, blob)
  return id
}

/** @returns {Promise<Blob | null>} null where no such picture is kept */
export async function get(id) {
  return kept.get(id) ?? null
}
