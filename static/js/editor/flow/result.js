// The result in the dock: what was done in plain words, the results to choose from, figures, download.

import { element } from "dom"
import { announce } from "editor/flow/announce"
import { ranked, nextUnseen } from "editor/flow/ranking"
import { doneIn } from "editor/flow/verbs"
import { zoomTo } from "editor/view/thumbnail"
import { duration, score, stem } from "format"
import { isEnlarged } from "job/upscaling"
import { gettext, ngettext } from "text"

/** @typedef {import("job/follow").Generation} Generation */
/** @typedef {import("job/follow").GeneratedImage} GeneratedImage */
/** @typedef {import("editor/view/viewport").Viewport} Viewport */
/** One of the results to choose from. index: of the generation's images, from 0, the order of the API; window: its repainted
 *  part, left, top, right, bottom; name: of its file; seed: null where the engine has none
 *  @typedef {{generation: Generation, index: number, image: GeneratedImage, window: number[] | undefined, name: string, seed: number | null}} Choice */
/** @typedef {{mode: string, peek: (on: boolean) => void, hide: () => void, show: (sourceUrl: string, resultUrl: string) => Promise<void>,
 *   place: (viewport: Viewport, photo: {width: number, height: number}, frame: import("../document/document.js").Frame) => void}} Compare
 *  of view/compare.js */
/** @typedef {{root: HTMLElement, summary: HTMLElement, hold: HTMLElement, modes: Record<string, HTMLElement>,
 *   download: HTMLAnchorElement, details: HTMLAnchorElement, warnings: HTMLElement, hidden: HTMLElement, choices: HTMLElement,
 *   choiceList: HTMLElement, before: HTMLElement, after: HTMLElement,
 *   figures: {outside: HTMLElement, seam: HTMLElement, score: HTMLElement, seed: HTMLElement, engine: HTMLElement, time: HTMLElement}}} Elements
 *  modes: {divider, blink, difference} */

export class Result {
  #elements
  #compare
  #nameOf
  #downloads
  #onChoose
  #source = ""
  /** @type {Choice[]} */
  #choices = [] // generation after generation, in each the best first
  #place = 0 // in them, of the one that is shown
  /** @type {Set<string>} */
  #seen = new Set() // the addresses of results that were shown

