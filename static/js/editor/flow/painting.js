// Painting: sends the request, follows its generation, shows the progress in the hole and the result in the photo's place.

import { ApiError, get } from "api"
import { rememberInAddress } from "editor/flow/address"
import { best } from "editor/flow/ranking"
import { EDITING, NO_FRAME, push, withLeft, withRequest, withState, withoutRequest } from "editor/document/document"
import { CLEAR } from "editor/document/operations"
import { isForPeople, placeOf, showMessage } from "editor/form/messages"
import { remember } from "editor/form/remembered"
import { newSeed } from "editor/form/seed"
import { fieldsOf, isEmpty } from "editor/tools/frame_geometry"
import { touch } from "editor/view/screen"
import { isUnanswered } from "job/job"
import { isComplete, requestOf } from "job/request"
import { settingTexts } from "job/setting_texts"
import { UPSCALE_PATH, fieldsOfUpscaling, hasMaskOfDetail, isEnlarged } from "job/upscaling"
import { gettext, ngettext } from "text"

const CANCELLED = gettext("Cancelled. Your mask is still here.")
/** @param {number} count of requests */
const kept = (count) => ngettext(
  "The server cannot be reached. The request is kept, and sent again as soon as it can be.",
  "The server cannot be reached. {count} requests are kept, and sent again as soon as it can be.", count,
)

/** @typedef {import("../document/document.js").Frame} Frame */
/** @typedef {import("editor/flow/photos").OpenPhoto} OpenPhoto */
/** @typedef {import("job/follow").Followed} Followed */
/** @typedef {import("job/follow").Generation} Generation */
/** @typedef {import("job/follow").Preview} Preview */
/** @typedef {{readonly reusable: object, readonly otherEngine: string | undefined, whenPlanned: () => Promise<unknown>,
 *   edits: boolean, missingWords: string, problem: () => string, entered: () => object, values: (options?: {engine?: string}) => Record<string, string | number>,
 *   files: () => Record<string, File>, filesOf: (generation: Generation) => Promise<Record<string, File>>, fill: (request: object) => Promise<void>, reuse: (settings: object) => Promise<void>,
 *   takeImages: (generation: Generation) => Promise<void>}} SettingsForm  of form/settings_form.js */
/** @typedef {import("job/request").Request} Request */
/** What is sent; path: of the API, where it is not that which paints.
 *  @typedef {{fields: Record<string, string | number>, files: Record<string, File>, path?: string}} Content */
/** @typedef {{locate: (photo: OpenPhoto, frame: Frame) => Promise<void>, startShimmer: () => void, fadeShimmer: () => void,
 *   stopShimmer: () => void}} Hole  of view/hole.js */

export class Painting {
  keptSummary = "" // of a result that was kept at once, until something is painted over

  #isChecking = false
  #keepsAtOnce = false
  #isShowing = false // the progress
  #sent = "" // the key of the request that is sent last
  #queueing = Promise.resolve() // what is sent of requests that are left to the queue
  #painted = "" // what was entered for the result that is shown
  /** @type {import("../document/document.js").View | null} */
  #triedBoth = null // the view of the document that both engines without a prompt have painted
  #parts

  /** @param {{store: import("editor/document/store").Store, photos: import("editor/flow/photos").Photos,
   *    mask: import("editor/flow/photos").MaskView, hole: Hole, progress: import("editor/flow/progress").Progress,
   *    job: import("job/job").Job, result: import("editor/flow/result").Result,
   *    filmstrip: import("editor/flow/filmstrip").Filmstrip, batch: {isOpen: boolean}, seed: {used: (seed: number) => void}, settingsForm: SettingsForm, tasks: import("editor/form/tasks").Tasks,
   *    scale: import("editor/form/scale").Scale, detail: import("editor/form/detail").Detail, upscaleSettings: {file: string[], detail: string[]}, prompts: {add: (prompt: string) => void},
   *    draft: () => import("editor/document/draft").Draft | null, onLeft: (generation: string) => void}} parts
   *  of the editor; upscaleSettings: the names of the settings that an upscaling reads, and of those for detail; draft: null without an account; onLeft: what is painted was left to the queue */
  constructor(parts) {
    this.#parts = parts
  }

