// The pages of a generation and of a shared image: a slider shows how much of the photo as it was lies over the result.

for (const figure of document.querySelectorAll("[data-compare]")) {
  const slider = /** @type {HTMLInputElement} */ (figure.querySelector("input"))
  const images = /** @type {HTMLElement} */ (figure.querySelector(".compare-images"))
  const show = () => {
    images.style.setProperty("--shown", `${slider.value}%`)
    images.toggleAttribute("data-divided", slider.value !== "0")
  }
  slider.addEventListener("input", show)
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
