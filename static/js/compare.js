// The page of a generation: a slider shows how much of the photo as it was lies over the result.

for (const figure of document.querySelectorAll("[data-compare]")) {
  const before = figure.querySelector(".before")
  const slider = figure.querySelector("input")
  const show = () => before.style.setProperty("--shown", `${slider.value}%`)
  slider.addEventListener("input", show)
  const pictures = figure.querySelector(".compare-pictures")
  const drag = (event) => {
    if (!pictures.hasPointerCapture(event.pointerId)) return
    const { left, width } = pictures.getBoundingClientRect()
    slider.value = Math.round((100 * (event.clientX - left)) / width)
    show()
  }
  pictures.addEventListener("pointerdown", (event) => {
    event.preventDefault() // no native drag of the picture
    pictures.setPointerCapture(event.pointerId)
    drag(event)
  })
  pictures.addEventListener("pointermove", drag)
  show()
}
