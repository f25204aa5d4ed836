// Follows one generation to its end: a websocket for quick news, and plain asking each second while there is none.

import { get } from "api"

const ENDED = new Set(["succeeded", "failed", "cancelled"])
const ASK_MS = 1000 // without a socket
const CHECK_MS = 10_000 // with one: it may be dead without having said so

/**
 * Tells `onNews({status, position, eta, step, of, percent, seconds_left, preview, connected})` what happens and resolves with the generation as the API
 * renders it, once it has ended. Losing the connection is not an end; being refused (signed out, deleted) is, and
 * rejects with an ApiError.
 */
export async function follow({ url, id }, onNews) {
  const socket = listen(id, onNews)
  try {
    for (;;) {
      await Promise.race([socket.ended, sleep(socket.open ? CHECK_MS : ASK_MS)])
      try {
        const generation = await get(url)
        if (ENDED.has(generation.status)) return generation
        if (!socket.open) onNews(newsOf(generation))
      } catch (error) {
        if (error.status >= 400 && error.status < 500 && error.status !== 429) throw error
        onNews({ connected: false })
      }
    }
  } finally {
    socket.close()
  }
}

/** What a socket would have told, but for the preview. */
const newsOf = ({ status, position, eta, progress }) => ({ status, position, eta, connected: true, ...progress })

/** A socket that passes on news. `open` is true while it can be relied on; `ended` resolves when it tells of the end or is lost. */
function listen(id, onNews) {
  const scheme = location.protocol === "https:" ? "wss" : "ws"
  const socket = new WebSocket(`${scheme}://${location.host}/ws/generations/${id}/`)
  let ended
  const self = {
    open: true, // hoped for until it says no, so that the first question is not asked in vain
    ended: new Promise((resolve) => { ended = resolve }),
    close: () => socket.close(),
  }
  const done = () => {
    self.open = false
    ended() // whoever waits asks at once; after that it is asking each second
    self.ended = new Promise(() => {})
  }
  socket.addEventListener("error", done)
  socket.addEventListener("close", done)
  socket.addEventListener("message", ({ data }) => {
    const { type, ...news } = JSON.parse(data)
    if (ENDED.has(type)) done()
    else onNews({ status: type === "progress" ? "running" : type, connected: true, ...news })
  })
  return self
}

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms) })
