// Holds the document and tells listeners of its changes. Pure: no DOM.

import { emptyDocument, view } from "editor/document/document"

/** @typedef {import("./document.js").Document} Document */
/** @typedef {(document: Document, before: Document) => void} Listener */

export class Store {
  #document
  #view
  /** @type {Set<Listener>} */
  #listeners = new Set()

  /** @param {Document} document */
  constructor(document = emptyDocument()) {
    this.#document = document
    this.#view = view(document)
  }

  get document() {
    return this.#document
  }

  /** What of the document is in effect (document.js, `view`); the same object until entries or cursor change. */
  get view() {
    return this.#view
  }

  /** Replaces the document by `change(document)`; calls the listeners unless it is the same.
   *  @param {(document: Document) => Document} change */
  update(change) {
    const before = this.#document
    const after = change(before)
    if (after === before) return
    this.#document = after
    if (after.entries !== before.entries || after.cursor !== before.cursor) this.#view = view(after)
    for (const listener of [...this.#listeners]) listener(after, before)
  }

  /** Calls `listener(document, documentBefore)` after each change. Returns a function that ends this.
   *  @param {Listener} listener */
  subscribe(listener) {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }
}
