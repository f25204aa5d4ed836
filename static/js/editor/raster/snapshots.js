// The mask after each operation, so that undo takes the one before. Masks share tiles; those of old ones are dropped
// when all together take more than the limit, and drawn again when they are needed.

const TILE_BYTES = 65536 * (4 / 3) // with its smaller levels
const SPARED = 20 // every 20th mask is dropped last

/** @typedef {import("./tiles.js").Mask} Mask */

export class Snapshots {
  /** @type {(Mask | null)[]} */
  #masks = [] // by the number of operations; null where it was dropped
  #tiles = 0
  #limit

  /** @param {Mask} first the mask before all operations @param {number} limitBytes */
  constructor(first, limitBytes) {
    this.#limit = limitBytes / TILE_BYTES
    this.#keep(0, first)
  }

  get bytes() {
    return this.#tiles * TILE_BYTES
  }

  /** The kept mask nearest to `count` operations, of at most as many. @param {number} count @returns {{count: number, mask: Mask}} */
  nearest(count) {
    let found = Math.min(count, this.#masks.length - 1)
    while (!this.#masks[found]) found--
    return { count: found, mask: /** @type {Mask} */ (this.#masks[found]) }
  }

  /** Keeps the mask after `count` operations; others may be dropped. @param {number} count @param {Mask} mask */
  add(count, mask) {
    if (this.#masks[count]) this.#drop(count)
    this.#keep(count, mask)
    /** @param {number} i */
    const isOld = (i) => i > 0 && i !== count && this.#masks[i]
    for (const isNext of [(/** @type {number} */ i) => isOld(i) && i % SPARED, isOld]) {
      for (let i = 1; i < this.#masks.length && this.#tiles > this.#limit; i++) if (isNext(i)) this.#drop(i)
    }
  }

  /** Drops the masks after more than `count` operations. @param {number} count */
  truncate(count) {
    for (let i = count + 1; i < this.#masks.length; i++) if (this.#masks[i]) this.#drop(i)
    this.#masks.length = Math.min(this.#masks.length, count + 1)
  }

  /** @param {number} count @param {Mask} mask */
  #keep(count, mask) {
    this.#masks[count] = mask
    for (const tile of mask.tiles) if (tile.alpha && tile.uses++ === 0) this.#tiles++
  }

  /** @param {number} count */
  #drop(count) {
    for (const tile of /** @type {Mask} */ (this.#masks[count]).tiles) if (tile.alpha && --tile.uses === 0) this.#tiles--
    this.#masks[count] = null
  }
}
