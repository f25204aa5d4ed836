// Follows one generation to its end: by websocket, and by polling each second while there is none.

import { ApiError, get } from "api"

/** The states in which a generation has ended. @type {Set<string>} */
export const ENDED = new Set(["succeeded", "failed", "cancelled"])
const ASK_MS = 1000 // without a socket
const RECONNECT_MS = 3000
const REFUSED_MS = 30_000 // nobody is signed in, or too many sockets are open
const CHECK_MS = 10_000 // with one: it may be dead without a close event

/** @typedef {{id: string, url: string, isOld?: boolean}} Followed  url: that returns its state; isOld: it may have ended before */
/** @typedef {{url: string, box: number[]}} Preview  of the unfinished image; box: its left, top, right and bottom in pixels */
/** @typedef {{step?: number, of?: number, percent?: number, seconds_left?: number | null}} Steps */
/** @typedef {{status?: string, position?: number | null, position_is_minimum?: boolean, eta?: number | null, preview?: Preview,
 *   loading?: {model: string, bytes: number}, connected?: boolean} & Steps} GenerationEvent
 *  position: in the queue, 1 starts next; loading: the model that it waits for; connected: whether the server is reached */
/** @typedef {(event: GenerationEvent) => void} OnEvent */
/** @typedef {{url: string, width: number, height: number, copy: {format: string} | null, hidden_by: string | null,
 *   outside_mask_changed_pixels: number | null, seam_score: number | null, score: number | null,
 *   digital_source_type: string}} GeneratedImage
 *  url: of the lossless PNG; score: how plausible it is, 0 to 1, higher is better */
/** @typedef {"Removed" | "Painted" | "Extended" | "Inserted" | "Enlarged"} Verb */
/** @typedef {{prompt: string, seed: number, engine: string, requested: Record<string, unknown>, ignored: string[],
 *   warnings?: (string | {message: string})[], results: {window?: number[], coverage?: number}[], verb: Verb, width: number, height: number}} Metadata
 *  requested: the settings as they were sent; ignored: those that the engine does not read; verb: what was done to the photo;
 *  width, height: of the results; coverage: the share of the photo that was painted, 0 to 1 */
/** @typedef {{id: string, status: string, parent: string | null, created_at: string, seconds: number | null, source: string,
 *   source_name?: string, mask: string, images: GeneratedImage[], error: {message: string} | null, metadata: Metadata,
 *   position?: number | null, position_is_minimum?: boolean, eta?: number | null, progress?: Steps | null}} Generation
 *  as the API renders it, as far as these pages read it */

/**
 * Calls `onEvent(event)` and resolves with the
 * generation as the API renders it, once it has ended. `isOld`: it may have ended before, so that is asked first. A lost
 * connection is retried; a refusal (signed out, deleted) rejects with an ApiError. Resolves with null once `signal` is aborted.
 * @param {Followed} generation @param {OnEvent} onEvent @param {AbortSignal} [signal] @returns {Promise<Generation | null>}
 */
export async function follow({ url, id, isOld = false }, onEvent, signal = new AbortController().signal) {
  const socket = listen(id, (event) => { if (!signal.aborted) onEvent(event) })
  const left = new Promise((resolve) => { signal.addEventListener("abort", resolve) })
  try {
    for (let isFirst = isOld; !signal.aborted; isFirst = false) {
      if (!isFirst) await Promise.race([left, socket.ended, sleep(socket.open ? CHECK_MS : ASK_MS)])
      if (signal.aborted) break
      try {
        /** @type {Generation} */
        const generation = await get(url)
        if (ENDED.has(generation.status)) return generation
        if (isFirst || !socket.open) onEvent(eventOf(generation))
      } catch (error) {
        if (isRefusal(error)) throw error
        onEvent({ connected: false })
      }
    }
    return null
  } finally {
    socket.close()
  }
}

/** Whether asking again is of no use: signed out, or deleted. @param {unknown} error */
export const isRefusal = (error) => error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429

/** The event that a socket would have sent, without the preview. @param {Generation} generation @returns {GenerationEvent} */
export const eventOf = ({ status, position, position_is_minimum, eta, progress }) =>
  ({ status, position, position_is_minimum, eta, connected: true, ...progress })

/** A socket that passes on events. `open` is true while it works; `ended` resolves at the end or when it is lost.
 *  @param {string} id @param {OnEvent} onEvent */
function listen(id, onEvent) {
  const socket = new WebSocket(addressOf(`/ws/generations/${id}/`))
  /** @type {(value?: unknown) => void} */
  let ended
  const self = {
    open: true, // assumed until it fails, so that no poll is wasted
    ended: new Promise((resolve) => { ended = resolve }),
    close: () => socket.close(),
  }
  const done = () => {
    self.open = false
    ended() // poll at once, and from then on each second
    self.ended = new Promise(() => {})
  }
  socket.addEventListener("error", done)
  socket.addEventListener("close", done)
  socket.addEventListener("message", ({ data }) => {
    const event = read(data)
    if (ENDED.has(event.status ?? "")) done()
    else onEvent(event)
  })
  return self
}

/** Calls `onEvent(id, event)` for all generations of this person, for as long as the page is open; first for those that
 *  wait or run. `onReconnect()`: events may have been missed.
 *  @param {(id: string, event: GenerationEvent) => void} onEvent @param {() => void} onReconnect */
export function ownEvents(onEvent, onReconnect, isAgain = false) {
  const socket = new WebSocket(addressOf("/ws/generations/"))
  socket.addEventListener("open", () => { if (isAgain) onReconnect() })
  socket.addEventListener("message", ({ data }) => {
    const { id, ...event } = read(data)
    onEvent(/** @type {string} */ (id), event)
  })
  socket.addEventListener("close", ({ code }) => {
    setTimeout(() => ownEvents(onEvent, onReconnect, true), code >= 4000 ? REFUSED_MS : RECONNECT_MS)
  })
}

/** @param {string} data of a message @returns {GenerationEvent & {id?: string}} */
function read(data) {
  const { type, ...event } = JSON.parse(data)
  return { status: type === "progress" ? "running" : type, connected: true, ...event }
}

/** @param {string} path */
const addressOf = (path) => `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms) })
