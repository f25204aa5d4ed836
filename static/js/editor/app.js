// The editor page: connects its modules. Rules and drawing live in them; here are only events and the page's state.

import { fetchFile, get } from "api"
import { isBatch, sorted } from "batch/pairs"
import { dropzone, guardPage } from "dropzone"
import { openFromAddress, opensAnother, rememberInAddress } from "editor/address"
import { BatchMask } from "editor/batch_mask"
import { keptImage, push, withState } from "editor/core/document"
import { get as getPicture, put } from "editor/core/pictures"
import { Store } from "editor/core/store"
import { Downloads } from "editor/downloads"
import { Draft, inWords } from "editor/draft/draft"
import { Refused, decode, readPhoto, sortFiles } from "editor/files"
import { Hints } from "editor/hints"
import { Commands } from "editor/input/commands"
import { listen } from "editor/input/pointer"
import { zoomCommands } from "editor/input/zoom"
import { MaskFile } from "editor/mask_file"
import { isForPeople, placeOf, say, saying } from "editor/messages"
import { Presets } from "editor/presets"
import { Progress } from "editor/progress"
import { remember, remembered } from "editor/remembered"
import { Result } from "editor/result"
import { Seed } from "editor/seed"
import { SettingsForm } from "editor/settings_form"
import { fieldsOf, isEmpty } from "editor/tools/frame_geometry"
import { ToolPanel } from "editor/tools/panel"
import { Toolbox } from "editor/tools/toolbox"
import { Strip } from "editor/tree/strip"
import { Compare } from "editor/view/compare"
import { Hole } from "editor/view/hole"
import { MaskView } from "editor/view/mask_view"
import { share } from "format"
import { Job, isUnanswered } from "job/job"
import { isComplete, requestOf } from "job/request"
import { account } from "session"
import { take } from "waiting_photo"

const $ = (id) => document.getElementById(id)
const jsonIn = (id) => JSON.parse($(id).textContent)
const root = $("editor")
const CANCELLED = "Cancelled. Your mask is still here."
const MODES = ["overlay", "outline", "alone"] // view/overlay.js
const EDITING = { generation: null, image: 0, step: "editing" }
const limits = { image: Number(root.dataset.maxImageBytes), mask: Number(root.dataset.maxMaskBytes) }

const store = new Store()
const now = { photo: null, photoUrl: "", isChecking: false, mode: MODES[0], told: "", keepsAtOnce: false, resumed: null, isBroken: false }
let draft = null

const compare = new Compare({ layer: $("in-place"), before: $("result-source"), after: $("result-image"), divider: $("divider") })
const mask = new MaskView({ surface: $("surface"), photo: $("photo-canvas"), overlay: $("mask-canvas") }, {
  onView(viewport, photo) {
    $("zoom-shown").textContent = `${Math.round(100 * viewport.scale)} %`
    compare.place(viewport, photo, store.view.frame)
    hole.place()
    toolbox.redraw()
  },
  onDrawn() {
    refresh()
    hints.look()
  },
  onError() {
    now.isBroken = true
    refresh()
  },
})
const hole = new Hole({ bar: $("hole-bar"), light: $("light"), zoom: $("zoom"), editor: root }, mask)
const hints = new Hints(mask, refresh)
const maskPanel = new MaskFile(
  { file: $("mask-file"), empty: $("mask-empty"), name: $("mask-name"), about: $("mask-about"), preview: $("mask-preview") }, mask, limits.mask,
)
const settingsForm = new SettingsForm($("settings"), {
  engines: jsonIn("engines"), adapters: jsonIn("adapters"), plan: jsonIn("plan"), limitBytes: limits.image, onChange: formChanged,
})
const seed = new Seed({ field: $("seed"), lock: $("seed-lock"), dice: $("seed-dice") })
new Presets({ list: $("presets"), name: $("preset-name"), save: $("preset-save") }, {
  current: () => settingsForm.reusable,
  onChoose: (settings) => settingsForm.reuse(settings),
})
const downloads = new Downloads({
  formats: document.querySelectorAll("[data-format]"), embed: $("embed-settings"), list: $("downloads"), curl: $("copy-curl"),
})
const progress = new Progress(
  { root: $("progress"), bar: $("progress-bar"), text: $("progress-text"), detail: $("progress-detail"), cancel: $("cancel") },
  async () => { if (!(await job.cancel())) progress.allowCancel() },
)
const job = new Job(root.dataset.submitUrl, {
  onChange: refresh,
  onSent: (sent) => progress.sent(sent),
  onEvent,
  onAccepted({ id }) {
    rememberInAddress(id)
    progress.show({ status: "queued" })
    if (store.document.generation !== id) store.update((document) => withState(document, { generation: id, image: 0, step: "painting", request: null }))
  },
})
const result = new Result({
  root: $("result"), told: $("result-told"), hold: $("compare"), download: $("download"), details: $("details"),
  warnings: $("warnings"), hidden: $("result-hidden"),
  choices: $("choices"), choiceList: $("choice-list"), before: $("choice-before"), after: $("choice-after"),
  modes: { divider: $("compare-divider"), blink: $("compare-blink"), difference: $("compare-difference") },
  figures: { outside: $("figure-outside"), seam: $("figure-seam"), engine: $("figure-engine"), time: $("figure-time") },
}, { compare, downloads, nameOf: (metadata) => settingsForm.nameOf(metadata), onChoose: (image) => store.update((document) => withState(document, { image })) })
const batch = new BatchMask({ bar: $("batch-bar"), use: $("batch-use"), url: root.dataset.batchesUrl }, {
  settings: () => settingsForm.values(),
  async painted() {
    await mask.drawn()
    return now.photo && mask.coverage() > 0 ? mask.png() : null
  },
})
const strip = new Strip($("strip"), { onOpen: openStep, imageOf: (id) => keptImage(store.document, id) })

