// The result over the photo: two images in the photo's place, compared by a divider, in turn, or by their difference.

const BLINK_MS = 600
const KEY_STEP = 0.02 // of the stage's width
const CRISP_FROM = 3 // CSS pixels per pixel of the photo from which single pixels are shown as squares

/** @typedef {"after" | "divider" | "blink" | "difference"} Mode */

export class Compare {
  #layer
  #before
  #after
  #divider
  #box = { left: 0, top: 0, width: 0, height: 0 }
  #share = 0.5 // of the stage's width, where the divider is
  #timer = 0
  #holeMiddle
  /** @type {Mode} */
  #mode = "after"

  /** `elements` is {layer, before, after, divider}; the layer and the divider lie on the stage. `holeMiddle()`: where the
   *  divider begins, in CSS pixels from the left of the stage; null where that is not known.
   *  @param {{layer: HTMLElement, before: HTMLImageElement, after: HTMLImageElement, divider: HTMLElement}} elements
   *  @param {() => number | null} holeMiddle */
  constructor({ layer, before, after, divider }, holeMiddle) {
    this.#holeMiddle = holeMiddle
    this.#layer = layer
    this.#before = before
    this.#after = after
    this.#divider = divider
    divider.addEventListener("pointerdown", (event) => {
      event.stopPropagation() // the stage would pan
      divider.setPointerCapture(event.pointerId)
    })
    divider.addEventListener("pointermove", (event) => {
      if (divider.hasPointerCapture(event.pointerId)) this.#moveTo((event.clientX - this.#stage.left) / this.#stage.width)
    })
    divider.addEventListener("keydown", (event) => {
      const places = { ArrowLeft: this.#share - KEY_STEP, ArrowRight: this.#share + KEY_STEP, Home: 0, End: 1 }
      if (!(event.key in places)) return
      event.preventDefault()
      event.stopPropagation() // arrows flip the results elsewhere
      this.#moveTo(places[/** @type {keyof typeof places} */ (event.key)])
    })
  }

  /** @returns {Mode} */
  get mode() {
    return this.#mode
  }

  set mode(mode) {
    this.#mode = this.#layer.dataset.mode = mode
    this.#divider.hidden = mode !== "divider"
    clearInterval(this.#timer)
    this.peek(false)
    if (mode === "divider") this.#share = (this.#holeMiddle() ?? this.#box.left + this.#box.width / 2) / this.#stage.width
    if (mode === "blink") this.#timer = setInterval(() => this.#layer.classList.toggle("peeking"), BLINK_MS)
    this.#cut()
  }

  /** Puts the images where the photo is: `viewport` as in `viewport.js`, `photo` {width, height}. The result fills the
   *  outpainting `frame` around it, margins in pixels of the photo.
   *  @param {import("editor/view/viewport").Viewport} viewport @param {import("editor/tools/geometry").Size} photo
   *  @param {import("editor/document/document").Frame} frame */
  place({ scale, left, top }, photo, frame = { left: 0, top: 0, right: 0, bottom: 0 }) {
    const size = { width: photo.width + frame.left + frame.right, height: photo.height + frame.top + frame.bottom }
    const corner = { left: left - frame.left * scale, top: top - frame.top * scale }
    this.#box = { ...corner, width: size.width * scale, height: size.height * scale }
    Object.assign(this.#layer.style, {
      width: `${this.#box.width}px`,
      height: `${this.#box.height}px`,
      transform: `translate(${corner.left}px, ${corner.top}px)`,
      imageRendering: scale < CRISP_FROM ? "auto" : "pixelated",
    })
    Object.assign(this.#before.style, {
      left: `${(100 * frame.left) / size.width}%`, top: `${(100 * frame.top) / size.height}%`,
      width: `${(100 * photo.width) / size.width}%`, height: `${(100 * photo.height) / size.height}%`,
    })
    this.#cut()
  }

  /** Shows `after` in the place of `before`, both URLs; resolves when it is there. The first one fades into what is shown
   *  until then; others replace it at once, so that they can be compared.
   *  @param {string} before @param {string} after */
  async show(before, after) {
    if (this.#before.src !== before) this.#before.src = before
    this.#after.src = after
    await this.#after.decode().catch(() => {}) // an image that cannot be loaded shows its alt text
    const layer = this.#layer.classList
    if (layer.contains("shown")) return
    layer.add("shown", "arriving")
    Promise.allSettled(this.#after.getAnimations().map(({ finished }) => finished)).then(() => layer.remove("arriving"))
  }

  hide() {
    this.mode = "after"
    this.#layer.classList.remove("shown", "arriving")
  }

  /** While `on` the photo is shown as it was. @param {boolean} on */
  peek(on) {
    this.#layer.classList.toggle("peeking", on)
  }

  get #stage() {
    return /** @type {HTMLElement} */ (this.#layer.parentElement).getBoundingClientRect()
  }

  /** @param {number} share */
  #moveTo(share) {
    this.#share = Math.min(1, Math.max(0, share))
    this.#cut()
  }

  /** The divider stays on the part of the photo that is visible, wherever the photo is panned to. */
  #cut() {
    if (this.#mode !== "divider") {
      this.#after.style.clipPath = ""
      return
    }
    const { left, top, width, height } = this.#box
    const stage = this.#stage
    const x = Math.min(Math.max(this.#share * stage.width, left, 0), left + width, stage.width)
    const y = Math.max(top, 0)
    this.#after.style.clipPath = `inset(0 0 0 ${x - left}px)`
    this.#divider.style.transform = `translate(${x}px, ${y}px)`
    this.#divider.style.height = `${Math.max(0, Math.min(top + height, stage.height) - y)}px`
    this.#divider.setAttribute("aria-valuenow", String(Math.round((100 * (x - left)) / (width || 1))))
  }
}
