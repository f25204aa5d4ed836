// The mask after each operation, so that undo takes the one before. Masks share tiles; those of old ones are dropped
// when all together take more than the limit, and drawn again when they are needed.

const TILE_BYTES = 65536 * (4 / 3) // with its smaller levels
const SPARED = 20 // every 20th mask is dropped last

export class Snapshots {
  #masks = [] // by the number of operations; null where it was dropped
  #tiles = 0
  #limit

  /** @param {import("./tiles.js").Mask} first the mask before all operations */
  constructor(first, limitBytes) {
    this.#limit = limitBytes / TILE_BYTES
    this.#keep(0, first)
  }

  get bytes() {
    return this.#tiles * TILE_BYTES
  }

  /** The kept mask nearest to `count` operations, of at most as many. @returns {{count: number, mask: import("./tiles.js").Mask}} */
  nearest(count) {
    let found = Math.min(count, this.#masks.length - 1)
    while (!this.#masks[found]) found--
    return { count: found, mask: this.#masks[found] }
  }

  /** Keeps the mask after `count` operations; others may be dropped. */
  add(count, mask) {
    if (this.#masks[count]) this.#drop(count)
    this.#keep(count, mask)
    const isOld = (i) => i > 0 && i !== count && this.#masks[i]
    for (const isNext of [(i) => isOld(i) && i % SPARED, isOld]) {
      for (let i = 1; i < this.#masks.length && this.#tiles > this.#limit; i++) if (isNext(i)) this.#drop(i)
    }
  }

  /** Drops the masks after more than `count` operations. */
  truncate(count) {
    for (let i = count + 1; i < this.#masks.length; i++) if (this.#masks[i]) this.#drop(i)
    this.#masks.length = Math.min(this.#masks.length, count + 1)
  }

  #keep(count, mask) {
    this.#masks[count] = mask
    for (const tile of mask.tiles) if (tile.alpha && tile.uses++ === 0) this.#tiles++
  }

  #drop(count) {
    for (const tile of this.#masks[count].tiles) if (tile.alpha && --tile.uses === 0) this.#tiles--
    this.#masks[count] = null
  }
}