// --- photo and mask -----------------------------------------------------------------------------------------------

async function takeFiles(files) {
  if (store.document.step === "result") await now.resumed // the draft's result may just be opening
  if (job.isRunning) return say("photo", "Something is being painted. Wait for it, or cancel it.")
  if (isBatch(files)) return batch.leave(sorted(files))
  const { photo, mask } = now.photo || files.length > 1 ? sortFiles(files) : { photo: files[0], mask: null }
  if (photo) await takePhoto(photo)
  if (mask && now.photo) await takeMask(mask)
}

/** Opens a photo, or with `parent` the result of that generation, which is then painted on. */
async function takePhoto(file, { parent = null, image = 0, isStep = false } = {}) {
  if (job.isRunning) return
  await saying("photo", async () => {
    const photo = await readPhoto(file, limits.image)
    const id = await put(file)
    openPhoto({ ...photo, id }, { parent, isStep })
    const { name, width, height } = photo
    store.update((document) => push(withState(document, EDITING), { kind: "photo", photo: { id, name, width, height }, parent, image }))
    if (parent) strip.current = parent // with the result that was kept
  })
}

/** `parent`: the generation whose result it is; `isStep`: the same photo at another step of the strip. */
function openPhoto(photo, { parent, isStep = false }) {
  URL.revokeObjectURL(now.photoUrl)
  now.photo = photo
  now.photoUrl = URL.createObjectURL(photo.file)
  root.dataset.state = "editing"
  $("surface").dataset.hand = "false"
  mask.open(photo.bitmap, photo, { keepView: isStep })
  result.hide()
  showStep(photo, parent, isStep)
  rememberInAddress("")
  say("mask", "")
  say("generate", "")
}

function closePhoto() {
  URL.revokeObjectURL(now.photoUrl)
  now.photo = null
  root.dataset.state = "empty"
  result.hide()
  refresh()
}

/** Marks in the strip the step that is painted on; a photo that is not known there begins a new strip. */
function showStep(photo, parent, isStep) {
  if (!isStep) strip.begin(photo.file, photo.id)
  else if (!parent) strip.picture = photo.id
  strip.current = parent
  if (parent && !strip.has(parent)) saying("generate", () => strip.load(parent))
}

async function takeMask(file, known = null) {
  if (!now.photo) return say("mask", "First a photo, then its mask.")
  if (job.isRunning) return
  await saying("mask", async () => {
    const { operation, flat } = await maskPanel.read(file, known)
    edit()
    store.update((document) => push(document, { kind: "mask", operation }))
    await mask.drawn()
    if (flat) say("mask", "Nothing is chosen by this mask. Invert chooses everything.")
  })
}

