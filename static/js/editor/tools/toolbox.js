// The tools together: which one is chosen, its options, its guides, and the commands of all.
//
// To the pointer (input/pointer.js) the toolbox is one tool.

import { canRedo, canUndo, push, redo, undo, withState } from "editor/document/document"
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
import { insert as insertTool } from "editor/tools/insert"
import { object } from "editor/tools/object/object"
import { Options } from "editor/tools/options"
import { shadow } from "editor/tools/shadow"
import { box, lasso, polygon } from "editor/tools/shapes"
import { wand } from "editor/tools/wand"
import { stem } from "format"

/** @typedef {import("editor/document/operations").Operation} Operation */
/** @typedef {import("editor/document/document").Photo} Photo */
/** @typedef {import("editor/document/document").Frame} Frame */
/** @typedef {import("editor/document/document").Document} Document */
/** @typedef {import("editor/document/store").Store} Store */
/** @typedef {import("editor/input/commands").Handler} Handler */
/** @typedef {import("editor/view/mask_view").MaskView} MaskView */
/** @typedef {import("editor/view/viewport").ScreenPoint} ScreenPoint */
/** @typedef {Pick<MaskView, "viewport" | "setViewport">} View */

/** Where a pointer is, or the crosshair.
 *  @typedef {Omit<import("editor/input/pointer").Point, "type"> & {type: import("editor/input/pointer").Point["type"] | "keyboard"}} Point */

/** @typedef {object} Tool
 *  @property {string} name
 *  @property {"click" | "drag"} byKeys whether one press of Enter at the crosshair uses it or two
 *  @property {(point: Point) => void} down
 *  @property {(points: Point[]) => void} move
 *  @property {() => void} up
 *  @property {() => void} cancel
 *  @property {(point: Point) => void} [hover]
 *  @property {() => void} [leave] the pointer is over the surface no more
 *  @property {() => void} [finish] ends what is drawn
 *  @property {() => void} [forget] the next use continues nothing
 *  @property {(begun: import("editor/document/document").Begun) => void} [resume] resumes what was drawn by clicks
 *  @property {() => import("editor/tools/guides").Guide[]} [guides] lines over the photo
 *  @property {(point: Point) => string} [cursorAt]
 *  @property {number} [ring] the diameter of what it paints
 *  @property {boolean} [isDrawing]
 *  @property {boolean} [isUsable] false where there is nothing to use it on
 *  @property {(event: KeyboardEvent) => void} [byArrow] takes the arrow keys, which else move the crosshair
 *  @property {(factor: number) => void} [enlarge]
 *  @property {(degrees: number) => void} [turn] rotates clockwise
 *  @property {(text: string) => Promise<void>} [words] selects what the words say
 *  @property {(step: number) => boolean} [canResize]
 *  @property {(step: number) => Promise<void>} [resize] */

/** What the tools are made with. @typedef {object} Tooling
 *  @property {(operation: Operation) => void} add adds an operation to the document
 *  @property {(begun: import("editor/document/document").Begun | null) => void} keep keeps what is drawn by clicks until it is finished
 *  @property {() => Photo} photo
 *  @property {() => Promise<ImageBitmap>} photoBitmap
 *  @property {() => number} scale pixels of the screen for one of the photo
 *  @property {() => number} size of the brush, in pixels of the photo
 *  @property {() => void} redraw draws the guides
 *  @property {() => void} refresh draws them and tells the panel and the commands
 *  @property {number} maxMargin of the frame on a side, in pixels of the photo
 *  @property {Store} store
 *  @property {MaskView} mask
 *  @property {View} view
 *  @property {HTMLElement} surface
 *  @property {Options} options
 *  @property {string} url of POST /api/masks/
 *  @property {string} planUrl of POST /api/plan/
 *  @property {string} words the segmenter that reads words; "" for none
 *  @property {Finder} finder
 *  @property {(text: string) => void} showMessage */

const HARDER = 0.1
const LARGER = 1.05, TURN = 5 // of an image to insert: a factor, and degrees
/** @param {Tool} tool */
const isBrush = ({ name }) => name === "brush" || name === "eraser"

export class Toolbox {
  /** @type {Point | null} */
  #hovered = null
  #frame = 0
  /** @type {Set<() => void>} */
  #listeners = new Set()
  /** @type {{id: string, bitmap: ImageBitmap | null}} */
  #bitmap = { id: "", bitmap: null }
  #guides
  #tools
  #shadow

