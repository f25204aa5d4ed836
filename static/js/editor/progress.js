// The progress bar and its Cancel button.

import { ordinal, roughly } from "format"

const WORDS = { sending: "Sending the picture…", queued: "Waiting for its turn…", running: "Painting…" }

export class Progress {
  #elements
  #shown = {}

  /** `elements` is {root, bar, text, detail, cancel}. */
  constructor(elements, onCancel) {
    this.#elements = elements
    elements.cancel.addEventListener("click", () => {
      elements.cancel.disabled = true
      elements.text.textContent = "Stopping…"
      onCancel()
    })
  }

  start() {
    const { root, bar, cancel } = this.#elements
    root.hidden = false
    bar.removeAttribute("value") // an indeterminate bar
    cancel.disabled = true
    this.#shown = {}
    this.show({ status: "sending" })
  }

  show({ status, position, eta, step, of, percent, seconds_left, connected = true }) {
    const { bar, text, detail, cancel } = this.#elements
    if (status && status !== this.#shown.status) {
      cancel.disabled = status === "sending"
      text.textContent = WORDS[status] ?? "Painting…"
      this.#shown.status = status
    }
    if (typeof percent === "number") bar.value = percent
    if (!connected) detail.textContent = "No connection; trying again…"
    else if (of) detail.textContent = joined(`Step ${step} of ${of}`, about(seconds_left, "left") || `${Math.round(percent)} %`)
    else if (position) detail.textContent = joined(`${ordinal(position)} in line`, about(eta, "to go"))
    else detail.textContent = ""
  }

  /** The request to cancel failed: the button works again. */
  allowCancel() {
    this.#elements.cancel.disabled = false
    this.#elements.text.textContent = WORDS[this.#shown.status] ?? "Painting…"
  }

  end() {
    this.#elements.root.hidden = true
  }
}

/** "about 12 s left"; empty where there is no estimate. */
const about = (seconds, what) => (typeof seconds === "number" ? `about ${roughly(seconds)} ${what}` : "")

const joined = (...parts) => parts.filter(Boolean).join(" · ")
