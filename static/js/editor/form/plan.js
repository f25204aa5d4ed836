// What the server would do with the form as it stands: `POST /api/plan/`. The page decides none of it.

import { ApiError, post } from "api"

const PAUSE_MS = 150 // after the last keystroke

/** What a form may hold for the planned model, by the names of the API.
 *  @typedef {{engine: string, hint: string, edits: boolean, reference_images: number, reads_prompt_weights: boolean, adapters: Record<string, string[]>,
 *    ignored: Record<string, string>, defaults: Record<string, string | null>, limits: Record<string, [string, string]>,
 *    choices: Record<string, string[]>}} FormPlan  adapters: the slugs that fit; ignored: why a setting has no effect */
/** The answer of the server. @typedef {{engine: string, engine_label: string, ignored: Record<string, string>, form: FormPlan} & import("editor/view/window_outline").Window} Answer */
/** Of an upscaling. @typedef {{estimate_seconds: number | null}} UpscalingAnswer */
/** @typedef {Record<string, unknown>} Question  the fields of the form, by the names of the API */

/** @template [Answered=Answer] */
export class Plan {
  #url
  #onAnswer
  #newest = 0
  /** @type {Promise<void>} */
  #pending = Promise.resolve()

  /** `latest` is the server's last answer; `onAnswer` is called after each new one.
   *  @param {string} url @param {Answered} latest @param {() => void} onAnswer */
  constructor(url, latest, onAnswer) {
    this.latest = latest
    this.#url = url
    this.#onAnswer = onAnswer
  }

  /** Asks once the form has been left alone for a moment. `values` gives the fields at that time. @param {() => Question} values */
  askSoon(values) {
    const number = ++this.#newest
    const pause = new Promise((resolve) => { setTimeout(resolve, PAUSE_MS) })
    this.#pending = pause.then(() => (number === this.#newest ? this.#ask(values(), number) : this.#pending))
  }

  /** Asks at once; resolves when the answer has been shown. @param {Question} values */
  async ask(values) {
    this.#pending = this.#ask(values, ++this.#newest)
    await this.#pending
  }

  /** Resolves when `latest` answers the newest question. */
  async whenAnswered() {
    await this.#pending
  }

  /** @param {Question} values @param {number} number @returns {Promise<void>} */
  async #ask(values, number) {
    try {
      const answer = await post(this.#url, JSON.stringify(values), { "Content-Type": "application/json" })
      if (number !== this.#newest) return this.#pending // an older question
      this.latest = answer
      this.#onAnswer()
    } catch (error) {
      if (!(error instanceof ApiError)) throw error // refused or offline: the form stays as it is; Generate says why
    }
  }
}
