// The result in the dock: what was done in plain words, the results to choose from, figures, download.

import { ranked, nextUnseen } from "editor/flow/ranking"
import { duration, score, stem } from "format"

const CHOICE_SIDE = 36 // the same as in the style sheet

/** @typedef {import("job/follow").Generation} Generation */
/** @typedef {import("job/follow").GeneratedImage} GeneratedImage */
/** @typedef {import("editor/view/viewport").Viewport} Viewport */
/** @typedef {{mode: string, peek: (on: boolean) => void, hide: () => void, show: (sourceUrl: string, resultUrl: string) => Promise<void>,
 *   place: (viewport: Viewport, photo: {width: number, height: number}, frame: import("../document/document.js").Frame) => void}} Compare
 *  of view/compare.js */
/** @typedef {{root: HTMLElement, summary: HTMLElement, hold: HTMLElement, modes: Record<string, HTMLElement>,
 *   download: HTMLAnchorElement, details: HTMLAnchorElement, warnings: HTMLElement, hidden: HTMLElement, choices: HTMLElement,
 *   choiceList: HTMLElement, before: HTMLElement, after: HTMLElement,
 *   figures: {outside: HTMLElement, seam: HTMLElement, score: HTMLElement, engine: HTMLElement, time: HTMLElement}}} Elements
 *  modes: {divider, blink, difference} */

export class Result {
  #elements
  #compare
  #nameOf
  #downloads
  #onChoose
  #source = ""
  #generation = "" // its id
  /** @type {number[]} */
  #order = [] // of its results, from 0: the best first
  /** @type {Set<number>} */
  #seen = new Set()

