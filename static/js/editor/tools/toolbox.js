// The tools together: which one is chosen, its options, its guides, and the commands of all.
//
// To the pointer (input/pointer.js) the toolbox is one tool.

import { canRedo, canUndo, push, redo, undo } from "editor/document/document"
import { CLEAR, FILL_HOLES, INVERT } from "editor/document/operations"
import { get } from "editor/document/images"
import { displayable } from "editor/document/displayable"
import { Adjustment } from "editor/tools/adjustment"
import { brush } from "editor/tools/brush"
import { Crosshair } from "editor/tools/crosshair"
import { Finder } from "editor/tools/object/finder"
import { frame, guidesOf } from "editor/tools/frame"
import { largestSize, nextSize } from "editor/tools/geometry"
import { Guides } from "editor/tools/guides"
import { object } from "editor/tools/object/object"
import { Options } from "editor/tools/options"
import { box, lasso, polygon } from "editor/tools/shapes"
import { wand } from "editor/tools/wand"
import { stem } from "format"

/** What the tools are made with. @typedef {object} Tooling
 *  @property {(operation: object) => void} add adds an operation to the document
 *  @property {() => {id: string, name: string, width: number, height: number}} photo
 *  @property {() => number} scale pixels of the screen for one of the photo
 *  @property {() => number} size of the brush, in pixels of the photo
 *  @property {() => void} redraw draws the guides
 *  @property {() => void} refresh draws them and tells the panel and the commands
 *  @property {number} maxMargin of the frame on a side, in pixels of the photo
 *  also store, mask, view, surface, options, url, words, finder, showMessage(text), photoBitmap() */

const HARDER = 0.1
const isBrush = ({ name }) => name === "brush" || name === "eraser"

export class Toolbox {
  #hovered = null
  #frame = 0
  #listeners = new Set()
  #bitmap = { id: "", bitmap: null }
  #guides
  #tools

  /** `mask` is the mask view, `view` {viewport, setViewport}; `url` that of POST /api/masks/; `words`: the segmenter that
   *  reads words, "" for none; `maxMargin`: of the frame on a side; `showMessage(text)` shows a sentence;
   *  `isEditing()`: whether the mask may be changed now. */
  constructor({ surface, store, mask, view = mask, url, words = "", maxMargin, showMessage, isEditing = () => Boolean(store.view.photo), options = new Options() }) {
    Object.assign(this, { surface, store, mask, view, options, maxMargin, isEditing })
    this.#guides = new Guides(surface)
    const tooling = {
      surface, store, mask, view, options, url, words, maxMargin, showMessage,
      add: (operation) => store.update((document) => push(document, { kind: "mask", operation })),
      photo: () => store.view.photo,
      photoBitmap: () => this.#photoBitmap(),
      scale: () => view.viewport.scale,
      size: () => this.size,
      redraw: () => this.redraw(),
      refresh: () => this.refresh(),
    }
    tooling.finder = new Finder(tooling)
    const tools = [brush("brush", tooling), brush("eraser", tooling), box("rectangle", tooling), box("ellipse", tooling), lasso(tooling), polygon(tooling), wand(tooling), object(tooling), frame(tooling)]
    this.#tools = Object.fromEntries(tools.map((tool) => [tool.name, tool]))
    this.add = tooling.add
    this.adjustment = new Adjustment(tooling)
    this.crosshair = new Crosshair(() => this.tool, tooling)
    let photoId = store.view.photo?.id
    store.subscribe(() => {
      if (store.view.photo?.id !== photoId) for (const tool of tools) tool.forget?.()
      photoId = store.view.photo?.id
      this.refresh()
    })
    options.subscribe(() => this.refresh())
    surface.addEventListener("blur", () => { this.crosshair.hide(); this.refresh() })
  }

  get tool() {
    return this.#tools[this.options.values.tool] ?? this.#tools.brush
  }

  /** The brush's diameter in pixels of the photo. */
  get size() {
    const { size, unit } = this.options.values
    const inPhoto = unit === "screen" ? size / this.view.viewport.scale : size
    return Math.min(inPhoto, this.largestSize)
  }

  /** The largest brush in pixels of the photo. */
  get largestSize() {
    return largestSize(this.store.view.photo ?? { width: 0, height: 0 })
  }

  choose(name) {
    this.cancel()
    this.options.set({ tool: name })
  }

  /** Calls `listener()` when a tool, an option or what is drawn changes. */
  subscribe(listener) {
    this.#listeners.add(listener)
  }

  // As a tool of the pointer.

  down(point) {
    if (!this.isEditing()) return
    this.adjustment.apply()
    this.crosshair.hide()
    this.tool.down(point)
    this.refresh()
  }

  move(points) {
    this.tool.move(points)
  }

  up() {
    this.tool.up()
  }

  cancel() {
    this.adjustment.cancel()
    this.tool.cancel()
  }

