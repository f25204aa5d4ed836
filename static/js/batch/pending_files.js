// Files on their way between the editor and the page of batches: kept in this browser until that page takes them.

const DATABASE = "dreamlayer-batch"
const KEY = "waiting"
const LONGEST_MS = 60 * 60 * 1000 // the next person at this browser should not find them

/** @typedef {{photos: File[], masks: File[], painted: Blob | null, settings: Record<string, string>}} PendingFiles
 *  painted: a mask from the editor, black = repainted; settings: the editor's, by the API's names */

/** @param {PendingFiles} files */
export const keep = (files) => withStore((store) => store.put({ ...files, keptAt: Date.now() }, KEY))

/** The pending files, which are forgotten. @returns {Promise<PendingFiles | null>} */
export async function take() {
  /** @type {(PendingFiles & {keptAt: number}) | null | undefined} */
  const kept = await withStore((store) => store.get(KEY)).catch(() => null)
  if (kept) await withStore((store) => store.delete(KEY)).catch(() => {})
  return kept && Date.now() - kept.keptAt < LONGEST_MS ? kept : null
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
