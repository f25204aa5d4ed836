// The mask of a batch: several photos lead to the page of batches, and from there their mask is painted on the first of them.

import { keep, take } from "batch/pending_files"

export class BatchMask {
  #url
  #elements

  /** @param {{bar: HTMLElement, use: HTMLButtonElement, url: string}} elements url: of the page of batches
   *  @param {{settings: () => Record<string, string>, painted: () => Promise<Blob | null>}} editor what it holds: settings, and the mask */
  constructor({ url, ...elements }, { settings, painted }) {
    this.#url = url
    this.#elements = elements
    this.settings = settings
    this.painted = painted
  }

  /** Leads to the page of batches with these photos, and with the mask that is painted now.
   *  @param {{photos: File[], masks: File[]}} files */
  async leave({ photos, masks }) {
    await keep({ photos, masks, painted: await this.painted(), settings: this.settings() })
    location.assign(this.#url)
  }

  /** Opens the first photo of the batch that waits, to paint the mask of all on it.
   *  @param {(photo: File) => Promise<void>} takePhoto */
  async open(takePhoto) {
    const batch = await take()
    if (!batch) return
    await takePhoto(batch.photos[0])
    const { bar, use } = this.#elements
    bar.hidden = false
    use.textContent = `Use this mask for ${batch.photos.length} photos`
    use.addEventListener("click", () => this.leave(batch))
  }
}
