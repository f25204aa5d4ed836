// The reference images in the form: what a prompt refers to beside the photo, for models that take such images.

import { ImageZone } from "editor/form/image_zone"
import { gettext } from "text"

/** @typedef {import("editor/form/image_zone").Generation} Generation */

export class ReferenceImage extends ImageZone {
  isOffered = false // by the planned model

  /** The file to send. */
  get file() {
    return this.isOffered ? this.chosen : null
  }

  /** The form can be sent without. */
  get problem() {
    return ""
  }

  /** As of a ConditioningImage: any kind is taken. @returns {null} */
  neededKind() {
    return null
  }

  /** Loads the image of an earlier generation, given as the API returns it. @param {Generation} generation */
  async takeFrom(generation) {
    await this.takeUrl(generation[this.image])
  }

  /** @param {boolean} isShown */
  show(isShown = !this.root.hidden) {
    this.root.hidden = !isShown
    this.showZone(isShown ? gettext("Drop an image here that the prompt refers to, or choose one") : "")
  }
}

export class ReferenceImages {
  /** @param {string[]} names  by the names of the API
   *  @param {Pick<import("./image_zone.js").ZoneOptions, "limits" | "onChange">} options */
  constructor(names, options) {
    this.images = names.map((image) => new ReferenceImage({ ...options, image, id: image.replaceAll("_", "-") }))
  }

  /** The files to send, by the names of the API. @returns {Record<string, File>} */
  get files() {
    const files = this.images.map(({ image, file }) => [image, file])
    return Object.fromEntries(files.filter(([, file]) => file))
  }

  /** How many the planned model takes. @param {number} count */
  set offered(count) {
    for (const [index, image] of this.images.entries()) image.isOffered = index < count
  }

  /** Those that are chosen, and the next empty one. */
  show() {
    const empty = this.images.find(({ chosen }) => !chosen)
    for (const image of this.images) image.show(image.isOffered && (Boolean(image.chosen) || image === empty))
  }

  /** Empties all. */
  clear() {
    for (const image of this.images) image.forget()
  }
}
