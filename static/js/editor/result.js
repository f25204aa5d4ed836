// Source and result beside each other, what is known about the result, and the way on.

import { duration, score, stem } from "format"

export class Result {
  #elements

  /** `elements` is {root, source, image, peek, compare, download, details, warnings, figures: {outside, seam, engine, time}}. */
  constructor(elements) {
    this.#elements = elements
    holdToPeek(elements.compare, elements.root)
  }

  /** Shows a succeeded generation; resolves when its picture is there. */
  async show(generation, sourceUrl, sourceName) {
    const [image] = generation.images
    const { root, source, peek, download, details, figures, warnings } = this.#elements
    this.name = `${stem(sourceName)}-dreamlayer.png`
    this.url = image.url
    source.src = peek.src = sourceUrl
    this.#elements.image.src = image.url
    for (const picture of [source, this.#elements.image]) Object.assign(picture, { width: image.width, height: image.height })
    download.href = image.url
    download.download = this.name
    details.href = details.dataset.url.replace("00000000-0000-0000-0000-000000000000", generation.id)
    figures.outside.textContent = image.outside_mask_changed_pixels ?? "–"
    figures.outside.dataset.good = String(image.outside_mask_changed_pixels === 0)
    figures.seam.textContent = score(image.seam_score)
    figures.engine.textContent = generation.engine
    figures.time.textContent = typeof generation.seconds === "number" ? duration(generation.seconds) : "–"
    warnings.replaceChildren(...(generation.metadata?.warnings ?? []).map(asItem))
    warnings.hidden = !warnings.children.length
    root.hidden = false
    await this.#elements.image.decode().catch(() => {}) // a picture that cannot be loaded shows its alt text
  }

  hide() {
    this.#elements.root.hidden = true
  }
}

/** While the button is held, by pointer or key, the result's place shows the source. */
function holdToPeek(button, root) {
  const peek = (on) => {
    root.classList.toggle("peeking", on)
    button.setAttribute("aria-pressed", String(on))
  }
  button.addEventListener("pointerdown", () => peek(true))
  for (const end of ["pointerup", "pointerleave", "pointercancel", "blur"]) button.addEventListener(end, () => peek(false))
  button.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") peek(true) })
  button.addEventListener("keyup", () => peek(false))
  button.addEventListener("contextmenu", (event) => event.preventDefault()) // a long press on a phone
}

function asItem(warning) {
  const item = document.createElement("li")
  item.textContent = typeof warning === "string" ? warning : warning.message
  return item
}