  /**
   * `compare` shows the image, `downloads` offers its files; `nameOf(metadata)` gives the names of engine and model;
   * `onChoose(index)` is called when another of several results is chosen.
   * @param {Elements} elements
   * @param {{compare: Compare, downloads: import("editor/flow/downloads").Downloads,
   *   nameOf: (metadata: import("job/follow").Metadata) => string, onChoose: (index: number) => void}} options
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

  /** Shows a succeeded generation, its result `image` (from 0, the order of the API) in full; resolves when that image is
   *  there. The others are offered in the order of their scores, and numbered in it.
   *  @param {Generation} generation @param {number} image @param {string} sourceUrl @param {string} filename of the result */
  async show(generation, image, sourceUrl, filename) {
    const { images, metadata } = generation
    const { root, details, figures, warnings, choices, choiceList } = this.#elements
    this.#source = sourceUrl
    this.#order = ranked(images)
    if (this.#generation !== generation.id) this.#seen = new Set()
    this.#generation = generation.id
    const names = this.#order.map((index, place) => `${stem(filename)}${images.length > 1 ? `-${place + 1}` : ""}.${extension(images[index])}`)
    /** @param {number} place */
    const choose = (place) => this.#choose(generation, place, names[place])
    const first = Math.max(this.#order.indexOf(image), 0)
    choices.hidden = images.length < 2
    const several = choices.hidden ? [] : this.#order
    choiceList.replaceChildren(...several.map((index, place) => offer(images[index], place, metadata.results[index]?.window, () => {
      this.#onChoose(index)
      choose(place)
    })))
    for (const [place, radio] of choiceList.querySelectorAll("input").entries()) radio.checked = place === first
    this.#downloads.list(several.map((index) => images[index]), names)
    details.href = /** @type {string} */ (details.dataset.url).replace("00000000-0000-0000-0000-000000000000", generation.id)
    figures.engine.textContent = this.#nameOf(metadata)
    figures.time.textContent = typeof generation.seconds === "number" ? duration(generation.seconds) : "–"
    warnings.replaceChildren(...(metadata?.warnings ?? []).map(asItem))
    warnings.hidden = !warnings.children.length
    this.#setMode("after")
    root.hidden = false
    await choose(first)
  }

  /** Whether there are several results. */
  get hasChoices() {
    return !this.#elements.choices.hidden
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
    const radios = this.#radios
    if (radios.length < 2) return
    const place = radios.findIndex((radio) => radio.checked)
    radios[(place + step + radios.length) % radios.length].click()
  }

  /** Chooses the best of the results that were not shown yet; false where all were. */
  showNext() {
    const next = nextUnseen(this.#order, this.#seen)
    if (next === undefined) return false
    this.#radios[this.#order.indexOf(next)].click()
    return true
  }

  get #radios() {
    return [...this.#elements.choiceList.querySelectorAll("input")]
  }

  hide() {
    this.#elements.root.hidden = true
    this.#compare.hide()
  }

  /** The result that is shown, downloaded and used as the next source. `place`: in the order of the results.
   *  @param {Generation} generation @param {number} place @param {string} name */
  #choose(generation, place, name) {
    const { download, figures, hidden, summary } = this.#elements
    const index = this.#order[place]
    const image = generation.images[index]
    this.#seen.add(index)
    this.url = image.copy ? `${image.url}?format=png` : image.url // the lossless one
    download.href = image.url
    download.download = name
    this.#downloads.show(image, name, generation.metadata.requested)
    hidden.hidden = !image.hidden_by
    const number = this.#order.length > 1 ? `${place + 1} of ${this.#order.length}: ` : ""
    summary.textContent = image.hidden_by ? `${number}Hidden by the safety checker` : `${number}${inWords(generation, image)}`
    figures.outside.textContent = /** @type {string} */ (image.outside_mask_changed_pixels ?? "–")
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

/** "Removed in 1.4 s, nothing else touched" @param {Generation} generation @param {GeneratedImage} image */
function inWords({ seconds, metadata }, { outside_mask_changed_pixels: changed }) {
  const isPainted = metadata.prompt && !metadata.ignored.includes("prompt")
  if (metadata.engine === "upscale") return `Enlarged${typeof seconds === "number" ? ` in ${duration(seconds)}` : ""}`
  const done = metadata.source_box ? "Extended" : isPainted ? "Painted" : "Removed"
  const time = typeof seconds === "number" ? ` in ${duration(seconds)}` : ""
  const outside = changed === 0 ? ", nothing else touched" : /** @type {number} */ (changed) > 0 ? `, ${changed} pixels changed beside the mask` : ""
  return `${done}${time}${outside}`
}

/** The file name extension of a result. @param {GeneratedImage} image */
function extension({ copy }) {
  return !copy ? "png" : copy.format === "jpeg" ? "jpg" : copy.format
}

/** A thumbnail as a radio button. `place`: in the order of the results; `box`: of the repainted window, where it is known.
 *  @param {GeneratedImage} image @param {number} place @param {number[] | undefined} box @param {() => void} onChoose */
function offer(image, place, box, onChoose) {
  const label = Object.assign(document.createElement("label"), { className: "choice" })
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "result", className: "visually-hidden" })
  radio.addEventListener("change", onChoose)
  const thumbnail = Object.assign(document.createElement("img"), { src: `${image.url}thumbnail/`, alt: `Result ${place + 1}` })
  if (box) zoom(thumbnail, image, box)
  const cell = document.createElement("span")
  cell.append(thumbnail)
  label.append(radio, cell)
  return label
}

/** Zooms a thumbnail to the square around the repainted window: elsewhere the results are equal.
 *  @param {HTMLImageElement} thumbnail @param {{width: number, height: number}} image @param {number[]} box */
function zoom(thumbnail, { width, height }, [left, top, right, bottom]) {
  const side = Math.min(Math.max(right - left, bottom - top), width, height)
  const scale = CHOICE_SIDE / side
  /** @param {number} from @param {number} to @param {number} whole */
  const start = (from, to, whole) => Math.min(Math.max((from + to - side) / 2, 0), whole - side)
  Object.assign(thumbnail.style, {
    width: `${width * scale}px`,
    height: `${height * scale}px`,
    translate: `${-start(left, right, width) * scale}px ${-start(top, bottom, height) * scale}px`,
  })
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
function asItem(warning) {
  const item = document.createElement("li")
  item.textContent = typeof warning === "string" ? warning : warning.message
  return item
}