  /** What is missing before anything can be painted, in words. */
  get missing() {
    const { store, photos, mask, settingsForm, tasks, scale, batch } = this.#parts
    if (mask.isBroken) return gettext("The mask cannot be drawn. Reload the page; your work is kept.")
    if (!photos.photo) return gettext("Choose or drop a photo first.")
    if (batch.isOpen) return gettext("Paint the mask, then take it back to the batch.")
    if (this.#enlarges) return scale.problem(photos.photo)
    if (store.view.stack?.paintsBack) return gettext("Paint over what should be as it was, then press Done.")
    const isFramed = !isEmpty(store.view.frame)
    const isMarked = isFramed || (tasks.current !== "extend" && mask.coverage() > 0) || settingsForm.edits
    if (isMarked) return tasks.current === "replace" && !isFramed ? settingsForm.missingWords : ""
    return this.keptSummary ? `${this.keptSummary}.` : touch.matches ? tasks.words.markByTouch : tasks.words.mark
  }

  /** Shows the next best of the results; once all were shown, or where other settings are entered, paints others. */
  async tryAgain() {
    const { photos, job, result } = this.#parts
    if (photos.state === "done" && !job.isRunning && (await this.#entered()) === this.#painted && result.showNext()) return
    await this.generate()
  }

  /** Sends what is chosen. `keepsAtOnce`: the result is kept, so that the next stroke begins on it. */
  async generate({ keepsAtOnce = false } = {}) {
    const { photos, mask, job, settingsForm, prompts } = this.#parts
    if (job.isRunning || this.#isChecking) return
    this.#keepsAtOnce = keepsAtOnce
    this.#isChecking = true
    await Promise.all([settingsForm.whenPlanned(), mask.drawn()]).finally(() => { this.#isChecking = false })
    const missing = this.missing || (this.#enlarges ? "" : settingsForm.problem())
    if (missing) return showMessage("generate", missing)
    const engine = photos.state === "done" ? this.#engineToTryAgain() : undefined
    this.#painted = await this.#entered()
    photos.edit()
    remember("settings", settingsForm.reusable)
    prompts.add(String(settingsForm.values().prompt))
    await this.#sendNew(() => (this.#enlarges ? this.#enlarging() : this.#content(engine)))
  }

  /** Paints the result that is shown once more, with its settings and another seed. What comes joins the results that are
   *  there; they are shown again where nothing comes. */
  async moreLikeThis() {
    const { store, photos, job, result } = this.#parts
    if (job.isRunning || this.#isChecking) return
    const { view, document: former } = store
    const { generation } = result
    this.#keepsAtOnce = false
    photos.edit()
    await this.#sendNew(() => this.#contentLike(generation), [...new Set([...former.alike, generation.id])])
    const isBack = photos.state === "editing" && store.view === view && !this.#isKept
    if (!isBack) return
    await this.#show(generation, former.image, former.alike)
    result.focus()
  }

  /** Sends a new request and follows its generation. `alike`: the generations whose results its own ones join.
   *  @param {() => Promise<Content>} contentOf @param {string[]} [alike] */
  async #sendNew(contentOf, alike = []) {
    const { store, draft } = this.#parts
    await this.send(async () => {
      const { fields, files, path } = await contentOf()
      const request = await requestOf(fields, files, store.document.requests, path)
      store.update((document) => withRequest(withState(document, { generation: null, step: "painting", alike }), request))
      await draft()?.kept() // so that a reload sends the same request
      return request
    })
  }

  /** Whether the request that was sent last is kept, to be sent again. */
  get #isKept() {
    return this.#parts.store.document.requests.some(({ key }) => key === this.#sent)
  }

  /** Sends the request that `requested` gives, after those that were not answered, and follows its generation.
   *  @param {() => Promise<Request>} requested */
  async send(requested) {
    await this.#run(async () => {
      this.#showProgress()
      const request = await requested()
      this.#sent = request.key
      await this.#sendToQueue(this.#parts.store.document.requests.filter(({ key }) => key !== request.key))
      return this.#parts.job.send(request)
    })
  }

  /** Sends the requests again whose answers are not known, in their order and under their keys, and shows the result of the
   *  last where its photo and mask are still open as they were; the others are left to the queue. */
  async sendAgain() {
    const { store } = this.#parts
    const { requests, step } = store.document
    const last = requests.at(-1)
    if (!last || step === "painting" || this.#isChecking) return
    this.#isChecking = true
    const isOpen = await this.#isOpen(last).finally(() => { this.#isChecking = false })
    if (!isOpen) return this.#sendToQueue(requests)
    store.update((document) => withState(document, { step: "painting" }))
    await this.send(async () => last)
  }

  /** Whether what is open would be sent by the same request. @param {Request} request */
  async #isOpen(request) {
    const { store, photos, job, settingsForm } = this.#parts
    if (job.isRunning || !photos.photo || store.document.step !== "editing" || !(await isComplete(request))) return false
    await settingsForm.whenPlanned()
    const { fields, files, path } = await (this.#enlarges ? this.#enlarging() : this.#content(undefined))
    return (await requestOf(fields, files, [request], path)) === request
  }

  /** Sends requests of what is not open any more, in their order, until one is not answered.
   *  @param {readonly Request[]} requests */
  #sendToQueue(requests) {
    this.#queueing = this.#queueing.catch(() => {}).then(async () => {
      for (const request of requests) if (!(await this.#sendLeft(request))) return
    })
    return this.#queueing
  }

  /** @param {Request} request to be left to the queue @returns {Promise<boolean>} whether it was answered, or need not be sent */
  async #sendLeft(request) {
    const { store, job } = this.#parts
    const isThere = store.document.requests.some(({ key }) => key === request.key) && (await isComplete(request))
    if (!isThere) return true // answered meanwhile, or sent on another device
    /** @type {Followed | null} */
    let generation = null
    try {
      generation = await job.send(request, { isLeft: true })
    } catch (error) {
      if (!isForPeople(error)) throw error
      if (isUnanswered(error)) return false
      showMessage("generate", error.message)
    }
    store.update((document) => withoutRequest(document, request.key))
    if (generation) {
      showMessage("generate", "")
      this.#left(generation.id, request.files.image.image)
    }
    return true
  }

  /** Leaves the generation that is painted to the queue, so that the next mask can be drawn. False while it is still sent. */
  leave() {
    const { store, photos, job } = this.#parts
    if (!job.leave()) return false
    this.#left(/** @type {string} */ (store.document.generation), /** @type {OpenPhoto} */ (photos.photo).id)
    rememberInAddress("")
    store.update((document) => {
      const left = push(withState(document, EDITING), { kind: "mask", operation: CLEAR })
      return isEmpty(store.view.frame) ? left : push(left, { kind: "frame", frame: NO_FRAME })
    })
    return true
  }

  /** @param {string} generation was left to the queue @param {string} photo the id of its file */
  #left(generation, photo) {
    const { store, photos, onLeft } = this.#parts
    store.update((document) => withLeft(document, { generation, photo }))
    if (photos.photo?.id === photo) onLeft(generation)
  }

  /** The id of the photo of a generation that was left; undefined for others. @param {string} id */
  photoOf(id) {
    return this.#parts.store.document.left.find(({ generation }) => generation === id)?.photo
  }

  /** Follows a generation that was accepted before, or shows it, where it has ended. @param {string} id */
  async follow(id) {
    this.#sent = ""
    await this.#run(async () => ({ id, url: `/api/generations/${encodeURIComponent(id)}/`, isOld: true }))
  }

  /** Listener of the job: the server has a generation. @param {Followed} generation */
  accepted({ id, isOld }) {
    const { store, progress } = this.#parts
    rememberInAddress(id)
    if (!isOld) progress.show({ status: "queued" })
    if (store.document.generation !== id) store.update((document) => withoutRequest(withState(document, { generation: id, image: 0, step: "painting" }), this.#sent))
  }

  /** Listener of the job: the generation waits or runs; with a preview, perhaps. @param {import("job/follow").GenerationEvent} event */
  event(event) {
    const { store, mask, hole, progress } = this.#parts
    if (!this.#isShowing) this.#showProgress()
    progress.show(event)
    if (event.preview) mask.showPreview(onPhoto(event.preview, store.view.frame)).then(() => hole.fadeShimmer(), () => {}) // the next one may load
  }

  /** For the first repetition of what `auto` erased: the other engine that can, whose result differs more than with
   *  another seed. Undefined, which is the form's choice, from then on. */
  #engineToTryAgain() {
    const { store, settingsForm } = this.#parts
    if (this.#triedBoth === store.view) return undefined
    this.#triedBoth = store.view
    return settingsForm.otherEngine
  }

  /** All that the form has, as a text to compare. */
  async #entered() {
    const { settingsForm } = this.#parts
    await settingsForm.whenPlanned() // the model that is chosen depends on the engine of the plan
    return JSON.stringify(settingsForm.entered())
  }

  get #enlarges() {
    return this.#parts.tasks.current === "enlarge"
  }

  /** What to send to have something painted. `engine`: in place of the form's, undefined for that.
   *  @param {string | undefined} engine @returns {Promise<Content>} */
  async #content(engine) {
    const { settingsForm } = this.#parts
    const { fields, files } = await this.#marked()
    return { fields: { ...fields, ...settingsForm.values({ engine }) }, files: { ...files, ...settingsForm.files() } }
  }

  /** What to send to have one more result with the settings of a generation, and another seed.
   *  @param {Generation} generation @returns {Promise<Content>} */
  async #contentLike(generation) {
    const { metadata } = generation
    if (isEnlarged(metadata)) return this.#upscaling({ ...fieldsOfUpscaling(metadata), seed: newSeed() }, { hasMask: hasMaskOfDetail(metadata) })
    const { fields, files } = await this.#marked()
    return {
      fields: { ...fields, prompt: "", ...settingTexts(metadata.requested), num_images: 1, seed: newSeed() }, // the prompt is always sent
      files: { ...files, ...(await this.#parts.settingsForm.filesOf(generation)) },
    }
  }

  /** What to send of the photo, its frame and its mask.
   *  @returns {Promise<{fields: Record<string, string | number>, files: {image: File, mask?: File}}>} */
  async #marked() {
    const { store, photos, mask } = this.#parts
    const { file, name } = /** @type {OpenPhoto} */ (photos.photo)
    await mask.drawn()
    const painted = mask.coverage() > 0 ? new File([await mask.png()], "mask.png") : null
    const { parent, frame } = store.view
    return { fields: { ...(parent && { parent }), ...fieldsOf(frame) }, files: { image: new File([file], name), ...(painted && { mask: painted }) } }
  }

  /** What to send to have the photo enlarged. */
  #enlarging() {
    const { scale, detail, settingsForm, upscaleSettings } = this.#parts
    const read = [...upscaleSettings.file, ...(detail.isOn ? upscaleSettings.detail : [])]
    const entered = Object.entries(settingsForm.values()).filter(([field]) => read.includes(field))
    return this.#upscaling({ scale: scale.factor, ...detail.fields, ...Object.fromEntries(entered) }, { hasMask: detail.isOn })
  }

  /** What to send to have the photo enlarged with these fields. `hasMask`: the mask marks where detail is added.
   *  @param {Record<string, string | number>} fields @param {{hasMask: boolean}} options @returns {Promise<Content>} */
  async #upscaling(fields, { hasMask }) {
    const { parent } = this.#parts.store.view
    const { files: { image, mask } } = await this.#marked()
    return { fields: { ...(parent && { parent }), ...fields }, files: { image, ...(hasMask && mask && { mask }) }, path: UPSCALE_PATH }
  }

