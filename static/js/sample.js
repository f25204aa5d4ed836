// The first page for visitors: erase from the sample photo. Only the mask is sent.

import { byId } from "dom"
import { dropzone, guardPage } from "dropzone"
import { canUndo, push, undo } from "editor/document/document"
import { shape, stroke } from "editor/document/operations"
import { Store } from "editor/document/store"
import { remember, remembered } from "editor/form/remembered"
import { keepAndOpen } from "pending_photo"
import { duration } from "format"
import { gettext } from "text"

/** @typedef {import("editor/document/operations").Stroke} Stroke */
/** @typedef {import("editor/document/operations").Shape} Shape */

const $ = /** @type {import("dom").ById<{
  marks: HTMLCanvasElement, form: HTMLFormElement, size: HTMLInputElement, result: HTMLImageElement, "own-photo": HTMLInputElement,
  undo: HTMLButtonElement, erase: HTMLButtonElement, mark: HTMLButtonElement,
}>} */ (byId)
const root = $("sample")
const surface = $("surface")
const context = /** @type {CanvasRenderingContext2D} */ ($("marks").getContext("2d"))
const { width, height } = context.canvas
const ROCKET = [[302, 120], [338, 120], [352, 350], [372, 426], [268, 426], [292, 350]]

const store = new Store()
/** @type {number[][] | null} */
let growing = null // the points of the stroke that is being painted
let erased = 0 // how many operations the result is without
let isBusy = false

const operations = () => /** @type {(Stroke | Shape)[]} */ (store.view.operations)
/** @param {Stroke | Shape} operation */
const add = (operation) => store.update((document) => push(document, { kind: "mask", operation }))
const size = () => Number($("size").value)

// --- painting -----------------------------------------------------------------------------------------------------

/** @param {PointerEvent} event */
function pointOf(event) {
  const box = surface.getBoundingClientRect()
  return [(event.clientX - box.left) * width / box.width, (event.clientY - box.top) * height / box.height, 1]
}

surface.addEventListener("pointerdown", (event) => {
  if (isBusy || event.button !== 0 || !event.isPrimary) return
  surface.setPointerCapture(event.pointerId)
  growing = [pointOf(event)]
  showStatus("")
  draw()
  refresh()
})
surface.addEventListener("pointermove", (event) => {
  moveRing(event)
  if (!growing || !event.isPrimary) return
  const events = event.getCoalescedEvents?.() ?? []
  growing.push(...(events.length ? events : [event]).map(pointOf))
  draw()
})
surface.addEventListener("pointerup", (event) => {
  if (!growing || !event.isPrimary) return
  const points = growing
  growing = null
  add(stroke({ size: size(), points }))
})
surface.addEventListener("pointercancel", () => {
  growing = null
  draw()
  refresh()
})
surface.addEventListener("pointerleave", () => { $("ring").hidden = true })

/** @param {PointerEvent} event */
function moveRing(event) {
  const box = surface.getBoundingClientRect()
  const side = size() * box.width / width
  const ring = $("ring")
  ring.hidden = event.pointerType === "touch" || isBusy
  ring.style.width = ring.style.height = `${side}px`
  ring.style.transform = `translate(${event.clientX - box.left - side / 2}px, ${event.clientY - box.top - side / 2}px)`
}

/** Draws what the result is not yet without. */
function draw() {
  context.clearRect(0, 0, width, height)
  paint(context, "#ff2d46", operations().slice(erased))
  if (growing) paint(context, "#ff2d46", [stroke({ size: size(), points: growing })])
}

/** @param {CanvasRenderingContext2D} target @param {string} colour @param {(Stroke | Shape)[]} painted */
function paint(target, colour, painted) {
  Object.assign(target, { strokeStyle: colour, fillStyle: colour, lineCap: "round", lineJoin: "round" })
  for (const { kind, points, size: lineWidth } of /** @type {Stroke[]} */ (painted)) {
    target.lineWidth = lineWidth
    target.beginPath()
    for (const [x, y] of points) target.lineTo(x, y)
    target.lineTo(.../** @type {[number, number]} */ (/** @type {number[]} */ (points.at(-1)).slice(0, 2))) // a click is a dot
    if (/** @type {string} */ (kind) === "shape") target.fill()
    else target.stroke()
  }
}

