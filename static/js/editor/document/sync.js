// Sends the document to the server: its new images first, then the document with the revision that it is based on. One
// request at a time, at most QUIET_MS after the last change, and less often while the server cannot be reached.

import { imageIds } from "editor/document/document"

export const QUIET_MS = 800
const FIRST_RETRY_MS = 2000
const LONGEST_RETRY_MS = 60_000
const UPLOAD_ATTEMPTS = 2

/** @typedef {"saved" | "saving" | "offline" | "signed-out" | "refused"} Name
 *  saved: the server has the present document; offline: it cannot be reached, and is tried again;
 *  refused: it does not take the document, for the reason in `message` */
/** @typedef {{name: Name, message: string, progress: number | null}} State  progress: of an image that is sent, 0 to 1 */
/** @typedef {import("api").ApiError} ApiError */
/** @typedef {import("./document.js").Document} Document */
/** @typedef {import("./document.js").PlainDocument} PlainDocument */
/** @typedef {{revision: number, document: Document, pictures: string[]}} SentDraft */
/** @typedef {{revision: number, document: PlainDocument | null, pictures: string[]}} ReadDraft */

export class Sync {
  #server
  #onState
  #onMerge
  /** @type {Document | null} */
  #document = null // to be sent
  #revision = 0
  /** @type {Set<string>} */
  #sent = new Set() // those that the server has
  #isSaved = true
  /** @type {Promise<void> | null} */
  #sending = null
  #timer = 0
  #retryMs = 0
  #latest = 0

  /** @param {{
   *    read: () => Promise<ReadDraft>,
   *    write: (draft: SentDraft) => Promise<{revision: number}>,
   *    sendImage: (id: string, onProgress: (share: number) => void) => Promise<void>,
   *  }} server  each rejects with an error of `status` (0: not reached, 401: signed out), `code` and `message`
   *  @param {{onState: (state: State) => void, onMerge: (document: PlainDocument) => Document}} listeners
   *  onMerge: called with the newer draft of another device; returns the document that replaces both */
  constructor(server, { onState, onMerge }) {
    this.#server = server
    this.#onState = onState
    this.#onMerge = onMerge
  }

  get revision() {
    return this.#revision
  }

  get isSaved() {
    return this.#isSaved
  }

  /** What the server has. @param {Pick<ReadDraft, "revision" | "pictures">} draft */
  begin({ revision, pictures }) {
    this.#revision = revision
    this.#sent = new Set(pictures)
  }

  /** The document has changed. @param {Document} document */
  change(document) {
    this.#document = document
    this.#latest++
    this.#isSaved = false
    if (!this.#retryMs) this.#notify("saving")
    this.#schedule(Math.max(QUIET_MS, this.#retryMs))
  }

  /** Sends what is not sent yet, now. Resolves when that was tried. */
  async flush() {
    clearTimeout(this.#timer)
    while (this.#sending) await this.#sending
    if (this.#isSaved) return
    this.#sending = this.#send().finally(() => { this.#sending = null })
    await this.#sending
  }

  /** @param {number} ms */
  #schedule(ms) {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.flush(), ms)
  }

  async #send() {
    const sent = this.#latest
    try {
      await this.#write()
      this.#retryMs = 0
      this.#isSaved = sent === this.#latest
      this.#notify(this.#isSaved ? "saved" : "saving")
    } catch (error) {
      this.#failed(/** @type {ApiError | Error} */ (error))
    }
  }

  async #write() {
    for (let attempt = 1; ; attempt++) {
      const document = /** @type {Document} */ (this.#document)
      const images = [...imageIds(document)]
      await this.#sendImages(images)
      try {
        const saved = await this.#server.write({ revision: this.#revision, document, pictures: images })
        this.#revision = saved.revision
        this.#sent = new Set(images)
        return
      } catch (error) {
        if (attempt === UPLOAD_ATTEMPTS) throw error
        if (/** @type {ApiError} */ (error).code === "draft_changed") await this.#merge()
        else if (/** @type {ApiError} */ (error).code === "draft_pictures_missing") this.#sent.clear()
        else throw error
      }
    }
  }

  /** @param {string[]} ids */
  async #sendImages(ids) {
    for (const id of ids) {
      if (this.#sent.has(id)) continue
      await this.#server.sendImage(id, (progress) => this.#notify("saving", { progress }))
      this.#sent.add(id)
    }
  }

  async #merge() {
    const newer = await this.#server.read()
    this.begin(newer)
    if (newer.document) this.#document = this.#onMerge(newer.document)
  }

  /** @param {ApiError | Error} error */
  #failed(error) {
    if (!("status" in error)) throw error
    if (error.status === 401 || error.status === 403) return this.#notify("signed-out")
    if (error.status >= 400 && error.status < 500 && error.status !== 408) return this.#notify("refused", { message: error.message })
    this.#retryMs = Math.min(LONGEST_RETRY_MS, 2 * this.#retryMs || FIRST_RETRY_MS)
    this.#notify("offline")
    this.#schedule(this.#retryMs)
  }

  /** @param {Name} name @param {Partial<State>} [details] */
  #notify(name, { message = "", progress = null } = {}) {
    this.#onState({ name, message, progress })
  }
}
