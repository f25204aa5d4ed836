// The editor page: connects its modules. Rules and drawing live in them; here are only events and the page's state.

import { ApiError, fetchFile, get, post } from "api"
import { dropzone, guardPage } from "dropzone"
import { brush } from "editor/brush"
import { drawPreview, readMaskFile, readPhoto, sortFiles } from "editor/files"
import { History } from "editor/history"
import { listenKeys } from "editor/keyboard"
import { isForPeople, placeOf, say, saying } from "editor/messages"
import { listen } from "editor/pointer"
import { Progress } from "editor/progress"
import { Result } from "editor/result"
import { SettingsForm } from "editor/settings_form"
import { Stage } from "editor/stage"
import { CLEAR, INVERT, brushSize, fileBeneath, maskFile, nextBrushSize } from "editor/strokes"
import { Compare } from "editor/view/compare"
import { follow } from "follow"
import { share } from "format"

const $ = (id) => document.getElementById(id)
const jsonIn = (id) => JSON.parse($(id).textContent)
const root = $("editor")
const ZOOM_STEP = 1.5
const limits = { image: Number(root.dataset.maxImageBytes), mask: Number(root.dataset.maxMaskBytes) }

const history = new History()
const now = { photo: null, photoUrl: "", covered: 0, erases: false, size: 40, isChecking: false, painting: null }

const compare = new Compare({ layer: $("in-place"), before: $("result-source"), after: $("result-image"), divider: $("divider") })
const stage = new Stage(
  { surface: $("surface"), photo: $("photo-canvas"), overlay: $("mask-canvas"), cursor: $("brush-cursor") },
  (viewport, photo) => {
    $("zoom-shown").textContent = `${Math.round(100 * viewport.scale)} %`
    compare.place(viewport, photo)
    if (now.hover) stage.showCursor(now.hover, now.size)
  },
)
const settingsForm = new SettingsForm($("settings"), {
  engines: jsonIn("engines"), adapters: jsonIn("adapters"), plan: jsonIn("plan"), limitBytes: limits.image, onChange: nameTheButton,
})
const progress = new Progress(
  { root: $("progress"), bar: $("progress-bar"), text: $("progress-text"), detail: $("progress-detail"), cancel: $("cancel") },
  cancel,
)
const result = new Result({
  root: $("result"), told: $("result-told"), hold: $("compare"), download: $("download"), downloads: $("downloads"), details: $("details"),
  warnings: $("warnings"), hidden: $("result-hidden"), choices: $("choices"), choiceList: $("choice-list"), before: $("choice-before"), after: $("choice-after"),
  modes: { divider: $("compare-divider"), blink: $("compare-blink"), difference: $("compare-difference") },
  figures: { outside: $("figure-outside"), seam: $("figure-seam"), engine: $("figure-engine"), time: $("figure-time") },
}, compare, (metadata) => settingsForm.nameOf(metadata))

// --- photo and mask -----------------------------------------------------------------------------------------------

async function takeFiles(files) {
  const { photo, mask } = now.photo || files.length > 1 ? sortFiles(files) : { photo: files[0], mask: null }
  if (photo) await takePhoto(photo)
  if (mask && now.photo) await takeMask(mask)
}

async function takePhoto(file) {
  if (now.painting) return
  await saying("photo", async () => {
    const photo = await readPhoto(file, limits.image)
    URL.revokeObjectURL(now.photoUrl)
    now.photo = photo
    now.photoUrl = URL.createObjectURL(file)
    history.forget()
    root.dataset.state = "editing"
    result.hide()
    stage.open(photo)
    rememberInAddress("")
    say("mask", "")
    say("generate", "")
    marksChanged()
  })
}

async function takeMask(file, repaints = null) {
  if (!now.photo) return say("mask", "First a photo, then its mask.")
  if (now.painting) return
  await saying("mask", async () => {
    const mask = await readMaskFile(file, limits.mask, now.photo, repaints)
    edit()
    history.push(maskFile(mask))
    $("mask-about").textContent = aboutMask(mask)
    marksChanged()
    if (mask.flat) say("mask", "Nothing is chosen by this mask. Invert chooses everything.")
  })
}

function aboutMask({ repaints, flat, scaledFrom }) {
  if (flat) return "It has one colour only."
  const scaled = scaledFrom ? ` Scaled from ${scaledFrom.width} × ${scaledFrom.height}.` : ""
  return `Its ${repaints} part is repainted. Wrong way round? Invert.${scaled}`
}

