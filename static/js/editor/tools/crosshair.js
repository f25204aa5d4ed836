// The crosshair: the pointer of people who use the keyboard. Arrow keys move it, Enter uses the tool there.

import { visible } from "editor/tools/geometry"
import { pan, toScreen } from "editor/view/viewport"

const STEP = 8, FAST = 40 // pixels of the screen
const FROM_EDGE = 24

export class Crosshair {
  /** @type {number[] | null} */
  #at = null
  #isDown = false

  /** @param {() => import("./toolbox.js").Tool} tool the chosen tool
   *  @param {Pick<import("./toolbox.js").Tooling, "photo" | "refresh" | "surface" | "view">} tooling */
  constructor(tool, { photo, refresh, surface, view }) {
    this.tool = tool
    this.photo = photo
    this.refresh = refresh
    this.surface = surface
    this.view = view
  }

  /** [x, y] in pixels of the photo, or null while it is hidden. */
  get at() {
    return this.#at
  }

  /** Moves it by the arrow key of the event, and the photo with it at the edge of the surface.
   *  @param {Pick<KeyboardEvent, "key" | "shiftKey">} event */
  move({ key, shiftKey }) {
    if (!this.#at) return this.#show()
    const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[/** @type {"ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown"} */ (key)]
    const step = (shiftKey ? FAST : STEP) / this.view.viewport.scale
    const { width, height } = this.photo()
    /** @param {number} value @param {number} most */
    const within = (value, most) => Math.min(most, Math.max(0, value))
    this.#at = [within(this.#at[0] + across * step, width), within(this.#at[1] + down * step, height)]
    this.#keepVisible()
    if (this.#isDown) this.tool().move([this.#point({ shiftKey })])
    else this.tool().hover?.(this.#point({ shiftKey }))
    this.refresh()
  }

  /** Uses the tool: a dot or a click at once; a shape begins with the first press and ends with the second.
   *  @param {Pick<KeyboardEvent, "shiftKey" | "altKey">} event */
  press(event) {
    if (!this.#at) return this.#show()
    const point = this.#point(event)
    if (this.#isDown) this.tool().move([point])
    else this.tool().down(point)
    if (this.tool().byKeys === "click" || this.#isDown) {
      this.#isDown = false
      this.tool().up()
    } else {
      this.#isDown = true
    }
    this.refresh()
  }

  hide() {
    this.#at = null
    this.#isDown = false
  }

  #show() {
    const stage = { width: this.surface.clientWidth, height: this.surface.clientHeight }
    const [left, top, right, bottom] = visible(this.view.viewport, stage, this.photo()) ?? [0, 0, this.photo().width, this.photo().height]
    this.#at = [(left + right) / 2, (top + bottom) / 2]
    this.refresh()
  }

  /** @param {{shiftKey?: boolean, altKey?: boolean}} event @returns {import("./toolbox.js").Point} */
  #point({ shiftKey = false, altKey = false }) {
    const [x, y] = /** @type {number[]} */ (this.#at)
    return { x, y, pressure: 1, type: "keyboard", shift: shiftKey, alt: altKey, erases: false }
  }

  #keepVisible() {
    const { left, top } = toScreen(this.view.viewport, { x: /** @type {number[]} */ (this.#at)[0], y: /** @type {number[]} */ (this.#at)[1] })
    /** @param {number} place @param {number} length */
    const back = (place, length) => Math.max(0, FROM_EDGE - place) - Math.max(0, place - (length - FROM_EDGE))
    const move = { left: back(left, this.surface.clientWidth), top: back(top, this.surface.clientHeight) }
    if (move.left || move.top) this.view.setViewport(pan(this.view.viewport, move))
  }
}