  hover(screenPoint, point) {
    this.#hovered = screenPoint && point
    if (this.#hovered && this.isEditing()) this.tool.hover?.(point)
    else this.tool.leave?.()
    this.surface.style.cursor = (this.#hovered && this.isEditing() && this.tool.cursorAt?.(point)) || ""
    this.redraw()
  }

  /** Draws the guides anew in the next frame. The caller asks for it after each change of the viewport. */
  redraw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0
      const { photo, frame: margins } = this.store.view
      const canEdit = Boolean(photo) && this.isEditing()
      this.#guides.draw(photo ? this.#guidesNow(canEdit, photo, margins) : [], this.view.viewport)
    })
  }

  /** Tells the listeners, and draws the guides. The caller asks for it where `isEditing()` may have changed. */
  refresh() {
    this.surface.dataset.tool = this.store.view.photo && this.isEditing() ? this.tool.name : ""
    for (const listener of this.#listeners) listener()
    this.redraw()
  }

  #guidesNow(canEdit, photo, margins) {
    if (!canEdit) return guidesOf(photo, margins, false)
    const guides = [...(this.tool.name === "frame" ? [] : guidesOf(photo, margins, false)), ...(this.tool.guides?.() ?? [])]
    const at = this.crosshair.at ?? (this.#hovered && [this.#hovered.x, this.#hovered.y])
    if (this.tool.ring && at) guides.push({ kind: "ring", at, size: this.size })
    if (this.crosshair.at) guides.push({ kind: "crosshair", at })
    return guides
  }

  /** The handlers of the commands, for Commands.connect. */
  get commands() {
    const { options, store, adjustment, crosshair } = this
    const isEditing = () => Boolean(store.view.photo) && this.isEditing()
    const whileEditing = (run) => ({ run, isEnabled: isEditing })
    const mayTravel = () => !store.view.photo || this.isEditing() // the first photo itself can be redone
    const hasMask = () => isEditing() && (store.view.operations.at(-1)?.kind ?? "clear") !== "clear"
    const withMask = (run) => ({ run, isEnabled: hasMask })
    const hardness = (by) => options.set({ hardness: Math.round(10 * Math.min(1, Math.max(0, options.values.hardness + by))) / 10 })
    const resize = (direction) => {
      const most = options.values.unit === "screen" ? this.largestSize * this.view.viewport.scale : this.largestSize
      options.set({ size: nextSize(options.values.size, direction, Math.max(100, most)) })
    }
    const resizing = (step) => ({ run: () => this.tool.resize(step), isEnabled: () => isEditing() && Boolean(this.tool.canResize?.(step)) })
    const tools = Object.keys(this.#tools).map((name) => [name, { run: () => this.choose(name), isEnabled: isEditing, isPressed: () => this.tool.name === name }])
    return {
      ...Object.fromEntries(tools),
      "smaller-object": resizing(-1),
      "larger-object": resizing(1),
      smaller: whileEditing(() => resize(-1)),
      larger: whileEditing(() => resize(1)),
      softer: whileEditing(() => hardness(-HARDER)),
      harder: whileEditing(() => hardness(HARDER)),
      straight: { run: () => this.#switchStraight(), isEnabled: () => isEditing() && isBrush(this.tool), isPressed: () => options.values.straight },
      undo: { run: () => this.#travel(undo), isEnabled: () => canUndo(store.document) && mayTravel() },
      redo: { run: () => this.#travel(redo), isEnabled: () => canRedo(store.document) && mayTravel() },
      invert: whileEditing(() => this.#change(INVERT)),
      clear: withMask(() => this.#change(CLEAR)),
      "fill-holes": withMask(() => this.#change(FILL_HOLES)),
      grow: withMask(() => adjustment.open("grow")),
      shrink: withMask(() => adjustment.open("shrink")),
      feather: withMask(() => adjustment.open("feather")),
      "mask-download": { run: () => this.#download(), isEnabled: () => Boolean(store.view.photo) },
      finish: { run: () => this.#finish(), isEnabled: () => isEditing() && (adjustment.isOpen || this.tool.name === "polygon") },
      escape: { run: () => { this.cancel(); crosshair.hide(); this.refresh() }, isEnabled: () => adjustment.isOpen || Boolean(this.tool.isDrawing) || Boolean(crosshair.at) },
      crosshair: whileEditing((event) => crosshair.move(event)),
      press: whileEditing((event) => (adjustment.isOpen || (this.tool.isDrawing && !crosshair.at) ? this.#finish() : crosshair.press(event))),
    }
  }

  /** The first click afterwards joins no line from before. */
  #switchStraight() {
    this.cancel()
    for (const tool of Object.values(this.#tools).filter(isBrush)) tool.forget()
    this.options.set({ straight: !this.options.values.straight })
  }

  #change(operation) {
    this.cancel()
    this.add(operation)
  }

  #travel(way) {
    this.cancel()
    this.store.update(way)
  }

  #finish() {
    if (this.adjustment.isOpen) this.adjustment.apply()
    else this.tool.finish?.()
  }

  async #photoBitmap() {
    const { id } = this.store.view.photo
    if (this.#bitmap.id !== id) {
      this.#bitmap.bitmap?.close()
      this.#bitmap = { id, bitmap: await createImageBitmap(await displayable(await get(id))) }
    }
    return this.#bitmap.bitmap
  }

  async #download() {
    const url = URL.createObjectURL(await this.mask.png())
    Object.assign(document.createElement("a"), { href: url, download: `${stem(this.store.view.photo.name)}-mask.png` }).click()
    setTimeout(() => URL.revokeObjectURL(url), 60_000)
  }
}
