// What the pages do only as an installed app: they take photos that other apps share, and the editor opens without a
// connection, from files that this browser keeps. The service worker imports the name of the cache from here.

export const CACHE = "dreamlayer-editor"
const KINDS = ["script", "link", "css", "other"] // of the files that make a page: not its images, nor answers of the API

/** Registers the service worker, and keeps the files of the editor if this is its page. */
export async function start() {
  const { href } = /** @type {HTMLLinkElement} */ (document.querySelector("link[rel=manifest]")) // beside it
  await navigator.serviceWorker.register(new URL("service-worker.js", href), { type: "module" })
  if (document.getElementById("editor")) await keepFiles(new URL(".", href).href)
}

/** Keeps what is not kept yet, with the modules that are loaded later, and forgets what belonged to another version.
 *  @param {string} page the address of the editor, which the service worker keeps each time that it is loaded */
async function keepFiles(page) {
  const map = /** @type {HTMLScriptElement} */ (document.querySelector("script[type=importmap]"))
  const modules = Object.values(/** @type {{imports: Record<string, string>}} */ (JSON.parse(map.text)).imports)
  const loaded = /** @type {PerformanceResourceTiming[]} */ (performance.getEntriesByType("resource"))
  const wanted = new Set([
    page,
    ...modules.map((module) => new URL(module, page).href),
    ...loaded.filter(({ initiatorType, name }) => KINDS.includes(initiatorType) && name.startsWith(page)).map(({ name }) => name),
  ])
  const cache = await caches.open(CACHE)
  const kept = (await cache.keys()).map(({ url }) => url)
  await Promise.all(kept.filter((url) => !wanted.has(url)).map((url) => cache.delete(url)))
  await cache.addAll([...wanted].filter((url) => !kept.includes(url)))
}