  /**
   * `compare` shows the image, `downloads` offers its files; `nameOf(metadata)` gives the names of engine and model;
   * `onChoose(choice)` is called when another of several results is chosen.
   * @param {Elements} elements
   * @param {{compare: Compare, downloads: import("editor/flow/downloads").Downloads,
   *   nameOf: (metadata: import("job/follow").Metadata) => string, onChoose: (choice: Choice) => void}} options
   */
  constructor(elements, { compare, downloads, nameOf, onChoose }) {
    this.#onChoose = onChoose
    this.#downloads = downloads
    this.#elements = elements
    this.#compare = compare
    this.#nameOf = nameOf
    holdToPeek(elements.hold, (on) => compare.peek(on))
    for (const [mode, button] of Object.entries(elements.modes)) {
      button.addEventListener("click", () => this.#setMode(compare.mode === mode ? "after" : mode))
    }
    elements.before.addEventListener("click", () => this.flip(-1))
    elements.after.addEventListener("click", () => this.flip(+1))
  }

  /** Shows the results of succeeded generations, of which the result `image` (from 0, the order of the API) of `generation` in
   *  full; resolves when that image is there. The others are offered in their order, of each the best first, and numbered in it.
   *  @param {Generation[]} generations of the same photo and mask @param {{generation: Generation, image: number}} shown
   *  @param {string} sourceUrl @param {(id: string) => string} filenameOf gives the file name of a generation's result */
  async show(generations, { generation, image }, sourceUrl, filenameOf) {
    const { root, choices, choiceList } = this.#elements
    this.#source = sourceUrl
    this.#choices = generations.flatMap((one) => choicesOf(one, filenameOf(one.id)))
    choices.hidden = !this.hasChoices
    const several = this.hasChoices ? this.#choices : []
    choiceList.replaceChildren(...several.map((choice, place) => offer(choice, place, () => this.choose(place))))
    this.#downloads.list(several.map(({ image: one }) => one), several.map(({ name }) => name))
    this.#setMode("after")
    root.hidden = false
    await this.#show(Math.max(this.#choices.findIndex((choice) => choice.generation === generation && choice.index === image), 0))
  }

  /** Whether there are several results. */
  get hasChoices() {
    return this.#choices.length > 1
  }

  /** The results to choose from, and which of them is shown. */
  get choices() {
    return { choices: this.#choices, place: this.#place, inWords }
  }

  /** Whether another seed gives another result than the one that is shown. */
  get hasSeed() {
    return this.#choices[this.#place]?.seed !== null
  }

  /** The generation of the result that is shown. */
  get generation() {
    return this.#choices[this.#place].generation
  }

  /** What was done, in words. */
  get summary() {
    return this.#elements.summary.textContent
  }

  focus() {
    this.#elements.root.focus({ preventScroll: true })
  }

  /** Chooses the next result, or the one before: `step` +1 or -1. @param {number} step */
  flip(step) {
    const total = this.#choices.length
    if (total > 1) this.choose((this.#place + step + total) % total)
  }

  /** Chooses the first of the results that were not shown yet; false where all were. */
  showNext() {
    const next = nextUnseen(this.#choices.map(({ image }) => image.url), this.#seen)
    if (next === undefined) return false
    this.choose(this.#choices.findIndex(({ image }) => image.url === next))
    return true
  }

  /** Chooses a result. @param {number} place among them, from 0 */
  choose(place) {
    this.#show(place)
    this.#onChoose(this.#choices[place])
  }

  hide() {
    this.#elements.root.hidden = true
    this.#compare.hide()
  }

  /** The result that is shown, downloaded and used as the next source. @param {number} place among them, from 0 */
  #show(place) {
    const { choiceList, figures, hidden, summary, details, warnings } = this.#elements
    const { generation, image, name, seed } = this.#choices[place]
    const { metadata, seconds } = generation
    this.#place = place
    this.#seen.add(image.url)
    this.url = image.copy ? `${image.url}?format=png` : image.url // the lossless one
    for (const [number, radio] of choiceList.querySelectorAll("input").entries()) radio.checked = number === place
    this.#downloads.show(image, name, metadata)
    hidden.hidden = !image.hidden_by
    details.href = /** @type {string} */ (details.dataset.url).replace("00000000-0000-0000-0000-000000000000", generation.id)
    warnings.replaceChildren(...(metadata.warnings ?? []).map(asItem))
    warnings.hidden = !warnings.children.length
    const what = inWords(this.#choices[place])
    const numbered = this.hasChoices ? gettext("{number} of {total}: {what}", { number: place + 1, total: this.#choices.length, what }) : what
    const isMore = seed !== null && new Set(this.#choices.map((choice) => choice.generation)).size > 1 // they differ by their seeds alone
    summary.textContent = isMore ? `${numbered} · ${gettext("Seed {seed}", { seed })}` : numbered
    announce(summary.textContent)
    figures.engine.textContent = this.#nameOf(metadata)
    figures.time.textContent = typeof seconds === "number" ? duration(seconds) : "–"
    figures.seed.textContent = String(seed ?? "–")
    figures.outside.textContent = String(image.outside_mask_changed_pixels ?? "–")
    figures.outside.dataset.good = String(image.outside_mask_changed_pixels === 0)
    figures.seam.textContent = score(image.seam_score)
    figures.score.textContent = score(image.score)
    return this.#compare.show(this.#source, image.url)
  }

  /** @param {string} mode */
  #setMode(mode) {
    this.#compare.mode = mode
    for (const [name, button] of Object.entries(this.#elements.modes)) button.setAttribute("aria-pressed", String(name === mode))
  }
}

/** @param {Generation} generation @param {string} filename of its first result @returns {Choice[]} the best first */
function choicesOf(generation, filename) {
  const { images, metadata } = generation
  const hasSeed = !metadata.ignored.includes("seed") && Number.isSafeInteger(metadata.seed)
  return ranked(images).map((index, place) => ({
    generation, index, image: images[index], window: metadata.results[index]?.window,
    name: `${stem(filename)}${images.length > 1 ? `-${place + 1}` : ""}.${extension(images[index])}`,
    seed: hasSeed ? metadata.seed + index : null,
  }))
}

/** "Removed in 1.4 s, nothing else touched" @param {Choice} choice */
function inWords({ generation: { seconds, metadata }, image: { hidden_by: isHidden, outside_mask_changed_pixels: changed } }) {
  if (isHidden) return gettext("Hidden by the safety checker")
  const done = doneIn(metadata.verb, typeof seconds === "number" ? duration(seconds) : "")
  if (isEnlarged(metadata) || changed === undefined || changed === null) return done
  if (changed === 0) return gettext("{done}, nothing else touched", { done })
  return ngettext("{done}, {count} pixel changed beside the mask", "{done}, {count} pixels changed beside the mask", changed, { done })
}

/** The file name extension of a result. @param {GeneratedImage} image */
function extension({ copy }) {
  return !copy ? "png" : copy.format === "jpeg" ? "jpg" : copy.format
}

/** A thumbnail as a radio button. @param {Choice} choice @param {number} place @param {() => void} onChoose */
function offer({ image, window }, place, onChoose) {
  const radio = element("input", { type: "radio", name: "result", className: "visually-hidden" })
  radio.addEventListener("change", onChoose)
  const thumbnail = element("img", { src: `${image.url}thumbnail/`, alt: gettext("Result {number}", { number: place + 1 }) })
  if (window) zoomTo(thumbnail, image, window)
  return element("label", { className: "choice" }, radio, element("span", {}, thumbnail))
}

/** While the button is held, by pointer or key, `peek(true)` is in effect.
 *  @param {HTMLElement} button @param {(on: boolean) => void} peek */
function holdToPeek(button, peek) {
  /** @param {boolean} on */
  const hold = (on) => {
    peek(on)
    button.setAttribute("aria-pressed", String(on))
  }
  button.addEventListener("pointerdown", () => hold(true))
  for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(end, () => hold(false))
  button.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") hold(true) })
  button.addEventListener("keyup", () => hold(false))
  button.addEventListener("contextmenu", (event) => event.preventDefault()) // a long press on a phone
}

/** @param {string | {message: string}} warning */
const asItem = (warning) => element("li", { textContent: typeof warning === "string" ? warning : warning.message })