function marksChanged() {
  const { marks } = history
  stage.drawMarks(marks)
  now.covered = now.photo ? stage.coverage() : 0
  const file = fileBeneath(marks)
  $("mask-file").hidden = !file
  $("mask-empty").hidden = Boolean(file)
  if (file) {
    $("mask-name").textContent = $("mask-name").title = file.name
    drawPreview($("mask-preview"), file.picture)
  }
  refresh()
}

// --- tools --------------------------------------------------------------------------------------------------------

const tool = brush({
  settings: () => ({ size: now.size, erases: now.erases }),
  onGrow: (stroke) => stage.drawGrowing(stroke),
  onDone: (stroke) => { mark(stroke) },
  onDrop: () => stage.drawMarks(history.marks),
})

function mark(change) {
  if (!isEditing()) return
  history.push(change)
  say("generate", "")
  say("mask", "")
  marksChanged()
}

const isEditing = () => root.dataset.state === "editing" && !now.painting

function setSize(size) {
  now.size = brushSize(size)
  $("size").value = now.size
  $("size-shown").value = `${now.size} px`
  if (now.hover) stage.showCursor(now.hover, now.size)
}

function setErases(erases) {
  now.erases = erases
  $("brush").setAttribute("aria-pressed", String(!erases))
  $("eraser").setAttribute("aria-pressed", String(erases))
}

const actions = {
  smaller: () => setSize(nextBrushSize(now.size, -1)),
  larger: () => setSize(nextBrushSize(now.size, +1)),
  brush: () => setErases(false),
  eraser: () => setErases(!now.erases),
  invert: () => mark(INVERT),
  clear: () => { if (now.covered > 0) mark(CLEAR) },
  undo: () => { if (isEditing() && history.undo()) marksChanged() },
  redo: () => { if (isEditing() && history.redo()) marksChanged() },
  fit: () => stage.fit(),
  handOn: () => { $("surface").dataset.hand = "true" },
  handOff: () => { $("surface").dataset.hand = String(root.dataset.state === "done") },
  generate: () => $("settings").requestSubmit(),
}

// --- generating ---------------------------------------------------------------------------------------------------

async function generate() {
  if (now.painting || now.isChecking) return
  now.isChecking = true
  await settingsForm.settled()
  now.isChecking = false
  const missing = whatIsMissing() || settingsForm.problem()
  if (missing) return say("generate", missing)
  edit()
  await paint(async () => {
    const form = new FormData()
    form.append("image", now.photo.file, now.photo.name)
    form.append("mask", await stage.exportMask(history.marks), "mask.png")
    for (const [name, value] of Object.entries(settingsForm.values())) form.append(name, value)
    for (const [name, file] of Object.entries(settingsForm.files())) form.append(name, file, file.name)
    const accepted = await post(root.dataset.submitUrl, form, { Prefer: "respond-async" })
    rememberInAddress(accepted.id)
    return accepted
  })
}

/** Runs `begin`, which gives {id, url} of a generation, and follows that to its end. */
async function paint(begin) {
  for (const place of ["photo", "mask", "prompt", "generate"]) say(place, "")
  now.painting = {}
  progress.start()
  refresh()
  try {
    now.painting = await begin()
    progress.show({ status: "queued" })
    const generation = await follow(now.painting, onEvent)
    await finish(generation)
  } catch (error) {
    if (!isForPeople(error)) throw error
    say(placeOf(error.field), error.message)
  } finally {
    now.painting = null
    progress.end()
    stage.hidePreview()
    refresh()
  }
}

function onEvent(event) {
  progress.show(event)
  if (event.preview) stage.showPreview(event.preview).catch(() => {}) // the next one may load
}

async function finish(generation) {
  if (generation.status === "succeeded") {
    root.dataset.state = "done"
    $("surface").dataset.hand = "true"
    await result.show(generation, now.photoUrl, now.photo.name)
    $("result").focus({ preventScroll: true })
  } else if (generation.status === "failed") {
    say("generate", generation.error?.message ?? "The painting failed.")
  } else {
    say("generate", "Cancelled. Your mask is still here.")
  }
}

async function cancel() {
  try {
    await post(`/api/generations/${now.painting.id}/cancel/`)
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    if (error.status !== 409) progress.allowCancel() // 409: it has already ended, which follow() reports
  }
}

function whatIsMissing() {
  if (!now.photo) return "First drop or choose a photo."
  if (now.covered === 0) return "Paint over what should go, or drop a mask."
  return ""
}

