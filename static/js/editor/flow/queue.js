// The queue panel: the generations of this person that wait or run, whatever device they were sent from, and what has ended
// and is not looked at yet: while the page is open, or after it was left to the queue, on any device. One socket sends
// all that changes (docs/use/live.md).

import { get, post } from "api"
import { element } from "dom"
import { phaseOf } from "editor/flow/progress"
import { ENDED, eventOf, isRefusal, ownEvents } from "job/follow"
import { gettext, ngettext, pgettext } from "text"

const MOST_SHOWN = 12

/** @typedef {import("job/follow").Generation} Generation */
/** @typedef {import("job/follow").GenerationEvent} GenerationEvent */
/** @typedef {{id: string, event: GenerationEvent, generation: Generation | null}} Entry
 *  event: without a status until the server has been asked; generation: once it has been */

export class Queue {
  #elements
  #listeners
  /** @type {Map<string, Entry>} */
  #entries = new Map() // the newest last
  /** @type {string[]} */
  #left = [] // to the queue, and not looked at yet: kept in the draft
  /** @type {string | null} */
  #shown = null // the generation that the editor shows

  /** Listeners: onOpen(id): the person wants to see it; onEnded(generation): it has ended; onSeen(ids): they have been looked
   *  at; onProgress(percent): how far what runs is, null where nothing runs.
   *  @param {{button: HTMLElement, count: HTMLElement, list: HTMLElement, clear: HTMLButtonElement, panel: HTMLElement}} elements
   *  @param {{onOpen: (id: string) => void, onEnded: (generation: Generation) => void,
   *    onSeen: (ids: string[]) => void, onProgress: (percent: number | null) => void}} listeners */
  constructor(elements, listeners) {
    this.#elements = elements
    this.#listeners = listeners
    elements.clear.addEventListener("click", () => {
      this.#forget([...this.#entries.values()].filter(hasEnded))
      this.#show()
    })
  }

  /** Listens for as long as the page is open. */
  listen() {
    ownEvents((id, event) => this.#take(id, event), () => this.#check())
  }

  /** Which generation the editor shows: it needs no notice. @param {string | null} id */
  set shown(id) {
    if (id === this.#shown) return
    this.#shown = id
    this.#show()
  }

  /** The generations that were left to the queue and are not looked at yet, the newest last. @param {string[]} ids */
  set left(ids) {
    const former = this.#left
    this.#left = ids
    for (const id of former) if (!ids.includes(id)) this.#entries.delete(id) // it was looked at on another device
    for (const id of ids) {
      const entry = this.#entries.get(id)
      if (!entry) this.#ask(this.#enter(id, {}))
      else if (!former.includes(id) && entry.generation && hasEnded(entry)) this.#listeners.onEnded(entry.generation) // its request was answered after its end
    }
    this.#show()
  }

  /** @param {string} id @param {GenerationEvent} event @returns {Entry} */
  #enter(id, event) {
    const entry = { id, event, generation: null }
    this.#entries.set(id, entry)
    return entry
  }

  /** @param {Entry[]} entries that have been looked at */
  #forget(entries) {
    for (const { id } of entries) this.#entries.delete(id)
    const ids = entries.map(({ id }) => id).filter((id) => this.#left.includes(id))
    if (ids.length) this.#listeners.onSeen(ids)
  }

  /** @param {string} id @param {GenerationEvent} event */
  #take(id, event) {
    const known = this.#entries.get(id)
    const isEnd = hasEnded({ event })
    if (known ? hasEnded(known) : isEnd) return
    const entry = known ?? this.#enter(id, event)
    entry.event = event
    if (!known || isEnd) this.#ask(entry)
    this.#show()
  }

  /** The socket was lost for a while: those that have ended meanwhile are not told of again. */
  #check() {
    for (const entry of this.#entries.values()) if (!hasEnded(entry)) this.#ask(entry)
  }

  /** @param {Entry} entry */
  async #ask(entry) {
    try {
      const generation = /** @type {Generation} */ (await get(`/api/generations/${entry.id}/`))
      const isNew = !ENDED.has(entry.generation?.status ?? "") // it may have been asked twice
      entry.generation = generation
      if (!entry.event.status) entry.event = eventOf(generation)
      if (ENDED.has(generation.status)) {
        entry.event = { status: generation.status }
        if (isNew) this.#listeners.onEnded(generation)
      }
    } catch (error) {
      if (isRefusal(error)) this.#forget([entry]) // else the next event, or a new connection, asks again
    }
    this.#show()
  }

  #show() {
    const { button, count, list, clear, panel } = this.#elements
    const seen = this.#entries.get(this.#shown ?? "")
    if (seen && hasEnded(seen)) this.#forget([seen])
    const entries = [...this.#entries.values()].filter(({ event }) => event.status).reverse()
    const open = entries.filter((entry) => !hasEnded(entry))
    const done = entries.length - open.length
    const running = open.filter(({ event }) => event.status === "running")
    this.#listeners.onProgress(running.length ? Math.max(...running.map(({ event }) => event.percent ?? 0)) : null)
    button.hidden = entries.every(({ id }) => id === this.#shown)
    button.classList.toggle("has-news", done > 0)
    count.textContent = open.length ? ngettext("{count} in the queue", "{count} in the queue", open.length) : ngettext("{count} done", "{count} done", done)
    clear.hidden = !done
    if (button.hidden && panel.matches(":popover-open")) panel.hidePopover()
    list.replaceChildren(...entries.slice(0, MOST_SHOWN).map((entry) => this.#item(entry)))
    if (entries.length > MOST_SHOWN) list.append(element("li", { className: "help", textContent: ngettext("and {count} more", "and {count} more", entries.length - MOST_SHOWN) }))
  }

  /** @param {Entry} entry */
  #item({ id, event, generation }) {
    const name = generation?.source_name || gettext("Photo")
    const isEnded = hasEnded({ event })
    const state = event.status === "failed" ? generation?.error?.message ?? pgettext("a generation", "Failed") : isEnded ? ENDED_WORDS[event.status ?? ""] : phaseOf(event)
    const image = element("img", { alt: "", loading: "lazy", src: generation ? thumbnailOf(generation) : "" })
    const words = element("span", { className: "queue-words" }, element("b", { textContent: name, dir: "auto" }), element("span", { className: "help", textContent: state }))
    const button = element("button", { type: "button", className: "button small", textContent: isEnded ? gettext("Open") : gettext("Cancel") })
    button.setAttribute("aria-label", isEnded ? gettext("Open {name}", { name }) : gettext("Cancel {name}", { name }))
    button.hidden = event.status === "cancelled"
    button.addEventListener("click", () => {
      if (!isEnded) return void post(`/api/generations/${id}/cancel/`).catch(() => {}) // it has just ended
      this.#elements.panel.hidePopover()
      this.#listeners.onOpen(id)
    })
    const item = element("li", {}, image, words, button)
    if (!isEnded) item.append(element("progress", { max: 100, ...(typeof event.percent === "number" && { value: event.percent }) }))
    return item
  }
}

/** @param {Pick<Entry, "event">} entry */
const hasEnded = ({ event }) => ENDED.has(event.status ?? "")

/** @type {Record<string, string>} */
const ENDED_WORDS = { succeeded: gettext("Done"), cancelled: gettext("Cancelled") }

/** @param {Generation} generation */
const thumbnailOf = ({ images, source }) => (images?.length ? `${images[0].url}thumbnail/` : `${source}thumbnail/`)
