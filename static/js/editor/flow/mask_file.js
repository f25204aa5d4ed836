// The mask from a file: reading it, and what the menu of the mask shows of it.

import { fileBeneath, file as maskFile } from "editor/document/operations"
import { get, put } from "editor/document/images"
import { checkMaskFile, decode } from "editor/document/files"
import { gettext } from "text"

/** @typedef {import("../document/operations.js").MaskFile} Operation */
/** @typedef {import("../document/operations.js").Repaints} Repaints */
/** @typedef {{width: number, height: number}} Size */

export class MaskFile {
  #elements
  #mask
  #limitBytes
  /** @type {Operation | null} */
  #shown = null // the operation

  /** @param {{file: HTMLElement, empty: HTMLElement, name: HTMLElement, about: HTMLElement, preview: HTMLCanvasElement}} elements
   *  the parts of the menu @param {Pick<import("editor/flow/photos").MaskView, "inspect" | "thumbnail">} mask @param {number} limitBytes */
  constructor(elements, mask, limitBytes) {
    this.#elements = elements
    this.#mask = mask
    this.#limitBytes = limitBytes
  }

  /** The operation that uses a file, and whether its image has one colour only. Raises Refused.
   *  @param {File} file @param {Repaints | null} known the part that is repainted, where that is known */
  async read(file, known) {
    checkMaskFile(file, this.#limitBytes)
    ;(await decode(file)).close()
    const { repaints, flat } = await this.#mask.inspect(file, known)
    return { operation: maskFile({ image: await put(file), name: file.name, repaints }), flat }
  }

  /** Shows the file beneath these operations, if there is one.
   *  @param {readonly import("../document/operations.js").Operation[]} operations @param {Size} photo */
  async show(operations, photo) {
    const operation = this.#shown = fileBeneath(operations)
    const { file, empty, name, about, preview } = this.#elements
    file.hidden = !operation
    empty.hidden = Boolean(operation)
    if (!operation) return
    name.textContent = name.title = operation.name
    const seen = await this.#mask.inspect(/** @type {Blob} */ (await get(operation.image)), operation.repaints)
    if (this.#shown !== operation) return
    about.textContent = inWords(operation, seen, photo)
    await this.#mask.thumbnail(preview)
  }
}

/** @param {Operation} operation @param {{flat: boolean} & Size} seen @param {Size} photo */
function inWords({ repaints }, { flat, width, height }, photo) {
  if (flat) return gettext("It has one colour only.")
  const isScaled = width !== photo.width || height !== photo.height
  return isScaled ? `${REPAINTED[repaints]} ${gettext("Scaled from {width} × {height}.", { width, height })}` : REPAINTED[repaints]
}

/** @type {Record<Operation["repaints"], string>} */
const REPAINTED = {
  light: gettext("Its light part is repainted. Wrong way round? Invert."),
  dark: gettext("Its dark part is repainted. Wrong way round? Invert."),
  transparent: gettext("Its transparent part is repainted. Wrong way round? Invert."),
  opaque: gettext("Its opaque part is repainted. Wrong way round? Invert."),
}