/** Shows what is in effect: another photo, or another mask. */
async function showDocument() {
  const { photo, parent, operations } = store.view
  if (!photo) return closePhoto()
  if (photo.id !== now.photo?.id) {
    const file = await getPicture(photo.id)
    if (!file) throw new Refused(`“${photo.name}” is on another device and was not saved on the server yet.`)
    const bitmap = await decode(file)
    if (store.view.photo?.id !== photo.id) return bitmap.close() // undone again meanwhile
    openPhoto({ ...photo, file, bitmap }, { parent, isStep: strip.has(parent, photo.id) })
  }
  mask.show(store.view.operations)
  if (now.photo) compare.place(mask.viewport, now.photo, store.view.frame)
  refresh()
  await maskPanel.show(operations, now.photo)
}

// --- tools --------------------------------------------------------------------------------------------------------

const isDone = () => root.dataset.state === "done" && !job.isRunning
const isEditing = () => root.dataset.state === "editing" && !job.isRunning

const toolbox = new Toolbox({
  surface: $("surface"), store, mask, url: $("tool-options").dataset.masksUrl, words: $("tool-options").dataset.words, isEditing, say: (text) => toolPanel.say(text),
})
const toolPanel = new ToolPanel(toolbox)
const commands = new Commands({ surface: $("surface") })
const hold = (isHeld) => { $("surface").dataset.hand = String(isHeld || root.dataset.state === "done") }

commands.connect({
  ...toolbox.commands,
  ...zoomCommands(mask, () => Boolean(now.photo)),
  hand: { run: () => hold(true), end: () => hold(false) },
  overlay: { run: () => { mask.mode = now.mode = MODES[(MODES.indexOf(now.mode) + 1) % MODES.length] }, isEnabled: isEditing },
  open: { run: () => $("photo-input").click(), isEnabled: () => !job.isRunning },
  generate: () => $("settings").requestSubmit(),
  back: { run: back, isEnabled: isDone },
  keep: { run: useResult, isEnabled: isDone },
  "result-before": { run: () => result.flip(-1), isEnabled: isDone },
  "result-after": { run: () => result.flip(+1), isEnabled: isDone },
})
toolbox.subscribe(() => {
  commands.refresh()
  showFrame()
})

function showFrame() {
  const { frame } = store.view
  mask.showFrame(toolbox.tool.name === "frame" || !isEmpty(frame) ? frame : null)
}

// --- generating ---------------------------------------------------------------------------------------------------

async function generate({ keepsAtOnce = false } = {}) {
  if (job.isRunning || now.isChecking) return
  now.keepsAtOnce = keepsAtOnce
  now.isChecking = true
  await Promise.all([settingsForm.settled(), mask.drawn()])
  now.isChecking = false
  const missing = whatIsMissing() || settingsForm.problem()
  if (missing) return say("generate", missing)
  edit()
  remember("settings", settingsForm.reusable)
  await paint(async () => {
    const request = await requestOf(...(await whatToSend()), store.document.request)
    store.update((document) => withState(document, { generation: null, step: "painting", request }))
    await draft?.kept() // so that a reload sends the same request
    return job.send(request)
  })
}

/** The fields and the files of the request. */
async function whatToSend() {
  const painted = mask.coverage() > 0 ? new File([await mask.png()], "mask.png") : null
  const parent = store.view.parent
  return [
    { ...(parent && { parent }), ...fieldsOf(store.view.frame), ...settingsForm.values() },
    { image: new File([now.photo.file], now.photo.name), ...(painted && { mask: painted }), ...settingsForm.files() },
  ]
}

/** Runs `begin`, which gives {id, url} of a generation, and follows that to its end. */
async function paint(begin) {
  for (const place of ["photo", "mask", "prompt", "generate"]) say(place, "")
  progress.start()
  hole.shine(now.photo, store.view.frame)
  try {
    await finish(await job.run(begin))
  } catch (error) {
    if (!isForPeople(error)) throw error
    if (error.status === 404 || !store.document.generation) notAccepted(error)
    if (job.isAborted) say("generate", CANCELLED)
    else say(placeOf(error.field), error.message)
  } finally {
    job.end()
    progress.end()
    hole.dim()
    mask.hidePreview()
    if (root.dataset.state === "done") shown()
  }
}

/** Back to editing. The request is kept while it may have been accepted: sent again, it is painted once. */
function notAccepted(error) {
  const request = isUnanswered(error) && !job.isAborted ? store.document.request : null
  store.update((document) => withState(document, { ...EDITING, request }))
}

