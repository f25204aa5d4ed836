// Follows one generation to its end: by websocket, and by polling each second while there is none.

import { get } from "api"

const ENDED = new Set(["succeeded", "failed", "cancelled"])
const ASK_MS = 1000 // without a socket
const CHECK_MS = 10_000 // with one: it may be dead without a close event

/**
 * Calls `onEvent({status, position, position_is_minimum, eta, step, of, percent, seconds_left, preview, connected})` and resolves with the
 * generation as the API renders it, once it has ended. `isOld`: it may have ended before, so that is asked first. A lost
 * connection is retried; a refusal (signed out, deleted) rejects with an ApiError.
 */
export async function follow({ url, id, isOld = false }, onEvent) {
  const socket = listen(id, onEvent)
  try {
    for (let isFirst = isOld; ; isFirst = false) {
      if (!isFirst) await Promise.race([socket.ended, sleep(socket.open ? CHECK_MS : ASK_MS)])
      try {
        const generation = await get(url)
        if (ENDED.has(generation.status)) return generation
        if (isFirst || !socket.open) onEvent(eventOf(generation))
      } catch (error) {
        if (error.status >= 400 && error.status < 500 && error.status !== 429) throw error
        onEvent({ connected: false })
      }
    }
  } finally {
    socket.close()
  }
}

/** The event that a socket would have sent, without the preview. */
const eventOf = ({ status, position, position_is_minimum, eta, progress }) =>
  ({ status, position, position_is_minimum, eta, connected: true, ...progress })

/** A socket that passes on events. `open` is true while it works; `ended` resolves at the end or when it is lost. */
function listen(id, onEvent) {
  const scheme = location.protocol === "https:" ? "wss" : "ws"
  const socket = new WebSocket(`${scheme}://${location.host}/ws/generations/${id}/`)
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
    const { type, ...event } = JSON.parse(data)
    if (ENDED.has(type)) done()
    else onEvent({ status: type === "progress" ? "running" : type, connected: true, ...event })
  })
  return self
}

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms) })
