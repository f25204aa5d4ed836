// Tells a person who is elsewhere that a painting or a batch has ended: in the title of the page and, where that is
// wanted, by a notification of the browser and a short sound.

import { remember, remembered } from "editor/form/remembered"
import { percent as percentOf } from "format"
import { gettext, pgettext } from "text"

const LONG_SECONDS = 10 // shorter ones are waited for
const TONE_HZ = 660
const TONE_SECONDS = 0.25

/** @typedef {import("job/follow").Generation} Generation */

export class Notices {
  #toggle
  #title = document.title

  /** `toggle` is the checkbox for notifications. @param {HTMLInputElement} toggle */
  constructor(toggle) {
    this.#toggle = toggle
    const isPossible = "Notification" in window && window.isSecureContext
    toggle.disabled = !isPossible
    toggle.checked = isPossible && remembered("notices", false) && Notification.permission === "granted"
    toggle.addEventListener("change", () => this.#ask())
    document.addEventListener("visibilitychange", () => { if (!document.hidden) document.title = this.#title })
  }

  /** How far what is painted is, in the title; null: nothing is painted. @param {number | null} percent */
  progress(percent) {
    if (/^[✓✗]/.test(document.title) && document.hidden) return
    document.title = percent === null ? this.#title : `${percentOf(percent / 100)} · ${this.#title}`
  }

  /** @param {Generation} generation */
  ended({ status, seconds, source_name: name }) {
    if (status === "cancelled") return
    const isDone = status === "succeeded"
    this.notify(isDone ? gettext("Your photo is painted") : gettext("A photo could not be painted"), { isDone, seconds: seconds ?? 0, body: name })
  }

  /** Does nothing while the page is looked at, and shows no notification of what was short.
   *  @param {string} text @param {{isDone: boolean, seconds: number, body?: string}} about isDone: not failed; seconds: how long it took */
  notify(text, { isDone, seconds, body }) {
    if (!document.hidden) return
    document.title = `${isDone ? `✓ ${gettext("Done")}` : `✗ ${pgettext("a generation", "Failed")}`} · ${this.#title}`
    if (!this.#toggle.checked || seconds < LONG_SECONDS) return
    new Notification(text, { body, tag: "dreamlayer" })
    playTone()
  }

  async #ask() {
    if (this.#toggle.checked && (await Notification.requestPermission()) !== "granted") this.#toggle.checked = false
    remember("notices", this.#toggle.checked)
  }
}

function playTone() {
  const context = new AudioContext()
  const [oscillator, gain] = [context.createOscillator(), context.createGain()]
  oscillator.frequency.value = TONE_HZ
  gain.gain.setValueAtTime(0.1, context.currentTime)
  gain.gain.exponentialRampToValueAtTime(0.001, context.currentTime + TONE_SECONDS)
  oscillator.connect(gain).connect(context.destination)
  oscillator.addEventListener("ended", () => context.close())
  oscillator.start()
  oscillator.stop(context.currentTime + TONE_SECONDS)
}
