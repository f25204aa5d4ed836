// The photo that is open, with its mask: from files, from a result that is painted on, or from the document.

import { fetchFile } from "api"
import { isBatch, sorted } from "batch/pairs"
import { rememberInAddress } from "editor/flow/address"
import { EDITING, push, withState } from "editor/document/document"
import { get as getImage, put } from "editor/document/images"
import { displayable } from "editor/document/displayable"
import { notesOn } from "editor/document/file_notes"
import { Refused, decode, isMaskOf, readPhoto, sortFiles } from "editor/document/files"
import { reportErrors, showMessage } from "editor/form/messages"
import { gettext } from "text"

/** @typedef {import("../document/operations.js").Operation} Operation */
/** @typedef {import("../document/operations.js").Repaints} Repaints */
/** @typedef {import("../document/document.js").Photo & {file: Blob, shown: Blob, bitmap: ImageBitmap}} OpenPhoto
 *  shown: what the browser shows of the file */
/** @typedef {{id: string | null, file?: Blob | null, url?: string, image?: number}} OpenedStep  the photo has no id */
/** @typedef {{readonly isBroken: boolean, readonly viewport: import("editor/view/viewport").Viewport, coverage: () => number,
 *   open: (bitmap: ImageBitmap, photo: OpenPhoto, options: {keepView: boolean}) => void,
 *   show: (operations: readonly Operation[]) => void, drawn: () => Promise<void>, png: () => Promise<Blob>,
 *   specks: () => Promise<{count: number, largest: number}>, thumbnail: (canvas: HTMLCanvasElement) => Promise<void>,
 *   inspect: (file: Blob, known: Repaints | null) => Promise<{width: number, height: number, repaints: Repaints, flat: boolean}>,
 *   showPreview: (preview: import("job/follow").Preview) => Promise<void>, hidePreview: () => void}} MaskView  of view/mask_view.js */

export class Photos {
  /** @type {OpenPhoto | null} */
  photo = null
  url = "" // of what is shown of its file
  /** @type {string[]} */
  notes = [] // what is not seen of it

  #root
  #surface
  #limits
  #parts

  /** @param {{root: HTMLElement, surface: HTMLElement}} elements of the page's state, and the stage
   *  @param {import("editor/document/files").Limits} limits
   *  @param {{store: import("editor/document/store").Store, mask: MaskView, maskFile: import("editor/flow/mask_file").MaskFile,
   *    compare: import("editor/flow/result").Compare, result: import("editor/flow/result").Result,
   *    filmstrip: import("editor/flow/filmstrip").Filmstrip, batch: import("editor/flow/batch_mask").BatchMask,
   *    job: import("job/job").Job, settingsForm: {forgetPhoto: (how: {isStep: boolean}) => void}, steps: () => import("editor/flow/steps").Steps, resumed: () => Promise<void> | null, leave: () => boolean, onChange: () => void}} parts
   *  of the editor; resumed: the draft that is opening; leave(): leaves what is painted to the queue, false where it cannot */
  constructor({ root, surface }, limits, parts) {
    this.#root = root
    this.#surface = surface
    this.#limits = limits
    this.#parts = parts
  }

  /** "empty", "editing" or "done": a result is shown. @returns {string | undefined} */
  get state() {
    return this.#root.dataset.state
  }

  /** @param {string} state */
  set state(state) {
    this.#root.dataset.state = state
    this.#surface.dataset.hand = String(state === "done")
  }

