// Which document is opened, and how two devices' changes are joined. Pure: no DOM.

/** @typedef {import("./document.js").PlainDocument} PlainDocument */

/** Both documents in one: first the other's, then what this one has beyond it, from the photo on at which they part. What is
 *  shown is this one's, and undo leads to the other's. The entries are this one's where nothing is in the other alone.
 *  @param {PlainDocument} theirs @param {PlainDocument} mine @returns {PlainDocument} */
export function merged(theirs, mine) {
  if (!mine.entries.length) return theirs
  const before = theirs.entries.slice(0, theirs.cursor)
  const shared = sharedLength(before, mine.entries.slice(0, mine.cursor))
  const isPart = shared === before.length
  const start = Math.max(0, mine.entries.slice(0, Math.min(shared + 1, mine.cursor)).findLastIndex(({ kind }) => kind === "photo"))
  const left = new Map([...(theirs.left ?? []), ...(mine.left ?? [])].map((one) => [one.generation, one]))
  const requests = new Map([...(theirs.requests ?? []), ...(mine.requests ?? [])].map((one) => [one.key, one]))
  return {
    ...mine, ...(!isPart && { entries: [...before, ...mine.entries.slice(start)], cursor: before.length + mine.cursor - start }),
    ...(left.size && { left: [...left.values()] }), ...(requests.size && { requests: [...requests.values()] }),
  }
}

/** How many entries both begin with. @param {object[]} some @param {object[]} others */
function sharedLength(some, others) {
  const parting = some.findIndex((entry, place) => JSON.stringify(entry) !== JSON.stringify(others[place]))
  return parting < 0 ? some.length : parting
}

/** What a page opens: the server's draft, unless this browser has changes that the server has not.
 *  @param {import("./local.js").Kept | null} kept
 *  @param {{revision: number, document: PlainDocument | null} | null} server  null: it cannot be reached
 *  @returns {{document: PlainDocument | null, isChanged: boolean}} isChanged: the server does not have this document */
export function chosen(kept, server) {
  if (!server) return { document: kept?.document ?? null, isChanged: Boolean(kept && !kept.isSynced) }
  const isNewest = kept && (!kept.isSynced || kept.revision > server.revision) // higher: the server was restored from a backup
  if (!isNewest) return { document: server.document, isChanged: false }
  if (kept.revision === server.revision || !server.document) return { document: kept.document, isChanged: true }
  return { document: merged(server.document, kept.document), isChanged: true }
}
