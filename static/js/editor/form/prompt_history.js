// The prompts that were used in this browser: ↑ at the beginning of the prompt recalls them, the newest first, ↓ goes back.

import { remember, remembered } from "editor/form/remembered"

const MOST = 50

export class PromptHistory {
  #field
  #place = -1 // of the one that is shown, from 0; -1: what was typed
  #typed = ""

  /** @param {HTMLTextAreaElement} field */
  constructor(field) {
    this.#field = field
    field.addEventListener("keydown", (event) => this.#keydown(event))
    field.addEventListener("input", (event) => { if (event.isTrusted) this.#place = -1 })
  }

  /** The newest first. @returns {string[]} */
  get all() {
    return remembered("prompts", [])
  }

  /** Keeps a prompt that is used. @param {string} prompt */
  add(prompt) {
    this.#place = -1
    if (prompt) remember("prompts", [prompt, ...this.all.filter((other) => other !== prompt)].slice(0, MOST))
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key]
    if (!step || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return
    const isAtEdge = this.#place >= 0 || (step > 0 && this.#field.selectionEnd === 0) || !this.#field.value
    const place = this.#place + step
    const { all } = this
    if (!isAtEdge || place < -1 || place >= all.length) return
    event.preventDefault()
    if (this.#place < 0) this.#typed = this.#field.value
    this.#place = place
    this.#field.value = place < 0 ? this.#typed : all[place]
    this.#field.dispatchEvent(new Event("input", { bubbles: true }))
  }
}