/** A result is there: it is kept at once where the next stroke is to begin on it. */
function shown() {
  if (!now.keepsAtOnce || !$("choices").hidden) return $("result").focus({ preventScroll: true })
  now.told = $("result-told").textContent
  useResult()
}

function onEvent(event) {
  progress.show(event)
  if (event.preview) mask.showPreview(onPhoto(event.preview)).then(() => hole.soften(), () => {}) // the next one may load
}

/** A preview with its box on the photo in place of the canvas of an outpainting. */
function onPhoto({ url, box: [left, top, right, bottom] }) {
  const { frame } = store.view
  return { url, box: [left - frame.left, top - frame.top, right - frame.left, bottom - frame.top] }
}

async function finish(generation) {
  const { image, generation: id } = store.document
  const isShown = generation.status === "succeeded"
  const state = isShown ? { generation: generation.id, image: id === generation.id ? image : 0, step: "result" } : EDITING
  store.update((document) => withState(document, state))
  if (isShown) {
    seed.used(generation.metadata.seed)
    await result.show(generation, state.image, now.photoUrl, now.photo.name)
    root.dataset.state = "done"
    $("surface").dataset.hand = "true"
    strip.add(generation)
    strip.current = generation.id
  } else if (generation.status === "failed") {
    say("generate", generation.error?.message ?? "The painting failed.")
  } else {
    say("generate", CANCELLED)
  }
}

function whatIsMissing() {
  if (now.isBroken) return "The mask cannot be drawn. Reload the page; your work is kept."
  if (!now.photo) return "First drop or choose a photo."
  if (mask.coverage() === 0 && isEmpty(store.view.frame)) return now.told ? `${now.told}.` : "Brush over what should go, or drop a mask."
  return ""
}

/** Whether something has just been drawn: not by redo, and not erased from the mask. */
function isNewShape({ entries, cursor }, before) {
  const last = entries[cursor - 1]
  return last?.kind === "mask" && last !== before.entries.at(-1) && Boolean(last.operation.points) && !last.operation.erases
}

/** Back from the result to the mask. */
function edit() {
  if (!now.photo) return
  result.hide()
  root.dataset.state = "editing"
  $("surface").dataset.hand = "false"
  strip.current = store.view.parent
  if (store.document.step !== "editing") store.update((document) => withState(document, EDITING))
  refresh()
}

function back() {
  edit()
  $("surface").focus({ preventScroll: true })
}

/** Keeps what is entered in the document. */
function formChanged() {
  nameTheButton()
  seed.refresh()
  const settings = settingsForm.entered()
  if (JSON.stringify(settings) !== JSON.stringify(store.document.settings)) store.update((document) => withState(document, { settings }))
}

/** The main button says what it does: erase, or paint what the prompt says. */
function nameTheButton() {
  $("generate").textContent = settingsForm.paints ? "Paint" : "Erase"
}

/** Goes on from the result that is shown. */
async function useResult() {
  await openStep({ id: strip.current, url: result.url, name: result.name, image: store.document.image })
}

/** Returns to a step, whose result is painted on from there; the photo has no id. */
async function openStep({ id, file, url, name = now.photo.name, image = keptImage(store.document, id) }) {
  if (job.isRunning) return
  await saying("generate", async () => takePhoto(file ?? (await fetchFile(url, name)), { parent: id, image, isStep: true }))
  $("surface").focus({ preventScroll: true })
}

/** Opens the photo of a generation, or with `isFollowed` the generation itself, with its settings and its mask. */
async function openGeneration(id, { isFollowed }) {
  await saying("photo", async () => {
    const url = `/api/generations/${encodeURIComponent(id)}/`
    const generation = await get(url)
    await takePhoto(await fetchFile(generation.source, generation.source_name || "photo.png"), { parent: generation.parent })
    await strip.load(id)
    await settingsForm.fill(generation.metadata.requested)
    await settingsForm.takeImages(generation)
    await takeMask(await fetchFile(generation.mask, "mask.png"), "light") // as the server stores it: white = repaint
    if (!isFollowed) return
    rememberInAddress(id)
    await paint(async () => ({ id, url }))
  })
}

/** The settings of last time, and a photo that was chosen on the first page before the person signed up. */
async function openNew() {
  const last = remembered("settings")
  if (last && !Object.keys(store.document.settings).length) await settingsForm.reuse(last)
  const waiting = await take()
  if (waiting) await takePhoto(waiting)
}

