// One generation at a time: sends its request, follows it to its end, cancels it.

import { ApiError, post } from "api"
import { follow } from "job/follow"
import { formOf } from "job/request"

const RETRY_MS = 1500 // while the server still accepts the same request, sent before a reload

/** @typedef {import("job/follow").Followed} Followed */
/** @typedef {{onChange: () => void, onSent: (share: number) => void, onAccepted: (generation: Followed) => void,
 *   onEvent: import("job/follow").OnEvent}} Listeners */

export class Job {
  #url
  #listeners
  /** @type {Followed | null} */
  #generation = null // once it is accepted
  /** @type {AbortController | null} */
  #sending = null
  #leaving = new AbortController()
  #end = () => {}

  /** Resolves when it is not running any more. */
  ended = Promise.resolve()

  /** `url`: of POST /api/img2img. Listeners: onChange(): it began or ended; onSent(share): how much of the request is sent;
   *  onAccepted(generation); onEvent(event): as in follow.js.
   *  @param {string} url @param {Listeners} listeners */
  constructor(url, listeners) {
    this.#url = url
    this.#listeners = listeners
  }

  get isRunning() {
    return this.#sending !== null
  }

  /** Whether it was cancelled before the server had accepted it. */
  get isAborted() {
    return Boolean(this.#sending?.signal.aborted)
  }

  /** Runs `begin`, which gives {id, url, isOld} of a generation, as in follow.js, and follows that.
   *  @param {() => Promise<Followed>} begin
   *  @returns {Promise<import("job/follow").Generation | null>} the ended generation; null where it was left */
  async run(begin) {
    this.#sending = new AbortController()
    this.#leaving = new AbortController()
    this.ended = new Promise((resolve) => { this.#end = resolve })
    this.#listeners.onChange()
    const generation = this.#generation = await begin()
    this.#listeners.onAccepted(generation)
    return follow(generation, this.#listeners.onEvent, this.#leaving.signal)
  }

  /** Leaves the generation to be painted, and follows it no more. False before the server has accepted it. */
  leave() {
    if (!this.#generation) return false
    this.#leaving.abort()
    return true
  }

  /** Call it when all that follows from the end is done: another one may begin. */
  end() {
    this.#generation = this.#sending = null
    this.#end()
    this.#listeners.onChange()
  }

  /** Sends a request. `isLeft`: beside what runs; its generation is left to be painted.
   *  @param {import("./request.js").Request} request @param {{isLeft?: boolean}} how @returns {Promise<{id: string, url: string}>} */
  async send(request, { isLeft = false } = {}) {
    const signal = isLeft ? undefined : this.#sending?.signal
    const options = isLeft ? {} : { onProgress: this.#listeners.onSent, signal }
    const body = await formOf(request)
    for (;;) {
      try {
        const headers = { Prefer: "respond-async", "Idempotency-Key": request.key }
        return await post(request.path ?? this.#url, body, headers, options)
      } catch (error) {
        if (/** @type {ApiError} */ (error).code !== "idempotency_in_progress" || signal?.aborted) throw error
        await new Promise((resolve) => { setTimeout(resolve, RETRY_MS) })
      }
    }
  }

  /** Resolves with whether it is being cancelled, or has ended. */
  async cancel() {
    if (!this.#generation) {
      this.#sending?.abort()
      return true
    }
    try {
      await post(`/api/generations/${this.#generation.id}/cancel/`)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      return error.status === 409 // it has ended, which follow() reports
    }
    return true
  }
}

/** Whether a request may have been accepted although its answer is not known. @param {unknown} error */
export const isUnanswered = (error) => error instanceof ApiError && (error.status === 0 || error.status >= 500)