/** Back from the result to the mask. */
function edit() {
  if (!now.photo) return
  result.hide()
  root.dataset.state = "editing"
  $("surface").dataset.hand = "false"
  refresh()
}

function back() {
  edit()
  $("surface").focus({ preventScroll: true })
}

/** The main button says what it does: erase, paint what the prompt says, or the same once more. */
function nameTheButton() {
  $("generate").textContent = root.dataset.state === "done" ? "Try again" : settingsForm.paints ? "Paint" : "Erase"
}

async function useResult() {
  const { url, name } = result
  await saying("generate", async () => takePhoto(await fetchFile(url, name)))
}

/** After a reload, or from the history: ?generation=… is shown or followed, ?source=… opens its photo. */
async function openFromAddress() {
  const wanted = new URLSearchParams(location.search)
  const id = wanted.get("generation") ?? wanted.get("source")
  if (!id) return
  await saying("photo", async () => {
    const url = `/api/generations/${encodeURIComponent(id)}/`
    const generation = await get(url)
    await takePhoto(await fetchFile(generation.source, "photo.png"))
    await settingsForm.fill(generation.metadata.requested)
    await settingsForm.takeImages(generation)
    if (!wanted.has("generation")) return
    await takeMask(await fetchFile(generation.mask, "mask.png"), "light") // as the server stores it: white = repaint
    rememberInAddress(id)
    await paint(async () => ({ id, url }))
  })
}

function rememberInAddress(id) {
  window.history.replaceState(null, "", id ? `?generation=${encodeURIComponent(id)}` : location.pathname)
}

// --- the state of the page -------------------------------------------------------------------------------------------

function refresh() {
  const busy = Boolean(now.painting)
  const missing = whatIsMissing()
  root.classList.toggle("busy", busy)
  for (const id of ["brush", "eraser", "size", "invert", "change-photo"]) $(id).disabled = busy || !now.photo
  $("clear").disabled = busy || now.covered === 0
  $("undo").disabled = busy || !history.canUndo
  $("redo").disabled = busy || !history.canRedo
  $("mask-input").disabled = busy || !now.photo
  $("mask-zone").classList.toggle("disabled", busy || !now.photo)
  $("generate").disabled = busy || Boolean(missing)
  $("generate-hint").textContent = busy ? "" : missing
  nameTheButton()
  if (now.photo) {
    const { name, width, height } = now.photo
    $("photo-name").textContent = $("photo-name").title = name
    $("photo-size").textContent = `${width} × ${height}`
    $("photo-covered").classList.toggle("nothing", !now.covered)
    $("photo-covered").textContent = now.covered ? `${share(now.covered)} to repaint` : "nothing to repaint yet"
  }
}

// --- event listeners -----------------------------------------------------------------------------------------------

dropzone(root, $("photo-input"), takeFiles)
$("camera-input").addEventListener("change", ({ target }) => takeFiles([...target.files]))
dropzone($("mask-zone"), $("mask-input"), ([file]) => takeMask(file))
guardPage(takeFiles)
listen($("surface"), {
  view: stage,
  tool,
  onHover(screenPoint) {
    now.hover = screenPoint
    stage.showCursor(screenPoint, now.size)
  },
})
listenKeys(actions)
for (const id of ["brush", "invert", "clear", "undo", "redo", "fit"]) $(id).addEventListener("click", actions[id])
$("eraser").addEventListener("click", () => setErases(true))
$("size").addEventListener("input", (event) => setSize(Number(event.target.value)))
for (const id of ["choose-photo", "change-photo"]) $(id).addEventListener("click", () => $("photo-input").click())
$("take-photo").addEventListener("click", () => $("camera-input").click())
$("zoom-in").addEventListener("click", () => stage.zoomBy(ZOOM_STEP))
$("zoom-out").addEventListener("click", () => stage.zoomBy(1 / ZOOM_STEP))
$("zoom-actual").addEventListener("click", () => stage.zoomBy(1 / stage.viewport.scale))
$("more-close").addEventListener("click", () => {
  $("more").open = false
  $("more").querySelector("summary").focus()
})
$("settings").addEventListener("input", () => say("generate", "")) // the fault may be corrected now
$("settings").addEventListener("submit", (event) => { event.preventDefault(); generate() })
$("edit-mask").addEventListener("click", back)
$("use-result").addEventListener("click", useResult)

setSize(now.size)
setErases(false)
refresh()
root.dataset.ready = "true" // from here on the page reacts; its tests wait for it
openFromAddress()
