// The progress bar and its Cancel button.

import { bytes, ordinal, roughly } from "format"

/** @type {Record<string, string>} */
const WORDS = { sending: "Sending the image…", queued: "Waiting for its turn…", running: "Preparing…", loading: "Loading the model…", painting: "Painting…" }

export class Progress {
  #elements
  /** @type {{status?: string}} */
  #shown = {}

  /** @param {{root: HTMLElement, bar: HTMLProgressElement, text: HTMLElement, detail: HTMLElement, cancel: HTMLButtonElement, leave: HTMLButtonElement}} elements
   *  @param {{onCancel: () => void, onLeave: () => void}} listeners */
  constructor(elements, { onCancel, onLeave }) {
    this.#elements = elements
    elements.leave.addEventListener("click", onLeave)
    elements.cancel.addEventListener("click", () => {
      elements.cancel.disabled = true
      elements.text.textContent = "Stopping…"
      onCancel()
    })
  }

  start() {
    const { root, bar } = this.#elements
    root.hidden = false
    bar.removeAttribute("value") // an indeterminate bar
    this.#shown = {}
    this.show({ status: "sending" })
  }

  /** How much of the image is sent, 0 to 1. @param {number} share */
  sent(share) {
    const { bar, detail } = this.#elements
    if (this.#shown.status !== "sending") return
    bar.value = 100 * share
    detail.textContent = share < 1 ? `${Math.round(100 * share)} % sent` : ""
    if (share === 1) bar.removeAttribute("value")
  }

  /** @param {import("job/follow").GenerationEvent} event */
  show({ status: reported, position, position_is_minimum, eta, step, of, percent, seconds_left, loading, connected = true }) {
    const { bar, text, detail, cancel, leave } = this.#elements
    const status = stateOf({ status: reported, of, loading })
    if (status && status !== this.#shown.status) {
      cancel.disabled = false
      leave.disabled = status === "sending"
      if (status === "queued") bar.removeAttribute("value")
      text.textContent = WORDS[status] ?? "Painting…"
      this.#shown.status = status
    }
    if (typeof percent === "number") bar.value = percent
    if (!connected) detail.textContent = "No connection; trying again…"
    else if (of) detail.textContent = joined(`Step ${step} of ${of}`, about(seconds_left, "left") || `${Math.round(/** @type {number} */ (percent))} %`)
    else if (loading) detail.textContent = joined(loading.model, loading.bytes ? bytes(loading.bytes) : "")
    else if (position_is_minimum) detail.textContent = `Behind more than ${(/** @type {number} */ (position) - 1).toLocaleString()} others`
    else if (position) detail.textContent = joined(`${ordinal(position)} in line`, about(eta, "to go"))
    else detail.textContent = ""
  }

  /** The request to cancel failed: the button works again. */
  allowCancel() {
    this.#elements.cancel.disabled = false
    this.#elements.text.textContent = WORDS[/** @type {string} */ (this.#shown.status)] ?? "Painting…"
  }

  end() {
    this.#elements.root.hidden = true
  }
}

/** "running" has three states: before anything is known, while a model is loaded, and with steps.
 *  @param {import("job/follow").GenerationEvent} event */
const stateOf = ({ status, of, loading }) => (status !== "running" ? status : of ? "painting" : loading ? "loading" : "running")

/** "Painting… 43 %" @param {import("job/follow").GenerationEvent} event */
export function phaseOf(event) {
  const words = WORDS[stateOf(event) ?? ""] ?? "Painting…"
  if (typeof event.percent === "number") return `${words} ${Math.round(event.percent)} %`
  return event.position ? `${ordinal(event.position)} in line` : words
}

/** "about 12 s left"; empty where there is no estimate. @param {number | null | undefined} seconds @param {string} what */
const about = (seconds, what) => (typeof seconds === "number" ? `about ${roughly(seconds)} ${what}` : "")

/** @param {string[]} parts */
const joined = (...parts) => parts.filter(Boolean).join(" · ")
