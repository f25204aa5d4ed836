// The only listeners for pointers on the surface: mouse, pen, fingers and wheel become down / move / up of the tool,
// and moves of the viewport.
//
// One finger paints, two fingers move and zoom. While a pen is in use, fingers do not paint: they may be a palm.
// The wheel zooms; the middle button, and any button while `isHand()`, drag. The right button and a pen's eraser erase.
// A page that is left while something is drawn ends it, as lifting the pointer does.

import { pan, pinch, toImage, zoomAt } from "editor/view/viewport"

/** @typedef {{x: number, y: number, pressure: number, type: "mouse" | "pen" | "touch", shift: boolean, alt: boolean, erases: boolean}} Point
 *  x, y: in pixels of the photo; pressure: 0 to 1, and 1 where the device does not measure it */
/** @typedef {import("editor/view/viewport").ScreenPoint} ScreenPoint */
/** @typedef {import("editor/view/viewport").Viewport} Viewport */
/** @typedef {{readonly viewport: Viewport, readonly minScale: number, setViewport: (viewport: Viewport) => void}} View */
/** @typedef {{down: (point: Point) => void, move: (points: Point[]) => void, up: () => void, cancel: () => void}} Tool */

const WHEEL_STEP = 0.002, PINCH_STEP = 0.01, MOST_PER_WHEEL = 150, PIXELS_PER_LINE = 16
const PALM_MS = 30_000
const MIDDLE = 1, RIGHT = 2, ERASER = 5
const ERASER_HELD = 32

/**
 * @param {HTMLElement} surface
 * @param {{view: View, tool: Tool, onHover?: (screenPoint: ScreenPoint | null, point: Point | null) => void, isHand?: () => boolean}} options
 * onHover: called with the position of a mouse or pen, or null
 * `onHover(screenPoint | null, point | null)` is called with the position of a mouse or pen.
 */
export function listen(surface, { view, tool, onHover = () => {}, isHand = () => surface.dataset.hand === "true" }) {
  /** @type {Map<number, ScreenPoint>} */
  const fingers = new Map() // pointerId -> ScreenPoint, of the fingers that are down
  let mode = "idle" // "paint", "drag", "pinch", or "resting": fingers that do nothing
  /** @type {number | null} */
  let active = null // the pointerId that paints or drags
  /** @type {ScreenPoint | null} */
  let last = null // where that was, as ScreenPoint
  let penSeenAt = -Infinity

  /** @param {MouseEvent} event @returns {ScreenPoint} */
  const at = (event) => {
    const box = surface.getBoundingClientRect()
    return { left: event.clientX - box.left, top: event.clientY - box.top }
  }
  /** @param {PointerEvent} event @returns {Point} */
  const pointOf = (event) => ({
    ...toImage(view.viewport, at(event)),
    pressure: event.pointerType === "pen" ? event.pressure : 1,
    type: /** @type {Point["type"]} */ (event.pointerType),
    shift: event.shiftKey,
    alt: event.altKey,
    erases: event.button === RIGHT || event.button === ERASER || Boolean(event.buttons & (ERASER_HELD | RIGHT)),
  })
  /** @param {PointerEvent} event */
  const hover = (event) => onHover(event.pointerType === "touch" ? null : at(event), pointOf(event))

  /** @param {PointerEvent} event */
  function begin(event) {
    active = event.pointerId
    last = at(event)
    const isDrag = event.button === MIDDLE || isHand()
    mode = isDrag ? "drag" : "paint"
    if (isDrag) event.preventDefault()
    else tool.down(pointOf(event))
  }

  /** @param {PointerEvent} event */
  function fingerDown(event) {
    if (active !== null && !fingers.has(active)) return // a palm beside the pen, or a finger beside the mouse
    fingers.set(event.pointerId, at(event))
    if (fingers.size === 1) {
      if (event.timeStamp - penSeenAt < PALM_MS) mode = "resting"
      else begin(event)
    } else if (fingers.size === 2) {
      if (mode === "paint") tool.cancel()
      active = null
      mode = "pinch"
    }
  }

  surface.addEventListener("pointerdown", (event) => {
    surface.setPointerCapture(event.pointerId)
    if (event.pointerType === "touch") fingerDown(event)
    else if (active === null || fingers.has(active)) {
      if (event.pointerType === "pen") penSeenAt = event.timeStamp
      if (mode === "paint") tool.cancel() // a palm came before the pen
      fingers.clear()
      begin(event)
    }
    hover(event)
  })

  surface.addEventListener("pointermove", (event) => {
    if (event.pointerType === "pen") penSeenAt = event.timeStamp
    hover(event)
    if (event.pointerId === active) {
      const now = at(event)
      if (mode === "paint") {
        const events = event.getCoalescedEvents?.() ?? []
        tool.move((events.length ? events : [event]).map(pointOf))
      } else {
        view.setViewport(pan(view.viewport, { left: now.left - /** @type {ScreenPoint} */ (last).left, top: now.top - /** @type {ScreenPoint} */ (last).top }))
      }
      last = now
    } else if (fingers.has(event.pointerId)) {
      const before = [...fingers.values()]
      fingers.set(event.pointerId, at(event))
      if (mode === "pinch" && fingers.size === 2) view.setViewport(pinch(view.viewport, before, [...fingers.values()], view.minScale))
    }
    if (event.pointerId === active && fingers.has(active)) fingers.set(active, /** @type {ScreenPoint} */ (last))
  })

  /** @param {PointerEvent} event @param {() => void} end */
  function lift(event, end) {
    fingers.delete(event.pointerId)
    if (event.pointerId === active) {
      active = null
      if (mode === "paint") end()
      mode = "idle"
    }
    if (mode === "pinch") mode = "resting" // the finger that stays must not paint
    if (!fingers.size && active === null) mode = "idle"
  }
  surface.addEventListener("pointerup", (event) => lift(event, () => tool.up()))
  surface.addEventListener("pointercancel", (event) => lift(event, () => tool.cancel()))
  window.addEventListener("pagehide", () => {
    if (mode === "paint") tool.up()
    fingers.clear()
    active = null
    mode = "idle"
  })
  surface.addEventListener("pointerleave", () => onHover(null, null))
  surface.addEventListener("contextmenu", (event) => event.preventDefault()) // the right button erases

  surface.addEventListener("wheel", (event) => {
    event.preventDefault()
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? PIXELS_PER_LINE : 1
    if (event.shiftKey) return view.setViewport(pan(view.viewport, { left: -(event.deltaX || event.deltaY) * pixels, top: 0 }))
    const step = event.ctrlKey ? PINCH_STEP : WHEEL_STEP // two fingers on a touchpad send small steps with Ctrl
    const turned = Math.max(-MOST_PER_WHEEL, Math.min(MOST_PER_WHEEL, event.deltaY * pixels))
    view.setViewport(zoomAt(view.viewport, at(event), Math.exp(-turned * step), view.minScale))
  }, { passive: false })
}