  /** `mask` is the mask view, `view` {viewport, setViewport}; `url` that of POST /api/masks/, `planUrl` of POST /api/plan/;
   *  `words`: the segmenter that reads words, "" for none; `maxMargin`: of the frame on a side; `showMessage(text)` shows a sentence;
   *  `isEditing()`: whether the mask may be changed now; `insert`: the image to insert.
   *  @param {{surface: HTMLElement, store: Store, mask: MaskView, view?: View, url: string, planUrl: string, words?: string, maxMargin: number,
   *    showMessage: (text: string) => void, isEditing?: () => boolean, insert?: import("editor/tools/insert").Insert, options?: Options}} parts */
  constructor({ surface, store, mask, view = mask, url, planUrl, words = "", maxMargin, showMessage, isEditing = () => Boolean(store.view.photo), insert, options = new Options() }) {
    this.surface = surface
    this.store = store
    this.mask = mask
    this.view = view
    this.options = options
    this.maxMargin = maxMargin
    this.isEditing = isEditing
    this.#guides = new Guides(surface)
    const tooling = /** @type {Tooling} */ ({
      surface, store, mask, view, options, url, planUrl, words, maxMargin, showMessage,
      add: (/** @type {Operation} */ operation) => store.update((/** @type {Document} */ document) => push(document, { kind: "mask", operation })),
      keep: (/** @type {import("editor/document/document").Begun | null} */ begun) => store.update((/** @type {Document} */ document) => withState(document, { begun })),
      photo: () => /** @type {Photo} */ (store.view.photo),
      photoBitmap: () => this.#photoBitmap(),
      scale: () => view.viewport.scale,
      size: () => this.size,
      redraw: () => this.redraw(),
      refresh: () => this.refresh(),
    })
    tooling.finder = new Finder(tooling)
    const tools = [brush("brush", tooling), brush("eraser", tooling), box("rectangle", tooling), box("ellipse", tooling), lasso(tooling), polygon(tooling), wand(tooling), object(tooling), frame(tooling), ...(insert ? [insertTool({ ...tooling, insert })] : [])]
    this.#tools = Object.fromEntries(tools.map((tool) => [tool.name, tool]))
    this.add = tooling.add
    this.adjustment = new Adjustment(tooling)
    this.#shadow = shadow(tooling)
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

  /** @returns {Tool} */
  get tool() {
    const tool = this.#tools[this.options.values.tool]
    return !tool || tool.isUsable === false ? this.#tools.brush : tool
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

  /** @param {string} name */
  choose(name) {
    this.cancel()
    if (this.#tools[name]?.byArrow) this.crosshair.hide()
    this.options.set({ tool: name })
  }

  /** Calls `listener()` when a tool, an option or what is drawn changes. @param {() => void} listener */
  subscribe(listener) {
    this.#listeners.add(listener)
  }

  /** Resumes the polygon that was begun before the page was loaded. */
  resume() {
    const { begun } = this.store.document
    if (!begun || !this.isEditing()) return
    this.options.set({ tool: "polygon" })
    this.tool.resume?.(begun)
    this.refresh()
  }

  // As a tool of the pointer.

  /** @param {Point} point */
  down(point) {
    if (!this.isEditing()) return
    this.adjustment.apply()
    this.crosshair.hide()
    this.tool.down(point)
    this.refresh()
  }

  /** @param {Point[]} points */
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

  /** @param {ScreenPoint | null} screenPoint @param {Point | null} point both null where it has left */
  hover(screenPoint, point) {
    this.#hovered = screenPoint && point
    if (this.#hovered && this.isEditing()) this.tool.hover?.(/** @type {Point} */ (point))
    else this.tool.leave?.()
    this.surface.style.cursor = (this.#hovered && this.isEditing() && this.tool.cursorAt?.(/** @type {Point} */ (point))) || ""
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

  /** @param {boolean} canEdit @param {Photo} photo @param {Frame} margins */
  #guidesNow(canEdit, photo, margins) {
    if (!canEdit) return guidesOf(photo, margins, false)
    const guides = [...(this.tool.name === "frame" ? [] : guidesOf(photo, margins, false)), ...(this.tool.guides?.() ?? [])]
    const at = this.crosshair.at ?? (this.#hovered && [this.#hovered.x, this.#hovered.y])
    if (this.tool.ring && at) guides.push({ kind: "ring", at, size: this.size })
    if (this.crosshair.at) guides.push({ kind: "crosshair", at: /** @type {number[]} */ (at) })
    return guides
  }

  /** The handlers of the commands, for Commands.connect. @returns {Record<string, Handler>} */
  get commands() {
    const { options, store, adjustment, crosshair } = this
    const isEditing = () => Boolean(store.view.photo) && this.isEditing()
    /** @param {Handler["run"]} run */
    const whileEditing = (run) => ({ run, isEnabled: isEditing })
    const mayTravel = () => !store.view.photo || this.isEditing() // the first photo itself can be redone
    const hasMask = () => isEditing() && (store.view.operations.at(-1)?.kind ?? "clear") !== "clear"
    /** @param {Handler["run"]} run */
    const withMask = (run) => ({ run, isEnabled: hasMask })
    /** @param {number} by */
    const hardness = (by) => options.set({ hardness: Math.round(10 * Math.min(1, Math.max(0, options.values.hardness + by))) / 10 })
    /** @param {number} direction */
    const resize = (direction) => {
      const most = options.values.unit === "screen" ? this.largestSize * this.view.viewport.scale : this.largestSize
      options.set({ size: nextSize(options.values.size, direction, Math.max(100, most)) })
    }
    /** @param {number} step */
    const resizing = (step) => ({ run: () => /** @type {Required<Tool>} */ (this.tool).resize(step), isEnabled: () => isEditing() && Boolean(this.tool.canResize?.(step)) })
    const tools = Object.entries(this.#tools).map(([name, tool]) => [name, {
      run: () => this.choose(name), isEnabled: () => isEditing() && tool.isUsable !== false, isPressed: () => this.tool.name === name,
    }])
    /** @param {() => void} run */
    const placing = (run) => ({ run, isEnabled: () => isEditing() && Boolean(this.tool.byArrow) })
    return {
      ...Object.fromEntries(tools),
      "smaller-object": resizing(-1),
      "larger-object": resizing(1),
      "smaller-insert": placing(() => this.tool.enlarge?.(1 / LARGER)),
      "larger-insert": placing(() => this.tool.enlarge?.(LARGER)),
      "insert-left": placing(() => this.tool.turn?.(-TURN)),
      "insert-right": placing(() => this.tool.turn?.(TURN)),
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
      shadow: withMask(() => { this.cancel(); this.#shadow.add() }),
      "mask-download": { run: () => this.#download(), isEnabled: () => Boolean(store.view.photo) },
      finish: { run: () => this.#finish(), isEnabled: () => isEditing() && (adjustment.isOpen || this.tool.name === "polygon") },
      escape: { run: () => { this.cancel(); crosshair.hide(); this.refresh() }, isEnabled: () => adjustment.isOpen || Boolean(this.tool.isDrawing) || Boolean(crosshair.at) },
      crosshair: whileEditing((event) => this.#byArrow(/** @type {KeyboardEvent} */ (event))),
      press: {
        run: (event) => (adjustment.isOpen || (this.tool.isDrawing && !crosshair.at) ? this.#finish() : crosshair.press(/** @type {KeyboardEvent} */ (event))),
        isEnabled: () => isEditing() && !this.tool.byArrow,
      },
    }
  }

  /** @param {KeyboardEvent} event */
  #byArrow(event) {
    if (this.tool.byArrow) this.tool.byArrow(event)
    else this.crosshair.move(event)
  }

  /** The first click afterwards joins no line from before. */
  #switchStraight() {
    this.cancel()
    for (const tool of Object.values(this.#tools).filter(isBrush)) /** @type {Required<Tool>} */ (tool).forget()
    this.options.set({ straight: !this.options.values.straight })
  }

  /** @param {Operation} operation */
  #change(operation) {
    this.cancel()
    this.add(operation)
  }

  /** @param {typeof undo} way */
  #travel(way) {
    this.cancel()
    this.store.update(way)
  }

  #finish() {
    if (this.adjustment.isOpen) this.adjustment.apply()
    else this.tool.finish?.()
  }

  async #photoBitmap() {
    const { id } = /** @type {Photo} */ (this.store.view.photo)
    if (this.#bitmap.id !== id) {
      this.#bitmap.bitmap?.close()
      this.#bitmap = { id, bitmap: await createImageBitmap(await displayable(/** @type {Blob} */ (await get(id)))) }
    }
    return /** @type {ImageBitmap} */ (this.#bitmap.bitmap)
  }

  async #download() {
    const url = URL.createObjectURL(await this.mask.png())
    Object.assign(document.createElement("a"), { href: url, download: `${stem(/** @type {Photo} */ (this.store.view.photo).name)}-mask.png` }).click()
    setTimeout(() => URL.revokeObjectURL(url), 60_000)
  }
}
