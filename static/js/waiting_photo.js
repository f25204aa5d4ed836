// A photo that a visitor brought before signing in: kept in this browser, and opened once by the editor.

const DATABASE = "dreamlayer-waiting"
const FILES = "files"
const KEY = "photo"
const LONGEST_MS = 60 * 60 * 1000 // the next person at this browser should not find it

/** @param {File} file */
export const keep = (file) => change("readwrite", (files) => files.put({ file, keptAt: Date.now() }, KEY))

/** The file that waits, or null. @returns {Promise<File | null>} */
export async function waiting() {
  const kept = await change("readonly", (files) => files.get(KEY)).catch(() => null) // no database in private windows
  return kept && Date.now() - kept.keptAt < LONGEST_MS ? kept.file : null
}

/** The file that waits, which is forgotten. @returns {Promise<File | null>} */
export async function take() {
  const file = await waiting()
  await change("readwrite", (files) => files.delete(KEY)).catch(() => null)
  return file
}

async function change(mode, work) {
  const database = await settled(Object.assign(indexedDB.open(DATABASE, 1), {
    onupgradeneeded: ({ target }) => target.result.createObjectStore(FILES),
  }))
  try {
    return await settled(work(database.transaction(FILES, mode).objectStore(FILES)))
  } finally {
    database.close()
  }
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