// --- the draft ------------------------------------------------------------------------------------------------------

const openDraft = () => Draft.open({
  account,
  store,
  onState: showSaved,
  onAdopt: (document) => { now.resumed = saying("generate", () => resume(document)) },
  onOtherDevice: () => say("photo", "This draft was changed on another device too. Undo leads to those changes."),
})

/** Fills the form; sends the request that was not answered, or follows or shows the generation that was painted or shown. */
async function resume({ settings, generation, step, request }) {
  if (Object.keys(settings).length) await settingsForm.fill(settings)
  await now.shown
  if (job.isRunning || !now.photo) return
  if (opensAnother(store.document.generation)) return edit()
  if (step === "painting" && !generation && request && await isComplete(request)) return paint(() => job.send(request))
  if (!generation || step === "editing") return edit()
  await strip.load(generation).catch(() => {}) // it may be deleted
  rememberInAddress(generation)
  await paint(async () => ({ id: generation, url: `/api/generations/${encodeURIComponent(generation)}/` }))
}

function showSaved(state) {
  $("saved").dataset.state = state.name
  $("saved").textContent = inWords(state)
  $("saved").title = state.message
}

// --- the state of the page -------------------------------------------------------------------------------------------

function refresh() {
  const busy = job.isRunning
  const missing = whatIsMissing()
  if (mask.coverage() > 0) now.told = ""
  root.classList.toggle("busy", busy)
  hole.place()
  toolbox.refresh() // and with it the state of the commands
  $("change-photo").disabled = busy || !now.photo
  $("mask-input").disabled = busy || !now.photo
  $("mask-zone").classList.toggle("disabled", busy || !now.photo)
  $("generate").disabled = busy || Boolean(missing)
  $("generate-hint").textContent = busy ? "" : missing || hints.text() || (settingsForm.readsPrompts ? "" : "Brush on, or press Erase.")
  nameTheButton()
  if (now.photo) {
    const { name, width, height } = now.photo
    $("photo-name").textContent = $("photo-name").title = name
    $("photo-size").textContent = `${width} × ${height}`
    const covered = mask.coverage()
    $("photo-covered").classList.toggle("nothing", !covered)
    $("photo-covered").textContent = covered ? `${share(covered)} to repaint` : "nothing to repaint yet"
  }
}

// --- event listeners -----------------------------------------------------------------------------------------------

let inEffect = store.view
store.subscribe((after, before) => {
  if (store.view === inEffect) return
  inEffect = store.view
  if ($("release-erases").checked && isNewShape(after, before)) generate({ keepsAtOnce: true })
  say("generate", "")
  say("mask", "")
  now.shown = saying("photo", showDocument)
})
new ResizeObserver(() => root.style.setProperty("--dock-now", `${$("settings").offsetHeight}px`)).observe($("settings"))
dropzone(root, $("photo-input"), takeFiles)
$("camera-input").addEventListener("change", ({ target }) => takeFiles([...target.files]))
dropzone($("mask-zone"), $("mask-input"), ([file]) => takeMask(file))
guardPage(takeFiles)
listen($("surface"), { view: mask, tool: toolbox, onHover: (screenPoint, point) => toolbox.hover(screenPoint, point) })
for (const id of ["choose-photo", "change-photo"]) $(id).addEventListener("click", () => $("photo-input").click())
$("take-photo").addEventListener("click", () => $("camera-input").click())
$("more-close").addEventListener("click", () => {
  $("more").open = false
  $("more").querySelector("summary").focus()
})
$("settings").addEventListener("input", () => say("generate", "")) // the fault may be corrected now
$("settings").addEventListener("submit", (event) => { event.preventDefault(); generate() })
$("edit-mask").addEventListener("click", back)
$("release-erases").addEventListener("change", ({ target }) => remember("release-erases", target.checked))
$("use-result").addEventListener("click", useResult)

$("release-erases").checked = remembered("release-erases", false)
refresh()
if (account) draft = await openDraft()
root.dataset.ready = "true" // from here on the page reacts; its tests wait for it
openFromAddress({
  resumed: now.resumed, // else the draft's settings may arrive after those that are wanted
  known: () => store.document.generation, // the draft has it, with more than the server knows
  openGeneration, openNew,
  openSample: () => saying("photo", async () => takePhoto(await fetchFile(root.dataset.sampleUrl, "rocket.jpg"))),
  openBatch: () => batch.open(takePhoto),
})
