// The ring at the pointer: the brush in its true size.

/** @param {HTMLElement} ring @param {{left: number, top: number} | null} point on the stage; null hides the ring
 *  @param {number} diameter in CSS pixels */
export function showRing(ring, point, diameter) {
  ring.hidden = !point
  if (!point) return
  const shown = Math.max(3, diameter)
  ring.style.width = ring.style.height = `${shown}px`
  ring.style.transform = `translate(${point.left - shown / 2}px, ${point.top - shown / 2}px)`
}
