// The result view: source and result side by side, the results to choose from, figures, download.

import { duration, score, stem } from "format"

const CHOICE_SIDE = 76 // the same as in the style sheet

export class Result {
  #elements
  #nameOf

  /**
   * `elements` is {root, source, image, peek, compare, download, details, warnings, hidden, choices,
   * figures: {outside, seam, engine, time}}; `nameOf(metadata)` gives the names of engine and model.
   */
  constructor(elements, nameOf) {
    this.#elements = elements
    this.#nameOf = nameOf
    holdToPeek(elements.compare, elements.root)
  }

  /** Shows a succeeded generation, its first result in full; resolves when that picture is there. */
  async show(generation, sourceUrl, sourceName) {
    const { images } = generation
    const { root, source, image, peek, details, figures, warnings, choices } = this.#elements
    source.src = peek.src = sourceUrl
    for (const picture of [source, image]) Object.assign(picture, { width: images[0].width, height: images[0].height })
    const names = images.map((_, index) => `${stem(sourceName)}-dreamlayer${images.length > 1 ? `-${index + 1}` : ""}.${extension(images[index])}`)
    const chosen = (index) => this.#choose(images[index], names[index])
    const offered = (picture, index) =>
      offer(picture, { index, name: names[index], box: generation.metadata.results[index]?.window, onChoose: () => chosen(index) })
    choices.hidden = images.length < 2
    choices.replaceChildren(choices.querySelector("legend"), ...(choices.hidden ? [] : images.map(offered)))
    details.href = details.dataset.url.replace("00000000-0000-0000-0000-000000000000", generation.id)
    figures.engine.textContent = this.#nameOf(generation.metadata)
    figures.time.textContent = typeof generation.seconds === "number" ? duration(generation.seconds) : "–"
    warnings.replaceChildren(...(generation.metadata?.warnings ?? []).map(asItem))
    warnings.hidden = !warnings.children.length
    chosen(0)
    root.hidden = false
    await image.decode().catch(() => {}) // a picture that cannot be loaded shows its alt text
  }

  /** The result that is shown large, downloaded and used as the next source. */
  #choose(image, name) {
    const { download, figures, hidden } = this.#elements
    this.url = image.copy ? `${image.url}?format=png` : image.url // the lossless one
    this.name = `${stem(name)}.png`
    this.#elements.image.src = image.url
    download.href = image.url
    download.download = name
    hidden.hidden = !image.hidden_by
    figures.outside.textContent = image.outside_mask_changed_pixels ?? "–"
    figures.outside.dataset.good = String(image.outside_mask_changed_pixels === 0)
    figures.seam.textContent = score(image.seam_score)
  }

  hide() {
    this.#elements.root.hidden = true
  }
}

/** The file name extension of a result. */
function extension({ copy }) {
  return !copy ? "png" : copy.format === "jpeg" ? "jpg" : copy.format
}

/** A thumbnail as a radio button, with a download link of its own. */
function offer(picture, { index, name, box, onChoose }) {
  const { url } = picture
  const item = document.createElement("div")
  item.className = "choice"
  const label = document.createElement("label")
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "result", className: "visually-hidden", checked: index === 0 })
  radio.addEventListener("change", onChoose)
  const thumbnail = Object.assign(document.createElement("img"), { src: `${url}thumbnail/`, alt: `Result ${index + 1}` })
  if (box) zoom(thumbnail, picture, box)
  const place = document.createElement("span")
  place.append(thumbnail)
  label.append(radio, place)
  const download = Object.assign(document.createElement("a"), { href: url, download: name, className: "link", textContent: "Download" })
  download.setAttribute("aria-label", `Download result ${index + 1}`)
  item.append(label, download)
  return item
}

/** Zooms a thumbnail to the square around the repainted window: elsewhere the results are equal. */
function zoom(thumbnail, { width, height }, [left, top, right, bottom]) {
  const side = Math.min(Math.max(right - left, bottom - top), width, height)
  const scale = CHOICE_SIDE / side
  const start = (from, to, whole) => Math.min(Math.max((from + to - side) / 2, 0), whole - side)
  Object.assign(thumbnail.style, {
    width: `${width * scale}px`,
    height: `${height * scale}px`,
    translate: `${-start(left, right, width) * scale}px ${-start(top, bottom, height) * scale}px`,
  })
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
