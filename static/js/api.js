// Requests to the API: every answer is JSON or a file, every error an ApiError with a message for people. A request that is
// refused because the session has ended is repeated after signing in again (session.js).

import { csrfToken, renew } from "session"
import { gettext } from "text"

/** inBackground: see `renew` of session.js; onProgress: how much of the body is sent, 0 to 1.
 *  @typedef {{method: string, body?: BodyInit, headers?: Record<string, string>, inBackground?: boolean, keepalive?: boolean,
 *    onProgress?: (share: number) => void, signal?: AbortSignal}} Options */

export class ApiError extends Error {
  /** @param {{status: number, message: string, code?: string, field?: string, limit?: number | null}} problem */
  constructor({ status, message, code = "", field = "", limit = null }) {
    super(message)
    this.status = status
    this.code = code
    this.field = field
    this.limit = limit
  }
}

/** @param {string} url @param {Partial<Options>} options */
export const get = (url, options = {}) => call(url, { method: "GET", ...options })

/** @param {string} url @param {BodyInit} [body] @param {Record<string, string>} [headers] @param {Partial<Options>} [options] */
export const post = (url, body, headers = {}, options = {}) => call(url, { method: "POST", body, headers, ...options })

/** An image of this site as a File, as if it had been picked from the disk. Rejects with an ApiError. @param {string} url @param {string} name */
export async function fetchFile(url, name) {
  const response = await answered(url, { method: "GET" })
  if (!response.ok) {
    const problem = await response.json().catch(() => null)
    throw new ApiError({ message: gettext("This image no longer exists."), ...problem, status: response.status })
  }
  const blob = await response.blob()
  return new File([blob], name, { type: blob.type })
}

/** A page of this site. Rejects with an ApiError. @param {string} url @param {Partial<Options>} options @returns {Promise<Document>} */
export async function getPage(url, options = {}) {
  const response = await reach(url, { method: "GET", headers: { Accept: "text/html" }, ...options })
  if (!response.ok) throw new ApiError({ status: response.status, message: inWords(response.status) })
  return new DOMParser().parseFromString(await response.text(), "text/html")
}

/** The JSON of the answer; null where it has none.
 *  @param {string} url @param {Options} options */
export async function call(url, options) {
  const response = await answered(url, { ...options, headers: { Accept: "application/json", ...options.headers } })
  const answer = await response.json().catch(() => null)
  if (response.ok && (answer || response.status === 204)) return answer
  throw new ApiError({ ...(answer ?? {}), status: response.status, message: answer?.message ?? inWords(response.status) })
}

/** The response; of the repeated request where the session had to be renewed. @param {string} url @param {Options} options */
async function answered(url, options) {
  const response = await reach(url, options)
  if (!(await isSessionMissing(response))) return response
  const isRenewed = await renew(options).catch(() => { throw offline() })
  return isRenewed ? reach(url, options) : response
}

/** @param {Response} response */
async function isSessionMissing(response) {
  if (response.status === 401) return true
  return response.status === 403 && (await response.clone().json().catch(() => null))?.code === "csrf"
}

/** @param {string} url @param {Options} options */
async function reach(url, { inBackground, onProgress, ...options }) {
  const headers = options.method === "GET" ? options.headers : { ...options.headers, "X-CSRFToken": csrfToken() }
  try {
    if (onProgress) return await sendReporting(url, { ...options, headers }, onProgress)
    return await fetch(url, { credentials: "same-origin", ...options, headers })
  } catch {
    throw offline()
  }
}

/** As fetch, which cannot report how much is sent.
 *  @param {string} url @param {Options} options
 *  @param {(share: number) => void} onProgress @returns {Promise<Response>} */
function sendReporting(url, { method, body, headers, signal }, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open(method, url)
    request.responseType = "blob"
    for (const [name, value] of Object.entries(/** @type {Record<string, string>} */ (headers))) request.setRequestHeader(name, value)
    request.upload.addEventListener("progress", ({ loaded, total }) => { if (total) onProgress(loaded / total) })
    request.addEventListener("load", () => resolve(new Response(request.status === 204 ? null : request.response, { status: request.status })))
    for (const end of ["error", "abort", "timeout"]) request.addEventListener(end, () => reject(new TypeError(end)))
    signal?.addEventListener("abort", () => request.abort())
    request.send(/** @type {XMLHttpRequestBodyInit | undefined} */ (body))
  })
}

const offline = () =>
  new ApiError({ status: 0, code: "offline", message: gettext("The server cannot be reached. Check the connection and try again.") })

/** @param {number} status */
function inWords(status) {
  if (status === 401 || status === 403) return gettext("You are signed out. Sign in again, then try once more.")
  if (status === 404) return gettext("This no longer exists.")
  if (status === 413) return gettext("These files are too large for the server.")
  return gettext("The server answered {status}. Try again in a moment.", { status })
}
