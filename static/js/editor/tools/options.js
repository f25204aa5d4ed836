// The options of the tools, remembered in this browser.

const KEY = "dreamlayer.tools"

/** unit: of the brush's size, pixels of the "screen" or of the "photo". pressure: a pen's pressure changes the size.
 *  straight: the brush draws straight lines. snaps: the lasso snaps to edges. belongs: a click on an object selects a "new" one, or adds "more" or "less" to the last. */
export const DEFAULTS = Object.freeze({
  tool: "brush", size: 40, unit: "screen", hardness: 1, pressure: true, straight: false, tolerance: 32, contiguous: true, erases: false,
  snaps: false, belongs: "new",
})

export class Options {
  #values
  #listeners = new Set()

  constructor(storage = localStorage) {
    this.storage = storage
    this.#values = Object.freeze({ ...DEFAULTS, ...read(storage) })
  }

  get values() {
    return this.#values
  }

  /** Changes some of the options and tells the listeners. */
  set(changes) {
    this.#values = Object.freeze({ ...this.#values, ...changes })
    try {
      this.storage.setItem(KEY, JSON.stringify(this.#values))
    } catch {} // private windows have no room
    for (const listener of this.#listeners) listener(this.#values)
  }

  subscribe(listener) {
    this.#listeners.add(listener)
  }
}

/** The remembered options, of those above and of their types. */
function read(storage) {
  try {
    const found = Object.entries(JSON.parse(storage.getItem(KEY)) ?? {})
    return Object.fromEntries(found.filter(([name, value]) => typeof value === typeof DEFAULTS[name]))
  } catch {
    return {}
  }
}