  /** Runs `begin`, which gives {id, url, isOld} of a generation, and follows that to its end.
   *  @param {() => Promise<Followed>} begin */
  async #run(begin) {
    const { store, photos, mask, hole, progress, job } = this.#parts
    for (const place of ["photo", "mask", "prompt", "generate"]) showMessage(place, "")
    hole.locate(/** @type {OpenPhoto} */ (photos.photo), store.view.frame)
    try {
      const generation = await job.run(begin)
      if (generation) await this.#finish(generation)
    } catch (error) {
      if (!isForPeople(error)) throw error
      const { status = 0, field = "" } = error instanceof ApiError ? error : {}
      if (status === 404 || !store.document.generation) this.#notAccepted(error)
      if (job.isAborted) showMessage("generate", CANCELLED)
      else if (!status && this.#isKept) showMessage("generate", kept(store.document.requests.length))
      else showMessage(placeOf(field), error.message)
    } finally {
      job.end()
      this.#isShowing = false
      progress.end()
      hole.stopShimmer()
      mask.hidePreview()
      if (photos.state === "done") this.#shown()
    }
  }

  #showProgress() {
    this.#isShowing = true
    this.#parts.progress.start()
    this.#parts.hole.startShimmer()
  }

  /** Back to editing. The request is kept while it may have been accepted: sent again, it is painted once. @param {Error} error */
  #notAccepted(error) {
    const { store, job } = this.#parts
    const isKept = isUnanswered(error) && !job.isAborted
    store.update((document) => (isKept ? withState(document, EDITING) : withoutRequest(withState(document, EDITING), this.#sent)))
  }

  /** @param {Generation} generation */
  async #finish(generation) {
    const { store } = this.#parts
    const { image, generation: id, step, alike } = store.document
    if (generation.status === "succeeded") {
      await this.#show(generation, id === generation.id && step === "result" ? image : best(generation.images), alike)
      this.#painted ||= await this.#entered() // one that was opened
    } else {
      store.update((document) => withState(document, EDITING))
      showMessage("generate", generation.status === "failed" ? generation.error?.message ?? gettext("The generation failed.") : CANCELLED)
    }
  }

  /** Shows the result `image` of a generation, and beside it those of the generations that are alike.
   *  @param {Generation} generation @param {number} image @param {string[]} alike their ids */
  async #show(generation, image, alike) {
    const { store, photos, result, filmstrip } = this.#parts
    const ids = [...new Set([...alike, generation.id])]
    /** @param {string} id @returns {Promise<Generation | null>} null: it was deleted */
    const found = (id) => (id === generation.id ? Promise.resolve(generation) : get(`/api/generations/${encodeURIComponent(id)}/`).catch(() => null))
    const shown = (await Promise.all(ids.map(found))).filter((one) => one !== null)
    store.update((document) => withState(document, { alike: shown.length > 1 ? ids : [] }))
    for (const one of shown) filmstrip.add(one)
    this.chosen({ generation, index: image })
    await result.show(shown, { generation, image }, photos.url, (id) => filmstrip.filenameOf(id))
    photos.state = "done"
  }

  /** One of the results is shown. @param {{generation: Generation, index: number}} choice */
  chosen({ generation, index }) {
    const { store, filmstrip, seed } = this.#parts
    store.update((document) => withState(document, { generation: generation.id, image: index, step: "result" }))
    rememberInAddress(generation.id)
    seed.used(generation.metadata.seed)
    filmstrip.current = generation.id
  }

  /** A result is there: it is kept at once where the next stroke is to begin on it. */
  #shown() {
    const { photos, result } = this.#parts
    if (!this.#keepsAtOnce || result.hasChoices) return result.focus()
    this.keptSummary = result.summary
    photos.useResult()
  }
}

/** A preview with its box on the photo in place of the canvas of an outpainting.
 *  @param {Preview} preview @param {Frame} frame */
function onPhoto({ url, box: [left, top, right, bottom] }, frame) {
  return { url, box: [left - frame.left, top - frame.top, right - frame.left, bottom - frame.top] }
}