  /** Takes files that were chosen or dropped: a photo, a mask, both, or a batch. @param {File[]} files */
  async takeFiles(files) {
    const { store, batch, resumed } = this.#parts
    if (store.document.step === "result") await resumed() // the draft's result may just be opening
    if (!(await this.#isFree())) return showMessage("photo", gettext("The photo is still being sent. Wait a moment, or cancel it."))
    if (isBatch(files)) return batch.leave(sorted(files))
    const { photo, mask } = await this.#sorted(files)
    if (photo) await this.take(photo)
    if (mask && this.photo) await this.takeMask(mask)
  }

  /** @param {File[]} files */
  async #sorted(files) {
    if (files.length > 1) return sortFiles(files)
    const isMask = this.photo && (await isMaskOf(files[0], this.photo).catch(() => false)) // a damaged one is refused as a photo
    return isMask ? { photo: null, mask: files[0] } : { photo: files[0], mask: null }
  }

  /** Opens a photo, or with `parent` the result `image` of that generation. `isStep`: at another step of the filmstrip;
   *  `stack`: what the photo shows together.
   *  @param {File} file @param {{parent?: string | null, image?: number, isStep?: boolean, stack?: import("../document/stack.js").Stack}} options */
  async take(file, { parent = null, image = 0, isStep = false, stack } = {}) {
    const { store, filmstrip, settingsForm } = this.#parts
    if (!(await this.#isFree())) return
    await reportErrors("photo", async () => {
      const photo = await readPhoto(file, this.#limits)
      const id = await put(file)
      settingsForm.forgetPhoto({ isStep })
      this.#open({ ...photo, id }, { parent, isStep })
      const { name, width, height } = photo
      store.update((document) => push(withState(document, EDITING), { kind: "photo", photo: { id, name, width, height }, parent, image, stack }))
      if (parent) filmstrip.current = parent // with the result that was kept
    })
  }

  /** Takes a mask from a file. `known`: the part that is repainted, where that is known; `isJoined`: as one step of undo with
   *  the photo that has just been opened.
   *  @param {File} file @param {Repaints | null} known @param {{isJoined?: boolean}} how */
  async takeMask(file, known = null, { isJoined = false } = {}) {
    const { store, mask, maskFile, job } = this.#parts
    if (!this.photo) return showMessage("mask", gettext("Open a photo first, then its mask."))
    if (job.isRunning) return
    await reportErrors("mask", async () => {
      const { operation, flat } = await maskFile.read(file, known)
      this.edit()
      store.update((document) => push(document, { kind: "mask", operation, isJoined }))
      await mask.drawn()
      if (flat) showMessage("mask", gettext("Nothing is chosen by this mask. Invert chooses everything."))
    })
  }

  /** Shows what is in effect: another photo, or another mask. */
  async showDocument() {
    const { store, mask, maskFile, compare, filmstrip, onChange } = this.#parts
    const { photo, parent, operations } = store.view
    if (!photo) return this.#close()
    if (photo.id !== this.photo?.id) {
      const file = await getImage(photo.id)
      if (!file) throw new Refused(gettext("“{name}” is on another device and was not saved on the server yet.", { name: photo.name }))
      const shown = await displayable(file)
      const bitmap = await decode(shown, photo.name)
      if (store.view.photo?.id !== photo.id) return bitmap.close() // undone again meanwhile
      this.#open({ ...photo, file, shown, bitmap }, { parent, isStep: filmstrip.has(parent, photo.id) })
    }
    mask.show(store.view.operations)
    if (this.photo) compare.place(mask.viewport, this.photo, store.view.frame)
    onChange()
    await maskFile.show(operations, /** @type {OpenPhoto} */ (this.photo))
  }

  /** Back from the result to the mask. */
  edit() {
    const { store, result, filmstrip, onChange } = this.#parts
    if (!this.photo) return
    result.hide()
    this.state = "editing"
    rememberInAddress("") // a reload shows the draft, not the result
    filmstrip.current = store.view.parent
    if (store.document.step !== "editing") store.update((document) => withState(document, EDITING))
    onChange()
  }

  back() {
    this.edit()
    this.#surface.focus({ preventScroll: true })
  }

  /** Goes on from the result that is shown. */
  async useResult() {
    const { store, result, filmstrip, steps } = this.#parts
    if (store.view.stack) return steps().keep()
    await this.openStep({ id: filmstrip.current, url: result.url, image: store.document.image })
  }

  /** Returns to a step, whose result is painted on from there; the photo has no id.
   *  @param {OpenedStep} step */
  async openStep({ id, file, url, image = 0 }) {
    const { filmstrip } = this.#parts
    const name = filmstrip.filenameOf(id)
    await reportErrors("generate", async () => this.take(file ? new File([file], name, { type: file.type }) : await fetchFile(/** @type {string} */ (url), name), { parent: id, image, isStep: true }))
    this.#surface.focus({ preventScroll: true })
  }

  /** Whether another photo can be opened; what is painted is left to the queue. */
  async #isFree() {
    const { job, leave } = this.#parts
    if (!job.isRunning) return true
    if (!leave()) return false
    await job.ended
    return true
  }

  /** @param {OpenPhoto} photo @param {{parent: string | null, isStep: boolean}} options */
  #open(photo, { parent, isStep }) {
    const { mask, result } = this.#parts
    URL.revokeObjectURL(this.url)
    this.photo = photo
    this.url = URL.createObjectURL(photo.shown)
    this.notes = []
    notesOn(photo.file, photo.shown).then((notes) => {
      if (this.photo !== photo) return
      this.notes = notes
      this.#parts.onChange()
    })
    this.state = "editing"
    mask.open(photo.bitmap, photo, { keepView: isStep })
    result.hide()
    this.#showStep(photo, parent, isStep)
    rememberInAddress("")
    showMessage("mask", "")
    showMessage("generate", "")
  }

  #close() {
    URL.revokeObjectURL(this.url)
    this.photo = null
    this.state = "empty"
    this.#parts.result.hide()
    this.#parts.onChange()
  }

  /** Marks in the filmstrip the step that is painted on; a photo that is not known there begins a new filmstrip.
   *  @param {OpenPhoto} photo @param {string | null} parent @param {boolean} isStep */
  #showStep(photo, parent, isStep) {
    const { filmstrip } = this.#parts
    if (!isStep) filmstrip.begin(photo)
    else if (!parent) filmstrip.fileId = photo.id
    filmstrip.current = parent
    if (parent && !filmstrip.has(parent)) reportErrors("generate", () => filmstrip.load(parent))
  }
}
