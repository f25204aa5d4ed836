// A request to paint as plain JSON, so that the draft keeps it until the server has answered: after a reload, or a lost
// connection, the same request is sent again under the same Idempotency-Key and is painted once.

import { get, put } from "editor/document/images"

/** @typedef {{key: string, path?: string, fields: Record<string, string>, files: Record<string, {image: string, name: string}>}} Request
 *  key: of the header Idempotency-Key; path: of the API, where it is not that which paints; files: their ids in document/images.js */

/** Describes a request and keeps its files. It is one of the `former` ones, with its key, where that asked for the same.
 *  @param {Record<string, string | number>} fields @param {Record<string, File>} files
 *  @param {readonly Request[]} former requests without an answer @param {string} [path] of the API
 *  @returns {Promise<Request>} */
export async function requestOf(fields, files, former, path) {
  const kept = await Promise.all(Object.entries(files).map(async ([field, file]) => [field, { image: await put(file), name: file.name }]))
  const texts = Object.entries(fields).map(([name, value]) => [name, String(value)])
  const content = { ...(path && { path }), fields: Object.fromEntries(texts), files: Object.fromEntries(kept) }
  const asked = JSON.stringify([path, content.fields, content.files])
  return former.find(({ path, fields, files }) => JSON.stringify([path, fields, files]) === asked) ?? { key: newKey(), ...content }
}

/** The ids of a request's files. @param {Request} request @returns {string[]} */
export const imagesOf = ({ files }) => Object.values(files).map(({ image }) => image)

/** Whether all its files are in this browser; those of another device may not be. @param {Request} request */
export const isComplete = async (request) => (await Promise.all(imagesOf(request).map(get))).every(Boolean)

/** The form to send. @param {Request} request complete */
export async function formOf({ fields, files }) {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  for (const [field, { image, name }] of Object.entries(files)) form.append(field, /** @type {Blob} */ (await get(image)), name)
  return form
}

/** crypto.randomUUID is missing where the page is not served by HTTPS. */
const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("")
