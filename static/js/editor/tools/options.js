// The options of the tools, remembered in this browser.

const KEY = "dreamlayer.tools"

/** @typedef {{tool: string, size: number, unit: "screen" | "photo", hardness: number, pressure: boolean, straight: boolean,
 *   tolerance: number, contiguous: boolean, erases: boolean, snaps: boolean, softEdges: boolean, belongs: "new" | "more" | "less"}} Values */

/** unit: of the brush's size, pixels of the "screen" or of the "photo". pressure: a pen's pressure changes the size.
 *  straight: the brush draws straight lines. snaps: the lasso snaps to edges. softEdges: a selected object has soft edges. belongs: a click on an object selects a "new" one, or adds "more" or "less" to the last.
 *  @type {Readonly<Values>} */
export const DEFAULTS = Object.freeze({
  tool: "brush", size: 40, unit: "screen", hardness: 1, pressure: true, straight: false, tolerance: 32, contiguous: true, erases: false,
  snaps: false, softEdges: false, belongs: "new",
})

export class Options {
  /** @type {Readonly<Values>} */
  #values
  /** @type {Set<(values: Readonly<Values>) => void>} */
  #listeners = new Set()

  /** @param {Pick<Storage, "getItem" | "setItem">} storage */
  constructor(storage = localStorage) {
    this.storage = storage
    this.#values = Object.freeze({ ...DEFAULTS, ...read(storage) })
  }

  get values() {
    return this.#values
  }

  /** Changes some of the options and tells the listeners. @param {Partial<Values>} changes */
  set(changes) {
    this.#values = Object.freeze({ ...this.#values, ...changes })
    try {
      this.storage.setItem(KEY, JSON.stringify(this.#values))
    } catch {} // private windows have no room
    for (const listener of this.#listeners) listener(this.#values)
  }

  /** @param {(values: Readonly<Values>) => void} listener */
  subscribe(listener) {
    this.#listeners.add(listener)
  }
}

/** The remembered options, of those above and of their types.
 *  @param {Pick<Storage, "getItem">} storage @returns {Partial<Values>} */
function read(storage) {
  try {
    const found = Object.entries(JSON.parse(/** @type {string} */ (storage.getItem(KEY))) ?? {})
    return Object.fromEntries(found.filter(([name, value]) => typeof value === typeof DEFAULTS[/** @type {keyof Values} */ (name)]))
  } catch {
    return {}
  }
}
