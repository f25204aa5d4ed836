// The progress bar and its Cancel button.

import { announce } from "editor/flow/announce"
import { bytes, percent as percentOf, roughly } from "format"
import { LOCALE, gettext } from "text"

/** @type {Record<string, string>} */
const WORDS = { sending: gettext("Sending the image…"), queued: gettext("Waiting for its turn…"), running: gettext("Preparing…"), loading: gettext("Loading the model…"), painting: gettext("Painting…") }

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
      this.#showStatus(gettext("Stopping…"))
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
    detail.textContent = share < 1 ? gettext("{share} sent", { share: percentOf(share) }) : ""
    if (share === 1) bar.removeAttribute("value")
  }

  /** @param {import("job/follow").GenerationEvent} event */
  show({ status: reported, position, position_is_minimum, eta, step, of, percent, seconds_left, loading, connected = true }) {
    const { bar, detail, cancel, leave } = this.#elements
    const status = stateOf({ status: reported, of, loading })
    if (status && status !== this.#shown.status) {
      cancel.disabled = false
      leave.disabled = status === "sending"
      if (status === "queued") bar.removeAttribute("value")
      this.#showStatus(WORDS[status] ?? gettext("Painting…"))
      this.#shown.status = status
    }
    if (typeof percent === "number") bar.value = percent
    if (!connected) detail.textContent = gettext("No connection; trying again…")
    else if (of) detail.textContent = joined(gettext("Step {step} of {of}", { step: step ?? 0, of }), timeLeft(seconds_left) || percentOf(/** @type {number} */ (percent) / 100))
    else if (loading) detail.textContent = joined(loading.model, loading.bytes ? bytes(loading.bytes) : "")
    else if (position_is_minimum) detail.textContent = gettext("Behind more than {number} others", { number: (/** @type {number} */ (position) - 1).toLocaleString(LOCALE) })
    else if (position) detail.textContent = joined(inLine(position), typeof eta === "number" ? gettext("about {time} to go", { time: roughly(eta) }) : "")
    else detail.textContent = ""
  }

  /** The request to cancel failed: the button works again. */
  allowCancel() {
    this.#elements.cancel.disabled = false
    this.#showStatus(WORDS[/** @type {string} */ (this.#shown.status)] ?? gettext("Painting…"))
  }

  /** @param {string} text */
  #showStatus(text) {
    this.#elements.text.textContent = text
    announce(text)
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
  const words = WORDS[stateOf(event) ?? ""] ?? gettext("Painting…")
  if (typeof event.percent === "number") return `${words} ${percentOf(event.percent / 100)}`
  return event.position ? inLine(event.position) : words
}

/** "Place 3 in line" @param {number} position */
const inLine = (position) => gettext("Place {number} in line", { number: position })

/** "about 12 s left"; empty where there is no estimate. @param {number | null | undefined} seconds */
const timeLeft = (seconds) => (typeof seconds === "number" ? gettext("about {time} left", { time: roughly(seconds) }) : "")

/** @param {string[]} parts */
const joined = (...parts) => parts.filter(Boolean).join(" · ")
