// What the editor opens with: the draft, a generation that the address names, or the settings of last time.

import { fetchFile, get } from "api"
import { opensAnother, rememberInAddress } from "editor/flow/address"
import { reportErrors, showMessage } from "editor/form/messages"
import { remembered } from "editor/form/remembered"
import { isComplete } from "job/request"
import { hasMaskOfDetail, isEnlarged } from "job/upscaling"
import { take } from "pending_photo"

/** @typedef {import("../document/document.js").Document} Document */

export class Opening {
  /** @type {Promise<void> | null} */
  resumed = null // once there is a draft: that it is shown

  /** @type {Promise<void> | null} */
  shown = null // that the photo and mask of the document are shown
  #parts

  /** @param {{store: import("editor/document/store").Store, photos: import("editor/flow/photos").Photos,
   *    painting: import("editor/flow/painting").Painting, job: import("job/job").Job,
   *    filmstrip: import("editor/flow/filmstrip").Filmstrip, settingsForm: import("editor/flow/painting").SettingsForm, resumeDrawing: () => void}} parts
   *  of the editor; resumeDrawing: resumes what was drawn by clicks */
  constructor(parts) {
    this.#parts = parts
  }

  /** The document has changed: shows what is in effect now. */
  showDocument() {
    showMessage("generate", "")
    showMessage("mask", "")
    this.shown = reportErrors("photo", () => this.#parts.photos.showDocument())
  }

  /** Takes over a draft that is in the store. @param {Document} document */
  adopt(document) {
    this.resumed = reportErrors("generate", () => this.#resume(document))
  }

  /** Opens the photo of a generation, or with `isFollowed` the generation itself, with its settings and its mask.
   *  @param {string} id @param {{isFollowed: boolean}} how */
  async openGeneration(id, { isFollowed }) {
    const { photos, painting, filmstrip, settingsForm } = this.#parts
    await reportErrors("photo", async () => {
      /** @type {import("job/follow").Generation} */
      const generation = await get(`/api/generations/${encodeURIComponent(id)}/`)
      await photos.take(await fetchFile(generation.source, generation.source_name || "photo.png"), { parent: generation.parent })
      await filmstrip.load(id)
      await settingsForm.fill(generation.metadata.requested)
      await settingsForm.takeImages(generation)
      if (!isEnlarged(generation.metadata) || hasMaskOfDetail(generation.metadata)) { // else the editor has sent no mask
        await photos.takeMask(await fetchFile(generation.mask, "mask.png"), "light", { isJoined: true }) // as the server stores it: white = repaint
      }
      if (!isFollowed) return
      rememberInAddress(id)
      await painting.follow(id)
    })
  }

  /** The settings of last time, and a photo that was chosen on the first page before the person signed up. */
  async openNew() {
    const { store, photos, settingsForm } = this.#parts
    const last = remembered("settings")
    if (last && !Object.keys(store.document.settings).length) await settingsForm.reuse(last)
    const waiting = await take()
    if (waiting) await photos.take(waiting)
  }

  /** Fills the form; sends the requests that were not answered, or follows or shows the generation that was painted or shown.
   *  @param {Document} document */
  async #resume({ settings, generation, step, requests }) {
    const { store, photos, painting, job, filmstrip, settingsForm, resumeDrawing } = this.#parts
    if (Object.keys(settings).length) await settingsForm.fill(settings)
    await this.shown
    if (job.isRunning || !photos.photo) return
    if (opensAnother(store.document.generation)) return photos.edit()
    const last = requests.at(-1)
    if (step === "painting" && !generation && last && await isComplete(last)) return painting.send(async () => last)
    if (!generation || step === "editing") {
      photos.edit()
      resumeDrawing()
      return painting.sendAgain()
    }
    await filmstrip.load(generation).catch(() => {}) // it may be deleted
    rememberInAddress(generation)
    await painting.follow(generation)
  }
}
