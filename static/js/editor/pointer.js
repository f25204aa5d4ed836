// The only listeners for pointer events: mouse, pen and fingers on the stage become down / move / up of the tool.
// One finger paints, two fingers move and zoom; so does Ctrl and the wheel, and the middle button or Space drags.

import { pan, pinch, toImage, zoomAt } from "editor/viewport"

const WHEEL_STEP = 0.0025

/** `view` is {viewport, minScale, setViewport}; `onHover(screenPoint | null)` is called with the position of the brush. */
export function listen(surface, { view, tool, onHover }) {
  const fingers = new Map() // pointerId -> ScreenPoint, of those that are down
  let mode = "idle" // "paint", "drag" or "pinch"

  const at = (event) => {
    const box = surface.getBoundingClientRect()
    return { left: event.clientX - box.left, top: event.clientY - box.top }
  }
  const imageAt = (event) => toImage(view.viewport, at(event))

  surface.addEventListener("pointerdown", (event) => {
    if (fingers.size >= 2 || (event.pointerType === "mouse" && fingers.size)) return
    surface.setPointerCapture(event.pointerId)
    fingers.set(event.pointerId, at(event))
    if (fingers.size === 2) {
      tool.cancel()
      mode = "pinch"
    } else if (event.button === 1 || (event.button === 0 && surface.dataset.hand === "true")) {
      event.preventDefault()
      mode = "drag"
    } else if (event.button === 0) {
      mode = "paint"
      tool.down(imageAt(event))
    }
    onHover(event.pointerType === "mouse" ? at(event) : null)
  })

  surface.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId)
    if (event.pointerType === "mouse" || event.pointerType === "pen") onHover(at(event))
    if (!before) return
    if (mode === "paint") {
      const events = event.getCoalescedEvents?.() ?? []
      for (const each of events.length ? events : [event]) tool.move(imageAt(each))
    } else if (mode === "drag") {
      const now = at(event)
      view.setViewport(pan(view.viewport, { left: now.left - before.left, top: now.top - before.top }))
    } else if (mode === "pinch" && fingers.size === 2) {
      const two = [...fingers.values()]
      const moved = [...fingers.keys()].map((id) => (id === event.pointerId ? at(event) : fingers.get(id)))
      view.setViewport(pinch(view.viewport, two, moved, view.minScale))
    }
    fingers.set(event.pointerId, at(event))
  })

  const lift = (event, ended) => {
    if (!fingers.delete(event.pointerId)) return
    if (mode === "paint") ended()
    if (!fingers.size) mode = "idle"
    else if (mode === "pinch") mode = "resting" // the finger that stays must not paint
  }
  surface.addEventListener("pointerup", (event) => lift(event, () => tool.up()))
  surface.addEventListener("pointercancel", (event) => lift(event, () => tool.cancel()))
  surface.addEventListener("pointerleave", () => onHover(null))

  surface.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return // a plain wheel scrolls the page
    event.preventDefault()
    view.setViewport(zoomAt(view.viewport, at(event), Math.exp(-event.deltaY * WHEEL_STEP), view.minScale))
  }, { passive: false })
}
