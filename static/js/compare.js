// The page of a generation: a slider shows how much of the photo as it was lies over the result.

for (const figure of document.querySelectorAll("[data-compare]")) {
  const before = /** @type {HTMLElement} */ (figure.querySelector(".before"))
  const slider = /** @type {HTMLInputElement} */ (figure.querySelector("input"))
  const show = () => before.style.setProperty("--shown", `${slider.value}%`)
  slider.addEventListener("input", show)
  const images = /** @type {HTMLElement} */ (figure.querySelector(".compare-images"))
  /** @param {PointerEvent} event */
  const drag = (event) => {
    if (!images.hasPointerCapture(event.pointerId)) return
    const { left, width } = images.getBoundingClientRect()
    slider.value = String(Math.round((100 * (event.clientX - left)) / width))
    show()
  }
  images.addEventListener("pointerdown", (event) => {
    event.preventDefault() // no native drag of the image
    images.setPointerCapture(event.pointerId)
    drag(event)
  })
  images.addEventListener("pointermove", drag)
  show()
}
