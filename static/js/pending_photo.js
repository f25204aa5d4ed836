// A photo that a visitor brought before signing in: kept in this browser, and opened once by the editor.

const DATABASE = "dreamlayer-waiting"
const FILES = "files"
const KEY = "photo"
const LONGEST_MS = 60 * 60 * 1000 // the next person at this browser should not find it

/** @param {File} file */
export const keep = (file) => change("readwrite", (files) => files.put({ file, keptAt: Date.now() }, KEY))

/** Keeps the file for the editor, and opens a page that leads there. @param {File} file @param {string} url */
export async function keepAndOpen(file, url) {
  try {
    await keep(file)
  } catch {
    // Without storage, as in some private windows, it has to be chosen again.
  }
  location.assign(url)
}

/** The pending file, or null. @returns {Promise<File | null>} */
export async function pendingPhoto() {
  /** @type {{file: File, keptAt: number} | null | undefined} */
  const kept = await change("readonly", (files) => files.get(KEY)).catch(() => null) // no database in private windows
  return kept && Date.now() - kept.keptAt < LONGEST_MS ? kept.file : null
}

/** The pending file, which is forgotten. @returns {Promise<File | null>} */
export async function take() {
  const file = await pendingPhoto()
  await change("readwrite", (files) => files.delete(KEY)).catch(() => null)
  return file
}

/** @template T @param {IDBTransactionMode} mode @param {(files: IDBObjectStore) => IDBRequest<T>} work @returns {Promise<T>} */
async function change(mode, work) {
  const database = await resultOf(Object.assign(indexedDB.open(DATABASE, 1), {
    onupgradeneeded: (/** @type {IDBVersionChangeEvent} */ { target }) => /** @type {IDBOpenDBRequest} */ (target).result.createObjectStore(FILES),
  }))
  try {
    return await resultOf(work(database.transaction(FILES, mode).objectStore(FILES)))
  } finally {
    database.close()
  }
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function resultOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
