// The draft: what is open in the editor, kept in this browser at once and on the server within a second.

import { call, fetchFile, get } from "api"
import { emptyDocument, imageIds, readDocument } from "editor/document/document"
import * as images from "editor/document/images"
import { LocalDraft } from "editor/document/local"
import { chosen, merged } from "editor/document/merge"
import { Sync } from "editor/document/sync"
import { percent } from "format"
import { imagesOf } from "job/request"
import { isSignedIn } from "session"
import { gettext } from "text"

const DRAFT_URL = "/api/draft/"
const MAX_KEEPALIVE_BYTES = 60_000 // Fetch standard: 64 KiB for all such requests of a page together
const inBackground = true

/** @typedef {import("./document.js").Document} Document */
/** @typedef {import("./document.js").PlainDocument} PlainDocument */
/** @typedef {{name: import("./sync.js").Name, message: string, progress: number | null, isKept: boolean}} State
 *  isKept: the present document is in this browser */

export class Draft {
  #store
  #local
  #sync
  #onState
  #onAdopt
  #onOtherDevice
  /** @type {import("./sync.js").State} */
  #state = { name: "saved", message: "", progress: null }
  /** @type {Document | null} */
  #kept = null // the document that is in this browser
  /** @type {Promise<void> | null} */
  #keeping = null
  #isAdopting = false
  #isLeaving = false // nothing of this page that waits for an answer continues

  /** Opens the draft of an account into the store and keeps every change of it from then on.
   *
   *  onState: called with each State; onAdopt: with a document that came from this browser or from another device;
   *  onOtherDevice: another device's changes were joined with those of this page.
   *  @param {{account: string, store: import("./store.js").Store, onState: (state: State) => void,
   *    onAdopt?: (document: Document) => void, onOtherDevice: () => void}} options
   *  @returns {Promise<Draft>} once the document is in the store */
  static async open({ account, store, ...listeners }) {
    const draft = new Draft(store, await LocalDraft.open(account), listeners)
    await draft.#restore()
    draft.#listen()
    return draft
  }

  /** @param {import("./store.js").Store} store @param {LocalDraft} local
   *  @param {Omit<Parameters<typeof Draft.open>[0], "account" | "store">} listeners */
  constructor(store, local, { onState, onAdopt = () => {}, onOtherDevice }) {
    this.#store = store
    this.#local = local
    this.#onState = onState
    this.#onAdopt = onAdopt
    this.#onOtherDevice = onOtherDevice
    this.#sync = new Sync(SERVER, {
      onState: (state) => this.#synced(state),
      onMerge: (theirs) => this.#merge(theirs),
    })
    images.keepIn({
      put: (id, blob) => local.putImage(id, blob),
      get: async (id) => (await local.getImage(id)) ?? this.#download(id),
    })
  }

  /** Sends what is not on the server yet, now. */
  flush() {
    return this.#sync.flush()
  }

  /** Resolves when the present document is in this browser, or cannot be. */
  async kept() {
    await this.#keeping
  }

  async #restore() {
    const kept = await this.#local.load().catch(() => null)
    const server = await get(DRAFT_URL, { inBackground }).catch(() => null)
    const found = chosen(kept, server)
    const isEarly = this.#store.document.entries.length > 0 // a photo was dropped meanwhile
    const document = isEarly ? readDocument(merged(readable(found.document), this.#store.document)) : readable(found.document)
    const isChanged = found.isChanged || isEarly
    this.#sync.begin({ revision: server?.revision ?? kept?.revision ?? 0, pictures: server?.pictures ?? [] })
    this.#adopt(document)
    if (!isEarly) this.#onAdopt(document)
    const needed = new Set([...imageIds(document), ...document.requests.flatMap(imagesOf)])
    await this.#local.keepImages(needed).catch(() => {})
    this.#keep({ isSynced: !isChanged })
    if (isChanged || !server) this.#sync.change(this.#store.document)
    else this.#notify()
  }

  #listen() {
    this.#store.subscribe(() => {
      if (this.#isAdopting) return
      this.#keep({ isSynced: false })
      this.#sync.change(this.#store.document) // another listener may have changed it further
    })
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.flush()
      else this.#refresh().catch(() => {}) // not reached: the next change tries again
    })
    window.addEventListener("online", () => this.flush())
    const isFirst = { capture: true } // before that which ends a stroke
    window.addEventListener("pagehide", () => { this.#isLeaving = true }, isFirst)
    window.addEventListener("pageshow", () => { this.#isLeaving = false }, isFirst)
    window.addEventListener("beforeunload", (event) => {
      if (!this.#sync.isSaved && this.#kept !== this.#store.document) event.preventDefault()
    })
  }

  /** Takes over what another tab or another device has changed meanwhile. */
  async #refresh() {
    if (this.#kept === this.#store.document) {
      const other = await this.#local.fromOtherTab().catch(() => null)
      if (other) return this.#takeOver(readable(other.document)) // with all of this tab's, which was there before
    }
    if (!this.#sync.isSaved || !(await isSignedIn())) return
    const server = await get(DRAFT_URL, { inBackground })
    if (!this.#sync.isSaved || server.revision <= this.#sync.revision) return
    this.#sync.begin(server)
    this.#adopt(readable(server.document))
    this.#onAdopt(this.#store.document)
    this.#keep({ isSynced: true })
  }

  /** @param {Document} document of another tab, which the server has not */
  #takeOver(document) {
    this.#adopt(document)
    this.#onAdopt(document)
    this.#kept = document
    this.#sync.change(document)
  }

  /** @param {PlainDocument} theirs */
  #merge(theirs) {
    this.#join(theirs)
    this.#keep({ isSynced: false })
    return this.#store.document
  }

  /** @param {PlainDocument} theirs */
  #join(theirs) {
    const { document } = this.#store
    const joined = merged(readable(theirs), document)
    this.#adopt(readDocument(joined))
    if (joined.entries !== document.entries) this.#onOtherDevice()
  }

  /** @param {Document} document */
  #adopt(document) {
    this.#isAdopting = true
    this.#store.update(() => document)
    this.#isAdopting = false
  }

  /** @param {{isSynced: boolean}} state */
  #keep({ isSynced }) {
    this.#keeping = this.#write(isSynced)
    return this.#keeping
  }

  /** @param {boolean} isSynced */
  async #write(isSynced) {
    const { document } = this.#store
    const basis = { revision: this.#sync.revision, isSynced }
    /** @param {import("./local.js").Kept} other */
    const join = (other) => {
      this.#join(other.document)
      this.#sync.change(this.#store.document)
      return this.#store.document
    }
    const kept = await this.#local.save(document, basis, { isLeaving: this.#isLeaving, join })
    if (kept) this.#kept = kept
    if (kept === this.#store.document || document === this.#store.document) this.#notify()
  }

  /** @param {import("./sync.js").State} state */
  #synced(state) {
    this.#state = state
    if (state.name === "saved") this.#keep({ isSynced: true })
    this.#notify()
  }

  /** @param {string} id */
  async #download(id) {
    const file = await fetchFile(`${DRAFT_URL}pictures/${id}/`, "image").catch(() => null)
    if (file) this.#local.putImage(id, file)
    return file
  }

  #notify() {
    this.#onState({ ...this.#state, isKept: this.#kept === this.#store.document })
  }
}

