// What the editor's address asks for: ?generation=… to follow or show one, ?source=… to open the photo of one, ?sample, ?batch.

let wanted = new URLSearchParams(location.search) // until it is opened; the draft's photo empties the address

/** Whether the address names something to open in place of what the draft shows. `known`: the draft's generation, or null.
 *  @param {string | null} known */
export function opensAnother(known) {
  const id = wanted.get("generation")
  return ["sample", "batch", "source"].some((name) => wanted.has(name)) || Boolean(id && id !== known)
}

/** @param {{resumed: Promise<void> | null, known: () => string | null,
 *    openGeneration: (id: string, how: {isFollowed: boolean}) => Promise<void>, openNew: () => Promise<void>,
 *    openSample: () => Promise<void>, openBatch: () => Promise<void>}} page  resumed: when the draft is shown; known: its generation */
export async function openFromAddress({ resumed, known, openGeneration, openNew, openSample, openBatch }) {
  await resumed
  const followed = wanted.get("generation")
  const id = followed ?? wanted.get("source")
  const [isSample, isBatch] = [wanted.has("sample"), wanted.has("batch")]
  wanted = new URLSearchParams()
  if (isSample) return openSample()
  if (isBatch) return openBatch()
  if (followed !== null && followed === known()) return null
  return id ? openGeneration(id, { isFollowed: followed !== null }) : openNew()
}

/** Names the generation in the address, for a reload. @param {string} id "" for none */
export function rememberInAddress(id) {
  history.replaceState(null, "", id ? `?generation=${encodeURIComponent(id)}` : location.pathname)
}
