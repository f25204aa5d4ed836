// Files on their way between the editor and the page of batches: kept in this browser until that page takes them.

const DATABASE = "dreamlayer-batch"
const KEY = "waiting"
const LONGEST_MS = 60 * 60 * 1000 // the next person at this browser should not find them

/** @typedef {{photos: File[], masks: File[], painted: Blob | null, settings: Record<string, string>, own?: (Blob | null)[],
 *   use?: "one" | "each", polarity?: string, wanted?: Wanted}} PendingFiles
 *  painted: the mask of all from the editor, black = repainted; own: that of each photo, where it has one; settings: by the
 *  API's names; use and polarity: as chosen on the page of batches */
/** What is wanted of the editor. @typedef {{photo: number | null, mask: Blob & {name?: string} | null, repaints: import("editor/document/operations").Repaints | null}} Wanted
 *  photo: whose mask, from 0; null for that of all, on the first photo; mask: the present one; repaints: its part that is
 *  repainted, null where that is to be read from it */

/** @param {PendingFiles} files */
export const keep = (files) => withStore((store) => store.put({ ...files, keptAt: Date.now() }, KEY))

/** The pending files. @returns {Promise<PendingFiles | null>} */
export async function pendingFiles() {
  /** @type {(PendingFiles & {keptAt: number}) | null | undefined} */
  const kept = await withStore((store) => store.get(KEY)).catch(() => null)
  return kept && Date.now() - kept.keptAt < LONGEST_MS ? kept : null
}

/** The pending files, which are forgotten. */
export async function take() {
  const kept = await pendingFiles()
  await withStore((store) => store.delete(KEY)).catch(() => {})
  return kept
}

/** @template T @param {(store: IDBObjectStore) => IDBRequest<T>} work @returns {Promise<T>} */
async function withStore(work) {
  const opening = indexedDB.open(DATABASE, 1)
  opening.addEventListener("upgradeneeded", () => opening.result.createObjectStore("files"))
  const database = await resultOf(opening)
  try {
    return await resultOf(work(database.transaction("files", "readwrite").objectStore("files")))
  } finally {
    database.close()
  }
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const resultOf = (request) => new Promise((resolve, reject) => {
  request.addEventListener("success", () => resolve(request.result))
  request.addEventListener("error", () => reject(request.error))
})