store.subscribe(() => {
  if (operations().length < erased) showResult(null)
  draw()
  refresh()
})

function refresh() {
  $("undo").disabled = isBusy || !canUndo(store.document)
  $("erase").disabled = isBusy || operations().length === erased
  $("mark").disabled = isBusy
  $("mark").hidden = erased > 0
  $("hint").toggleAttribute("hidden", Boolean(growing) || operations().length > 0)
}

// --- erasing ------------------------------------------------------------------------------------------------------

/** @returns {Promise<Blob>} */
async function maskFile() {
  const canvas = Object.assign(document.createElement("canvas"), { width, height })
  const mask = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"))
  mask.fillStyle = "white"
  mask.fillRect(0, 0, width, height)
  paint(mask, "black", operations())
  return new Promise((resolve) => { canvas.toBlob(/** @type {BlobCallback} */ (resolve), "image/png") })
}

async function erase() {
  const sent = operations().length
  const started = performance.now()
  work(true)
  try {
    const body = new FormData($("form"))
    body.append("mask", await maskFile(), "mask.png")
    const response = await fetch(/** @type {string} */ (root.dataset.url), { method: "POST", body, credentials: "same-origin" })
    if (!response.ok) throw new Error((await response.json().catch(() => null))?.message ?? gettext("That did not work. Try again in a moment."))
    const file = await response.blob()
    erased = sent
    await showResult(file)
    showStatus(gettext("{done}, nothing else touched", { done: gettext("Removed in {time}", { time: duration((performance.now() - started) / 1000) }) }))
    $("choose").classList.add("primary")
  } catch (error) {
    report(error instanceof TypeError ? gettext("The server cannot be reached. Check the connection and try again.") : /** @type {Error} */ (error).message)
  }
  work(false)
}

/** @param {Blob | null} file */
async function showResult(file) {
  const image = $("result")
  URL.revokeObjectURL(image.src)
  if (!file) erased = 0
  image.hidden = $("before").hidden = !file
  if (!file) return image.removeAttribute("src")
  image.src = URL.createObjectURL(file)
  await image.decode()
  draw()
}

/** @param {boolean} isWorking */
function work(isWorking) {
  isBusy = isWorking
  $("busy").hidden = !isWorking
  if (isWorking) {
    report("")
    showStatus(gettext("Removing…"))
    $("ring").hidden = true
  }
  refresh()
}

/** @param {string} text */
function showStatus(text) {
  $("try-status").hidden = !text
  $("try-status").textContent = text
}

/** @param {string} text */
function report(text) {
  if (text) showStatus("")
  $("problem").hidden = !text
  $("problem").textContent = text
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault()
  erase()
})
$("undo").addEventListener("click", () => store.update(undo))
$("mark").addEventListener("click", () => { add(shape({ shape: "polygon", points: ROCKET })) })
$("before").addEventListener("click", () => {
  const shows = surface.classList.toggle("shows-before")
  $("before").setAttribute("aria-pressed", String(shows))
})
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey) || isBusy) return
  event.preventDefault()
  store.update(undo)
})

// --- a photo of one's own -----------------------------------------------------------------------------------------

/** @param {File[]} files */
const bring = ([file]) => keepAndOpen(file, /** @type {string} */ (root.dataset.signUpUrl))

for (const card of /** @type {NodeListOf<HTMLElement>} */ ($("task-cards").querySelectorAll("[data-task]"))) {
  card.addEventListener("click", () => {
    remember("settings", { ...remembered("settings"), task: card.dataset.task }) // the editor begins with it
    $("own-photo").click()
  })
}
dropzone(root, $("own-photo"), bring)
guardPage(bring)
refresh()
