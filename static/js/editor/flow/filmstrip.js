// The filmstrip of steps beside the photo: the photo and all that was made of it; one press returns to a step.

import { get } from "api"
import { inOrder, merged, pathTo, stepOf } from "editor/flow/tree"
import { stem } from "format"
import { gettext } from "text"

/** @typedef {import("job/follow").Generation} Generation */
/** @typedef {{id: null, label: string, number: 0, file: Blob | null, fileId: string, filename: string, url?: string, thumbnail: string,
 *   image?: undefined, from?: undefined, branches?: undefined}} PhotoStep
 *  file: null where it is at `url` on the server; fileId: the file's id in document/images.js; filename: as it was chosen */
/** @typedef {{next: string | null, results: Generation[]}} Page */
/** @typedef {PhotoStep | import("editor/flow/tree").PlacedStep} AnyStep */

export class Filmstrip {
  #list
  #onOpen
  #imageOf
  /** @type {Generation[]} */
  #generations = [] // those with a result
  /** @type {PhotoStep | null} */
  #photo = null // null before a photo is open
  /** @type {string | null} */
  #current = null

  /** `onOpen(step)` is called with the step to return to; the photo has no id. `imageOf(id)` gives the result of a
   *  generation that was kept, from 0; null where none was.
   *  @param {HTMLElement} list ordered
   *  @param {{onOpen: (step: import("editor/flow/photos").OpenedStep) => void, imageOf: (id: string) => number | null}} options */
  constructor(list, { onOpen, imageOf }) {
    this.#list = list
    this.#onOpen = onOpen
    this.#imageOf = imageOf
  }

  /** Begins anew with a photo. @param {import("editor/flow/photos").OpenPhoto} photo */
  begin({ file, id: fileId, name: filename, shown }) {
    URL.revokeObjectURL(/** @type {string} */ (this.#photo?.thumbnail))
    this.#photo = { id: null, label: gettext("The photo"), number: 0, file, fileId, filename, thumbnail: URL.createObjectURL(shown) }
    this.#generations = []
    this.current = null
  }

  /** The id of the photo's file, where the photo came from the server. @param {string} id */
  set fileId(id) {
    /** @type {PhotoStep} */ (this.#photo).fileId = id
  }

  /** Whether this generation is a step of the filmstrip; without one, whether `fileId` is that of its photo.
   *  @param {string | null} id @param {string} [fileId] */
  has(id, fileId) {
    return id ? this.#generations.some((generation) => generation.id === id) : fileId === this.#photo?.fileId
  }

  /** The id of the step that is shown or painted on; null for the photo. @returns {string | null} */
  get current() {
    return this.#current
  }

  set current(id) {
    this.#current = id
    this.#show()
  }

  /** Adds a generation that has just ended, or been opened. @param {Generation} generation */
  add(generation) {
    this.#take([generation])
  }

  /** Adds a generation that was left to the queue, where it continues a step that is here, or the photo with the file `fileId`.
   *  @param {Generation} generation @param {string | undefined} fileId */
  addIfRelated(generation, fileId) {
    if (generation.parent ? this.has(generation.parent) : fileId && fileId === this.#photo?.fileId) this.add(generation)
  }

  /** Adds all of the edit tree of a generation, and takes the photo at its root. @param {string} id */
  async load(id) {
    /** @type {Generation[]} */
    const all = []
    for (let page = /** @type {Page} */ ({ next: `/api/generations/?tree=${encodeURIComponent(id)}&page_size=100` }); page.next;) {
      page = await get(page.next)
      all.push(...page.results)
    }
    /** @type {Set<string | null>} */
    const ids = new Set(all.map((generation) => generation.id))
    const root = all.find(({ parent }) => !ids.has(parent))
    if (root) {
      const { source: url, source_name: filename } = root
      Object.assign(/** @type {PhotoStep} */ (this.#photo), { file: null, url, thumbnail: `${url}thumbnail/`, ...(filename && { filename }) })
    }
    this.#take(all)
  }

  /** The file name of a step: "photo.jpg" for the photo, "photo-2.png" for the first result that was made of it.
   *  @param {string | null} id of a step; null for the photo */
  filenameOf(id) {
    const { filename } = /** @type {PhotoStep} */ (this.#photo)
    const step = this.#steps.find((known) => known.id === id)
    return step ? `${stem(filename)}-${step.number + 1}.png` : filename
  }

  get #steps() {
    return inOrder(this.#generations.flatMap((generation) => stepOf(generation, this.#imageOf(generation.id)) ?? []))
  }

  /** @param {Generation[]} generations */
  #take(generations) {
    this.#generations = merged(this.#generations, generations.filter(({ images }) => images?.length))
    this.#show()
  }

  #show() {
    this.#list.hidden = !this.#generations.length
    if (!this.#photo) return
    const steps = this.#steps
    const path = new Set(pathTo(steps, this.#current))
    this.#list.replaceChildren(...[this.#photo, ...steps].map((step) => this.#item(step, path)))
    this.#list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" })
  }

  /** @param {AnyStep} step @param {Set<string>} path */
  #item(step, path) {
    const item = document.createElement("li")
    item.classList.toggle("branch", Boolean(step.branches))
    item.classList.toggle("on-path", !step.id || path.has(step.id))
    const button = Object.assign(document.createElement("button"), { type: "button", className: "step", title: nameOf(step) })
    button.setAttribute("aria-label", nameOf(step))
    if (step.id === this.#current) button.setAttribute("aria-current", "step")
    button.append(Object.assign(document.createElement("img"), { src: step.thumbnail, alt: "", loading: "lazy" }))
    if (step.number) button.append(Object.assign(document.createElement("span"), { textContent: String(step.number) }))
    button.addEventListener("click", () => this.#onOpen(step))
    item.append(button)
    return item
  }
}

/** "Step 3, from step 1: a red bus" @param {AnyStep} step */
function nameOf({ number, from, label }) {
  if (!number) return label
  return from ? gettext("Step {number}, from step {from}: {label}", { number, from, label }) : gettext("Step {number}, from the photo: {label}", { number, label })
}
