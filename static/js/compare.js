// The page of a generation: a slider shows how much of the photo as it was lies over the result.

for (const figure of document.querySelectorAll("[data-compare]")) {
  const before = figure.querySelector(".before")
  const slider = figure.querySelector("input")
  const show = () => before.style.setProperty("--shown", `${slider.value}%`)
  slider.addEventListener("input", show)
  const images = figure.querySelector(".compare-images")
  const drag = (event) => {
    if (!images.hasPointerCapture(event.pointerId)) return
    const { left, width } = images.getBoundingClientRect()
    slider.value = Math.round((100 * (event.clientX - left)) / width)
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
