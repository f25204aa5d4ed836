// The masks of a batch: several photos lead to the page of batches, and from there the mask of all, or that of one photo, is
// painted here and taken back. What was entered on that page goes along unchanged.

import { keep, pendingFiles } from "batch/pending_files"
import { showMessage } from "editor/form/messages"
import { gettext, ngettext } from "text"

export class BatchMask {
  isOpen = false // nothing is generated then

  #url
  #elements
  #editor

  /** @param {{bar: HTMLElement, text: HTMLElement, use: HTMLButtonElement, back: HTMLAnchorElement, url: string}} elements url: of the page of batches
   *  @param {{settings: () => Record<string, string>, painted: () => Promise<Blob | null>, fit: () => void, take: (photo: File) => Promise<void>,
   *    takeMask: (file: File, repaints: import("../document/operations.js").Repaints | null) => Promise<void>}} editor
   *  what it holds: settings, and the mask; how it shows the whole photo, and takes others */
  constructor({ url, ...elements }, editor) {
    this.#url = url
    this.#elements = elements
    this.#editor = editor
  }

  /** Leads to the page of batches with these photos, and with the mask that is painted now.
   *  @param {{photos: File[], masks: File[]}} files */
  async leave({ photos, masks }) {
    await keep({ photos, masks, painted: await this.#editor.painted(), settings: this.#editor.settings() })
    location.assign(this.#url)
  }

  /** Opens the photo of the pending batch whose mask is wanted. */
  async open() {
    const batch = await pendingFiles()
    if (!batch) return
    const { photo = null, mask = null, repaints = null } = batch.wanted ?? {}
    const { bar, text, use, back } = this.#elements
    this.isOpen = true
    await this.#editor.take(batch.photos[photo ?? 0])
    if (mask) await this.#editor.takeMask(new File([mask], mask.name ?? "mask.png", { type: "image/png" }), repaints)
    bar.hidden = false
    this.#editor.fit() // below the bar
    back.href = this.#url
    text.textContent = photo === null ? gettext("Paint over what should go in all of them.") : gettext("Paint over what should go in this photo.")
    use.textContent = photo === null
      ? ngettext("Use this mask for {count} photo", "Use this mask for {count} photos", batch.photos.length)
      : gettext("Use this mask for this photo")
    use.addEventListener("click", async () => {
      const painted = await this.#editor.painted()
      if (!painted) return showMessage("photo", gettext("Paint over something first."))
      const own = batch.photos.map((_, index) => (index === photo ? painted : batch.own?.[index] ?? null))
      await keep({ ...batch, own, ...(photo === null && { painted }) })
      location.assign(this.#url)
    })
  }
}
