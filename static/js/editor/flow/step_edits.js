// What is done with the steps of a photo: they are hidden, painted back, run again, and joined by new results. Each changes the
// stack on the server and opens what its steps show together.

import { call, fetchFile, get, post } from "api"
import { latest, photoEntry, withStack } from "editor/document/document"
import { equal, generationsIn, plain, restored, seenBeneath, stackOf, toggled, withResult } from "editor/document/stack"
import { StepList } from "editor/flow/step_list"
import { isEmpty } from "editor/tools/frame_geometry"

const STACKS = "/api/stacks/"
const JSON_BODY = { "Content-Type": "application/json" }

/** @typedef {import("editor/document/document").PhotoEntry} PhotoEntry */
/** @typedef {import("../document/stack.js").ServedStack} ServedStack */
/** @typedef {import("../document/stack.js").Stack} Stack */
/** @typedef {import("../document/stack.js").Step} Step */

export class StepEdits {
  #elements
  #parts
  #list
  /** @type {Promise<unknown>} */
  #last = Promise.resolve() // change on the server: the next waits for it
  /** @type {Promise<unknown>} */
  #joining = Promise.resolve() // of generations that were left: each finds the stack of the former

  /** @param {import("editor/flow/steps").Elements} elements @param {import("editor/flow/steps").Parts} parts */
  constructor(elements, parts) {
    this.#elements = elements
    this.#parts = parts
    this.#list = new StepList(elements, {
      onToggle: (generation) => this.#toggle(generation),
      onPaintBack: (generation) => this.#paintBack(generation),
      onRunAgain: (generation) => this.#runAgain(generation),
    })
  }

  /** Shows the steps in the panel. */
  async showPanel() {
    const stack = await this.#shown()
    const { parent, stack: own } = this.#parts.store.view
    this.#list.show(stack, { name: this.#parts.filmstrip.filenameOf(parent), isBehind: Boolean(own && stack && !isSame(own.seen, stack.seen)) })
  }

  /** Opens the page that makes a link to what the steps show now, which are stored first. */
  async share() {
    const { id } = await this.#stored()
    location.assign(`/stacks/${id}/share/`)
  }

  /** Opens what the steps show together now. */
  async showNewest() {
    await this.#open(await this.#stored())
  }

  /** The result that is shown becomes a step: on top, or in place of the one that was run again. */
  async keep() {
    const { store, filmstrip } = this.#parts
    const stack = /** @type {Stack} */ (store.view.stack)
    const step = plain({ generation: /** @type {string} */ (filmstrip.current), image: store.document.image, hidden: false, painted_back: null, made_on: [...stack.seen] })
    await this.#change(stack.id, ({ steps }) => withResult(steps, step, stack.replaces))
  }

  /** A generation that still waits becomes a step of a photo, which may be open no more and goes on showing what it shows.
   *  @param {string} generation @param {PhotoEntry} photo */
  join(generation, photo) {
    const joined = this.#joining.catch(() => {}).then(() => this.#join(generation, latest(this.#parts.store.document, photo)))
    this.#joining = joined
    return joined
  }

  /** @param {string} generation @param {PhotoEntry | undefined} photo undefined: it is gone */
  async #join(generation, photo) {
    if (!photo) return
    const { parent, image, stack } = photo
    if (!parent && !stack) return this.#attach(photo, await this.#store(generation), { seen: [] })
    const own = stackOf(stack ? await this.restore(stack) : await this.#store(/** @type {string} */ (parent), image), stack)
    const step = plain({ generation, image: 0, hidden: false, painted_back: null, made_on: [...own.seen] })
    this.#attach(photo, await this.#save(own.id, ({ steps }) => withResult(steps, step, own.replaces)), own)
  }

  /** Results of the queue have arrived: they are opened where nothing is painted, else the panel offers them. */
  async arrived() {
    const { store, photos, mask, job } = this.#parts
    const { view } = store
    const stack = /** @type {Stack} */ (view.stack)
    const served = await get(`${STACKS}${stack.id}/`)
    const isIdle = () => store.view === view && photos.state === "editing" && !job.isRunning && mask.coverage() === 0 && isEmpty(view.frame)
    if (isIdle() && !stack.paintsBack && !stack.replaces && !isSame(served.seen, stack.seen)) return this.#open(served, isIdle)
    if (this.#elements.panel.matches(":popover-open")) await this.showPanel()
  }

  /** The stack of the document as the server has it, which first gets its steps where undo or redo has brought others back.
   *  @param {Stack} stack */
  async restore({ id, steps }) {
    const known = generationsIn(this.#parts.store.document.entries)
    return this.#save(id, (served) => restored(steps, served.steps, known))
  }

  /** The mask that is painted is where its step shows what lies beneath. */
  async finishPaintingBack() {
    const { store, mask } = this.#parts
    const { id, paintsBack } = /** @type {Stack} */ (store.view.stack)
    await mask.drawn()
    /** @type {string | null} */
    let painted = null
    if (mask.coverage() > 0) {
      const form = new FormData()
      form.append("file", await mask.png(), "mask.png")
      form.append("mask_polarity", "black_repaints")
      painted = (await post(`${STACKS}${id}/masks/`, form)).id
    }
    await this.#change(id, ({ steps }) => steps.map((step) => (step.generation === paintsBack ? { ...step, painted_back: painted } : step)))
  }

  /** @param {string} generation */
  async #toggle(generation) {
    const { id } = await this.#stored()
    await this.#change(/** @type {string} */ (id), ({ steps }) => toggled(steps, generation))
    await this.showPanel()
  }

  /** Opens the photo again to paint where a step shows what lies beneath. @param {string} generation */
  async #paintBack(generation) {
    const { photos, chooseBrush, store } = this.#parts
    const served = await this.#stored()
    const former = served.steps.find((step) => step.generation === generation)?.painted_back
    const { parent, image, photo: { name } } = /** @type {import("../document/document.js").PhotoEntry} */ (photoEntry(store.document))
    const { file } = /** @type {import("editor/flow/photos").OpenPhoto} */ (photos.photo)
    this.#elements.panel.hidePopover()
    await photos.take(new File([file], name, { type: file.type }), { parent, image, isStep: true, stack: stackOf(served, { paintsBack: generation }) })
    chooseBrush()
    if (former) await photos.takeMask(await fetchFile(`${STACKS}${served.id}/masks/${former}/`, "mask.png"), "light", { isJoined: true })
  }

  /** Opens what lies beneath a step, with its mask and its settings. @param {string} generation */
  async #runAgain(generation) {
    const { photos, filmstrip, settingsForm } = this.#parts
    const served = await this.#stored()
    const step = /** @type {Step} */ (served.steps.find((found) => found.generation === generation))
    const former = await get(`/api/generations/${generation}/`)
    const file = await fetchFile(`${STACKS}${served.id}/image/?format=png&below=${generation}`, filmstrip.filenameOf(generation))
    this.#elements.panel.hidePopover()
    const stack = stackOf(served, { replaces: generation, seen: seenBeneath(served, generation) })
    await photos.take(file, { parent: generation, image: step.image, isStep: true, stack })
    await settingsForm.fill(former.metadata.requested)
    await settingsForm.takeImages(former)
    await photos.takeMask(await fetchFile(former.mask, "mask.png"), "light", { isJoined: true })
  }

  /** The stack of what is shown, as the server has it or derives it; null for a photo without steps. A result that is shown
   *  joins a stored one when it is kept.
   *  @returns {Promise<ServedStack | null>} */
  async #shown() {
    const { store, photos } = this.#parts
    const { parent, stack } = store.view
    const { generation, image } = store.document
    if (stack) return this.restore(stack)
    if (photos.state === "done" && generation) return get(`/api/generations/${generation}/stack/?image=${image}`)
    return parent ? get(`/api/generations/${parent}/stack/?image=${photoEntry(store.document)?.image ?? 0}`) : null
  }

  /** The stack of what is shown, stored; a result that is shown is kept first. @returns {Promise<ServedStack>} */
  async #stored() {
    const { store, photos } = this.#parts
    if (photos.state === "done") await photos.useResult()
    const { parent, stack } = store.view
    if (stack) return this.restore(stack)
    const photo = /** @type {PhotoEntry} */ (photoEntry(store.document))
    const served = await this.#store(/** @type {string} */ (parent), photo.image)
    this.#attach(photo, served)
    return served
  }

  /** Stores the steps that lead to a generation. @param {string} generation @param {number} [image] @returns {Promise<ServedStack>} */
  async #store(generation, image = 0) {
    return post(STACKS, JSON.stringify({ generation, image }), JSON_BODY)
  }

  /** A photo shows this stack. @param {PhotoEntry} photo @param {ServedStack} served @param {Partial<Stack>} [what] is done with it */
  #attach(photo, served, what) {
    const { id, steps } = stackOf(served)
    this.#parts.store.update((document) => withStack(document, stackOf(served, { ...what, id, steps }), photo))
  }

  /** Changes the steps on the server and opens what they show. @param {string} id @param {(stack: ServedStack) => readonly Step[]} change */
  async #change(id, change) {
    await this.#open(await this.#save(id, change))
  }

  /** Changes the steps on the server, one change after the other; none where they are the same.
   *  @param {string} id @param {(stack: ServedStack) => readonly Step[]} change @returns {Promise<ServedStack>} */
  #save(id, change) {
    const saved = this.#last.catch(() => {}).then(async () => {
      /** @type {ServedStack} */
      const served = await get(`${STACKS}${id}/`)
      const steps = change(served)
      if (!steps.length || equal(steps, served.steps)) return served
      const body = JSON.stringify({ revision: served.revision, steps: steps.map(plain) })
      return call(`${STACKS}${id}/`, { method: "PATCH", body, headers: JSON_BODY })
    })
    this.#last = saved
    return saved
  }

  /** Opens what the steps show together. `isWanted`: whether it still is, once the image is here.
   *  @param {ServedStack} served @param {() => boolean} isWanted */
  async #open(served, isWanted = () => true) {
    const { photos, filmstrip } = this.#parts
    const top = served.steps.findLast(({ url }) => url)
    const parent = top?.generation ?? null
    const file = await fetchFile(`${served.image.url}?format=png`, filmstrip.filenameOf(parent))
    if (isWanted()) await photos.take(file, { parent, image: top?.image ?? 0, isStep: true, stack: stackOf(served) })
  }
}

/** @param {readonly string[]} one @param {readonly string[]} other */
const isSame = (one, other) => one.join() === other.join()
