// What the server would do with the form as it stands: `POST /api/plan/`. The page decides none of it.

import { ApiError, post } from "api"

const PAUSE_MS = 150 // after the last keystroke

export class Plan {
  #url
  #onAnswer
  #timer = 0
  #newest = 0
  #pending = Promise.resolve()

  /** `latest` is the server's last answer; `onAnswer` is called after each new one. */
  constructor(url, latest, onAnswer) {
    Object.assign(this, { latest })
    this.#url = url
    this.#onAnswer = onAnswer
  }

  /** Asks once the form has been left alone for a moment. `values` gives the fields at that time. */
  askSoon(values) {
    clearTimeout(this.#timer)
    const number = ++this.#newest
    this.#pending = new Promise((resolve) => {
      this.#timer = setTimeout(() => resolve(this.#ask(values(), number)), PAUSE_MS)
    })
  }

  /** Asks at once; resolves when the answer has been shown. */
  async ask(values) {
    clearTimeout(this.#timer)
    this.#pending = this.#ask(values, ++this.#newest)
    await this.#pending
  }

  /** Resolves when `latest` answers the newest question. */
  async whenAnswered() {
    await this.#pending
  }

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
