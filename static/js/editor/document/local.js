// The draft in this browser, in IndexedDB: the document, written with every change, and its images. Each account has a
// database of its own, which is deleted when another account is signed in. The tabs of an account share it: what another
// tab has written, and the server has not yet, is joined with what this one writes.
//
// Where IndexedDB is missing or full, as in some private windows, every method does nothing and says so by its result.

const PREFIX = "dreamlayer-draft-of-"
const STORES = ["head", "entries", "pictures"]

/** @typedef {{revision: number, isSynced: boolean}} Basis */
/** @typedef {import("./document.js").Document} Document */
/** @typedef {{document: import("./document.js").PlainDocument} & Basis} Kept
 *  revision: of the server's draft that the document is based on; isSynced: the server has this document */

export class LocalDraft {
  #database
  #writer = Math.random().toString(36)
  #known = "" // which write this page has read or made last
  /** @type {import("./document.js").Entry[]} */
  #written = [] // the entries in the database, if this page wrote last

  /** @param {IDBDatabase | null} database null: there is none */
  constructor(database) {
    this.#database = database
  }

  /** @param {string} account @returns {Promise<LocalDraft>} */
  static async open(account) {
    await forgetOtherAccounts(account)
    return new LocalDraft(await opened(PREFIX + account).catch(() => null))
  }

  /** @returns {Promise<Kept | null>} the document as plain JSON */
  async load() {
    if (!this.#database) return null
    const [, [head, entries]] = this.#begin("readonly")
    const [kept, list] = await Promise.all([result(head.get("head")), result(entries.getAll())])
    if (!kept) return null
    this.#known = kept.write
    return keptOf(kept, list)
  }

  /** What another tab has written since, and the server has not yet. @returns {Promise<Kept | null>} */
  async fromOtherTab() {
    const head = this.#database && (await result(this.#begin("readonly")[1][0].get("head")))
    return head && this.#isOfOtherTab(head) ? this.load() : null
  }

  /** @param {{write: string, isSynced: boolean}} head */
  #isOfOtherTab = ({ write, isSynced }) => write !== this.#known && !isSynced

  /** Writes the document; of the entries only those that changed, which are compared by identity. isLeaving: the page is
   *  being closed, so all is written without waiting for an answer. `join` gets what another tab has written, and returns
   *  the document that replaces both.
   *  @param {Document} document @param {Basis} basis @param {{isLeaving: boolean, join: (other: Kept) => Document}} how
   *  @returns {Promise<Document | null>} the one that is kept; null where none is */
  async save(document, { revision, isSynced }, { isLeaving, join }) {
    if (!this.#database) return null
    try {
      const [transaction, [head, list]] = this.#begin("readwrite")
      const former = isLeaving ? null : await result(head.get("head"))
      const isJoined = former && this.#isOfOtherTab(former)
      const saved = isJoined ? join(keptOf(former, await result(list.getAll()))) : document
      const { entries, ...rest } = saved
      const written = former?.writer === this.#writer ? this.#written : []
      let first = 0
      while (first < written.length && written[first] === entries[first]) first++
      if (first < written.length || !written.length) list.delete(IDBKeyRange.lowerBound(first))
      for (let index = first; index < entries.length; index++) list.put(entries[index], index)
      const write = Math.random().toString(36)
      head.put({ ...rest, writer: this.#writer, write, revision, isSynced: isSynced && !isJoined }, "head")
      if (isLeaving) transaction.commit()
      await done(transaction)
      this.#written = entries
      this.#known = write
      return saved
    } catch {
      this.#written = []
      return null
    }
  }

  /** @param {string} id @param {Blob} blob @returns {Promise<boolean>} whether it is kept */
  async putImage(id, blob) {
    if (!this.#database) return false
    try {
      const transaction = this.#database.transaction("pictures", "readwrite")
      transaction.objectStore("pictures").put(blob, id)
      await done(transaction)
      return true
    } catch {
      return false
    }
  }

  /** @param {string} id @returns {Promise<Blob | null>} */
  async getImage(id) {
    if (!this.#database) return null
    return (await result(this.#database.transaction("pictures").objectStore("pictures").get(id)).catch(() => null)) ?? null
  }

  /** Deletes all images but these. @param {Set<string>} ids */
  async keepImages(ids) {
    if (!this.#database) return
    const transaction = this.#database.transaction("pictures", "readwrite")
    const images = transaction.objectStore("pictures")
    for (const id of /** @type {string[]} */ (await result(images.getAllKeys()))) if (!ids.has(id)) images.delete(id)
    await done(transaction)
  }

  /** Where there is a database. @param {IDBTransactionMode} mode @returns {[IDBTransaction, IDBObjectStore[]]} */
  #begin(mode) {
    const transaction = /** @type {IDBDatabase} */ (this.#database).transaction(STORES, mode)
    return [transaction, STORES.map((name) => transaction.objectStore(name))]
  }
}

/** @param {any} head as it is stored @param {import("./document.js").Entry[]} entries @returns {Kept} */
function keptOf({ writer, write, revision, isSynced, ...rest }, entries) {
  return { document: { ...rest, entries }, revision, isSynced }
}

/** Deletes the drafts of all accounts but the one that is signed in. @param {string} account "" where nobody is */
export async function forgetOtherAccounts(account) {
  if (!account) return
  const databases = await globalThis.indexedDB?.databases?.().catch(() => []) ?? []
  for (const { name } of databases) if (name?.startsWith(PREFIX) && name !== PREFIX + account) indexedDB.deleteDatabase(name)
}

/** @param {string} name */
async function opened(name) {
  const opening = indexedDB.open(name, 1)
  opening.addEventListener("upgradeneeded", () => { for (const name of STORES) opening.result.createObjectStore(name) })
  const database = await result(opening)
  database.addEventListener("versionchange", () => database.close())
  return database
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const result = (request) => new Promise((resolve, reject) => {
  request.addEventListener("success", () => resolve(request.result))
  request.addEventListener("error", () => reject(request.error))
})

/** @param {IDBTransaction} transaction @returns {Promise<unknown>} */
const done = (transaction) => new Promise((resolve, reject) => {
  transaction.addEventListener("complete", resolve)
  for (const end of ["abort", "error"]) transaction.addEventListener(end, () => reject(transaction.error))
})
