// Reads mask files: which part of them is repainted, and how much each pixel is.

/** @typedef {import("../document/operations.js").Repaints} Repaints */
/** @typedef {{repaints: Repaints, flat: boolean}} Polarity  flat: one colour only, so nothing is repainted */
/** @typedef {Uint8Array | Uint8ClampedArray} Bytes */
/** @typedef {(rgba: Bytes, i: number) => number} ValueOf  the value of the pixel that begins at `i` */

/**
 * Counts the pixels of a mask file for its polarity. Programs do not agree on the colour that is repainted, so the
 * smaller part is taken; one button swaps the two. A file with transparency is read by its colours over white, and by
 * its alpha channel only where it has a single colour.
 */
export class PolarityReader {
  #seen = { clear: 0, dark: 0, light: 0 } // see-through pixels, and how many of the others are dark and light
  #high = { alpha: 0, brightness: 0 } // values of 128 and above
  #count = 0

  /** @param {Uint8ClampedArray} rgba some of the file's pixels */
  add(rgba) {
    for (let i = 0; i < rgba.length; i += 4) {
      if (rgba[i + 3] < 128) this.#seen.clear++
      else if (luma(rgba, i) < 128) this.#seen.dark++
      else this.#seen.light++
      if (rgba[i + 3] >= 128) this.#high.alpha++
      if (brightnessOverWhite(rgba, i) >= 128) this.#high.brightness++
    }
    this.#count += rgba.length / 4
  }

  /** @param {Repaints | null} known the part that is repainted, where that is known: "dark" or "light" @returns {Polarity} */
  read(known = null) {
    const { clear, dark, light } = this.#seen
    const byAlpha = !known && clear > 0 && (dark === 0 || light === 0)
    const high = byAlpha ? this.#high.alpha : this.#high.brightness
    /** @type {Repaints[]} */
    const [low, top] = byAlpha ? ["transparent", "opaque"] : ["dark", "light"]
    return { repaints: known ?? (high < this.#count - high ? top : low), flat: high === 0 || high === this.#count }
  }
}

/** How much a pixel of a mask file is repainted, 0 to 255, by the part of the file that is repainted. @type {Record<Repaints, ValueOf>} */
export const REPAINTED = {
  dark: (rgba, i) => 255 - brightnessOverWhite(rgba, i),
  light: brightnessOverWhite,
  transparent: (rgba, i) => 255 - rgba[i + 3],
  opaque: (rgba, i) => rgba[i + 3],
}

/** How much a pixel of a selection is selected: white is, black and transparent are not. @type {ValueOf} */
export const selected = (rgba, i) => Math.round((luma(rgba, i) * rgba[i + 3]) / 255)

/** ITU-R BT.601 luma, as Pillow's mode L: 0 to 255. @type {ValueOf} */
const luma = (rgba, i) => Math.round((rgba[i] * 299 + rgba[i + 1] * 587 + rgba[i + 2] * 114) / 1000)

/** @param {Bytes} rgba @param {number} i */
function brightnessOverWhite(rgba, i) {
  const opacity = rgba[i + 3] / 255
  return Math.round(luma(rgba, i) * opacity + 255 * (1 - opacity))
}