/** A state in words. @param {State} state */
export function inWords({ name, progress, isKept }) {
  if (name === "saved") return gettext("Saved")
  if (name === "saving") return progress === null ? gettext("Saving…") : gettext("Saving {share}", { share: percent(progress) })
  return UNSAVED[name][Number(isKept)]
}

/** The words where the server does not have the draft: without a copy in this browser, and with one.
 *  @type {Record<string, [string, string]>} */
const UNSAVED = {
  offline: [gettext("Offline: not saved"), gettext("Offline: saved in this browser")],
  "signed-out": [gettext("Signed out: not saved"), gettext("Signed out: saved in this browser")],
  refused: [gettext("Not on the server: not saved"), gettext("Not on the server: saved in this browser")],
}

const SERVER = {
  read: () => get(DRAFT_URL, { inBackground }),
  /** @param {import("./sync.js").SentDraft} draft */
  write(draft) {
    const body = JSON.stringify({ ...draft, document: undefined }).slice(0, -1) + `,"document":${jsonOf(draft.document)}}`
    const keepalive = document.hidden && body.length < MAX_KEEPALIVE_BYTES // the page may be closing
    return call(DRAFT_URL, { method: "PUT", body, headers: { "Content-Type": "application/json" }, keepalive, inBackground })
  },
  /** @param {string} id @param {(share: number) => void} onProgress */
  async sendImage(id, onProgress) {
    const body = await images.get(id)
    if (body) await call(`${DRAFT_URL}pictures/${id}/`, { method: "PUT", body, headers: { "Content-Type": body.type || "application/octet-stream" }, onProgress, inBackground })
  },
}

/** @type {WeakMap<import("./document.js").Entry, string>} */
const texts = new WeakMap() // of entries, which never change and may hold thousands of points

/** @param {Document} document */
function jsonOf({ entries, ...rest }) {
  const list = entries.map((entry) => {
    if (!texts.has(entry)) texts.set(entry, JSON.stringify(entry))
    return texts.get(entry)
  })
  return `${JSON.stringify({ ...rest, entries: 0 }).slice(0, -2)}[${list.join(",")}]}`
}

/** The document from plain JSON; an empty one where there is none, or where a newer version of the page wrote it.
 *  @param {PlainDocument | null} json */
function readable(json) {
  try {
    return json ? readDocument(json) : emptyDocument()
  } catch (error) {
    if (error instanceof RangeError) return emptyDocument()
    throw error
  }
}
