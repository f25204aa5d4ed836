// All results of a photo beside each other, around what was repainted: a click, Enter or a digit chooses one.

import { element } from "dom"
import { fill } from "editor/view/thumbnail"
import { score } from "format"
import { KEY_AFTER, KEY_BEFORE, gettext } from "text"

const MARGIN = 0.25 // of the repainted part, that is shown around it
const PREVIEW = 1600 // pixels: the longest side of the server's previews
const GAP = 8 // CSS pixels between cells, as in the style sheet
const CAPTION = 56 // CSS pixels: what a cell has beside its image, and the gap to the next row

/** @typedef {import("editor/flow/result").Choice} Choice */

/** Opens them. `place`: of the one that is shown, from 0; `onChoose(place)` is called with another one.
 *  @param {{choices: Choice[], place: number, inWords: (choice: Choice) => string}} results @param {(place: number) => void} onChoose */
export function openSideBySide({ choices, place: shown, inWords }, onChoose) {
  const cells = choices.map((choice, place) => cell(choice, place, inWords(choice), () => choose(place)))
  const grid = element("div", { className: "beside-grid" }, ...cells)
  const close = element("button", { type: "button", className: "button", textContent: gettext("Close") })
  const title = element("h2", { id: "beside-title", textContent: gettext("All results side by side") })
  const dialog = element("dialog", { className: "sheet beside" }, element("header", { className: "help-head" }, title, close), grid)
  dialog.setAttribute("aria-labelledby", title.id)
  cells[shown].setAttribute("aria-current", "true")
  const ratio = ratioOf(choices[shown])
  let columns = 1
  /** @param {number} place */
  const choose = (place) => {
    dialog.close()
    if (place !== shown) onChoose(place)
  }
  const arrange = () => {
    const cell = largest(choices.length, ratio, { width: grid.clientWidth, height: grid.clientHeight })
    columns = cell.columns
    grid.style.gridTemplateColumns = `repeat(${columns}, ${Math.floor(cell.width)}px)`
  }
  const resized = new ResizeObserver(arrange)
  dialog.addEventListener("keydown", (event) => {
    const steps = { [KEY_BEFORE]: -1, [KEY_AFTER]: 1, ArrowUp: -columns, ArrowDown: columns }
    const digit = Number(event.key) - 1
    if (cells[digit]) choose(digit)
    else if (steps[event.key]) cells[cells.findIndex((one) => one === document.activeElement) + steps[event.key]]?.focus()
    else return
    event.preventDefault()
  })
  close.addEventListener("click", () => dialog.close())
  dialog.addEventListener("close", () => {
    resized.disconnect()
    dialog.remove()
  })
  document.body.append(dialog)
  dialog.showModal()
  resized.observe(grid)
  cells[shown].focus()
}

/** The number of columns whose cells, of this proportion (width by height), are largest, and their width in CSS pixels. Pure.
 *  @param {number} count of cells @param {number} ratio @param {{width: number, height: number}} room in CSS pixels */
export function largest(count, ratio, { width, height }) {
  const all = Array.from({ length: count }, (_, index) => {
    const columns = index + 1
    return { columns, width: Math.min((width - GAP * index) / columns, ratio * (height / Math.ceil(count / columns) - CAPTION)) }
  })
  return all.reduce((best, one) => (one.width > best.width ? one : best))
}

/** @param {Choice} choice @param {number} place @param {string} what was done @param {() => void} onChoose */
function cell(choice, place, what, onChoose) {
  const { image, seed } = choice
  const part = partOf(choice)
  const photo = element("img", { src: sourceOf(choice, part), alt: gettext("Result {number}: {what}", { number: place + 1, what }) })
  fill(photo, image, part)
  const frame = element("span", { className: "beside-image" }, photo)
  frame.style.aspectRatio = String(ratioOf(choice))
  const facts = [image.hidden_by && what, image.score !== null && gettext("Score {score}", { score: score(image.score) }), seed !== null && gettext("Seed {seed}", { seed })]
  const button = element("button", { type: "button", className: "beside-cell", title: what },
    frame, element("b", { textContent: String(place + 1), ariaHidden: "true" }), element("span", { className: "help", textContent: facts.filter(Boolean).join(" · ") }))
  button.addEventListener("click", onChoose)
  return button
}

/** The part of the result that is shown: what was repainted, with a margin; all of it where that is not known.
 *  @param {Choice} choice @returns {number[]} */
function partOf({ image: { width, height }, window }) {
  if (!window) return [0, 0, width, height]
  const [left, top, right, bottom] = window
  const [across, down] = [MARGIN * (right - left), MARGIN * (bottom - top)]
  return [Math.max(0, left - across), Math.max(0, top - down), Math.min(width, right + across), Math.min(height, bottom + down)]
}

/** @param {Choice} choice */
function ratioOf(choice) {
  const [left, top, right, bottom] = partOf(choice)
  return (right - left) / (bottom - top)
}

/** The preview, unless that would be enlarged. @param {Choice} choice @param {number[]} part that is shown of it */
function sourceOf({ image: { url, width, height } }, [left, , right]) {
  const scale = Math.min(1, PREVIEW / Math.max(width, height))
  return scale * (right - left) >= innerWidth / 2 || scale === 1 ? `${url}preview/` : url
}
