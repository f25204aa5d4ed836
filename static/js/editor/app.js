// The editor page: creates its parts, connects them to each other and to the elements of the page. Rules are in the parts.

import { byId, element } from "dom"
import { fetchFile } from "api"
import { dropzone, guardPage } from "dropzone"
import { openFromAddress } from "editor/flow/address"
import { BatchMask } from "editor/flow/batch_mask"
import { keptImage, withState, withoutLeft } from "editor/document/document"
import { Store } from "editor/document/store"
import { Describe } from "editor/form/describe"
import { Downloads } from "editor/flow/downloads"
import { Draft, inWords } from "editor/document/draft"
import { photoLimits } from "editor/document/files"
import { Hints } from "editor/flow/hints"
import { Commands } from "editor/input/commands"
import { listen } from "editor/input/pointer"
import { zoomCommands } from "editor/input/zoom"
import { Notices } from "editor/flow/notices"
import { MaskFile } from "editor/flow/mask_file"
import { reportErrors, showMessage } from "editor/form/messages"
import { Opening } from "editor/flow/opening"
import { Painting } from "editor/flow/painting"
import { Photos } from "editor/flow/photos"
import { Presets } from "editor/form/presets"
import { PromptHistory } from "editor/form/prompt_history"
import { Progress } from "editor/flow/progress"
import { Queue } from "editor/flow/queue"
import { remember, remembered } from "editor/form/remembered"
import { Result } from "editor/flow/result"
import { Detail } from "editor/form/detail"
import { Scale } from "editor/form/scale"
import { Seed } from "editor/form/seed"
import { SettingsForm } from "editor/form/settings_form"
import { Strength } from "editor/form/strength"
import { Steps } from "editor/flow/steps"
import { Tasks } from "editor/form/tasks"
import { inWords as framedInWords, isEmpty, sizeOf } from "editor/tools/frame_geometry"
import { ToolPanel } from "editor/tools/panel"
import { Toolbox } from "editor/tools/toolbox"
import { Filmstrip } from "editor/flow/filmstrip"
import { Compare } from "editor/view/compare"
import { Hole } from "editor/view/hole"
import { RegionLayers } from "editor/view/region_layers"
import { WindowOutline, marked } from "editor/view/window_outline"
import { MaskView } from "editor/view/mask_view"
import { MODES } from "editor/view/overlay"
import { small, touch } from "editor/view/screen"
import { percent, share } from "format"
import { Job } from "job/job"
import { account } from "session"
import { gettext } from "text"

const $ = /** @type {import("dom").ById<{
  "in-place": HTMLElement, "result-source": HTMLImageElement, "result-image": HTMLImageElement, "photo-canvas": HTMLCanvasElement,
  "mask-canvas": HTMLCanvasElement, "mask-preview": HTMLCanvasElement, settings: import("editor/form/settings_form").Form,
  seed: HTMLInputElement, strength: HTMLInputElement, "hole-strength-slider": HTMLInputElement, "seed-lock": HTMLButtonElement, "seed-dice": HTMLButtonElement, "preset-name": HTMLInputElement,
  "embed-settings": HTMLInputElement, credentials: HTMLInputElement, "progress-bar": HTMLProgressElement, cancel: HTMLButtonElement, leave: HTMLButtonElement, scale: HTMLSelectElement, detail: HTMLInputElement, "detail-strength": HTMLInputElement, "detail-strength-shown": HTMLOutputElement, "detail-model": HTMLSelectElement, notices: HTMLInputElement, "queue-clear": HTMLButtonElement, download: HTMLAnchorElement,
  details: HTMLAnchorElement, "choice-before": HTMLButtonElement, "choice-after": HTMLButtonElement, "compare-divider": HTMLButtonElement,
  "compare-blink": HTMLButtonElement, "compare-difference": HTMLButtonElement, describe: HTMLButtonElement, "batch-use": HTMLButtonElement, "batch-back": HTMLAnchorElement, "copy-curl": HTMLButtonElement, "copy-image": HTMLButtonElement, "share-image": HTMLButtonElement,
  prompt: HTMLTextAreaElement, "steps-done": HTMLButtonElement, "steps-back": HTMLButtonElement, "steps-show": HTMLButtonElement, "steps-download": HTMLAnchorElement, "steps-share": HTMLButtonElement,
  "step-template": HTMLTemplateElement, "photo-input": HTMLInputElement, "camera-input": HTMLInputElement, "mask-input": HTMLInputElement,
  "change-photo": HTMLButtonElement, generate: HTMLButtonElement, more: HTMLDetailsElement, "release-erases": HTMLInputElement,
  "insert-tool": HTMLButtonElement,
}>} */ (byId)
/** @param {string} id */
const jsonIn = (id) => JSON.parse(/** @type {string} */ ($(id).textContent))
const root = $("editor")
const constants = jsonIn("constants")
const limits = { photo: photoLimits(root), maskBytes: Number(root.dataset.maxMaskBytes) }

// --- the parts ----------------------------------------------------------------------------------------------------

const store = new Store()
/** @type {Draft | null} */
let draft = null

const compare = new Compare({ layer: $("in-place"), before: $("result-source"), after: $("result-image"), divider: $("divider") }, () => hole.middle)
const mask = new MaskView({ surface: $("surface"), photo: $("photo-canvas"), overlay: $("mask-canvas") }, {
  onView(viewport, photo) {
    $("zoom-shown").textContent = percent(viewport.scale)
    compare.place(viewport, photo, store.view.frame)
    hole.place()
    windowOutline.place()
    regionLayers.place()
    toolbox.redraw()
  },
  onDrawn() {
    if (mask.coverage() > 0) painting.keptSummary = ""
    refresh()
    hints.check()
    maskChanged()
  },
  onError: refresh,
})
const hole = new Hole({ bar: $("hole-bar"), shimmer: $("shimmer"), zoom: $("zoom"), dock: $("settings"), editor: root }, mask)
const regionLayers = new RegionLayers($("region-layers"), mask)
const windowOutline = new WindowOutline($("window-outline"), mask)
const hints = new Hints(mask, refresh)
const maskFile = new MaskFile(
  { file: $("mask-file"), empty: $("mask-empty"), name: $("mask-name"), about: $("mask-about"), preview: $("mask-preview") }, mask, limits.maskBytes,
)
const detail = new Detail({ box: $("detail"), row: $("detail-row"), strength: $("detail-strength"), shown: $("detail-strength-shown"), model: $("detail-model"), part: $("detail-part") }, () => tasks.refresh())
const tasks = new Tasks({ list: $("tasks"), form: $("settings"), canReplace: "canReplace" in $("settings").dataset, detail }, {
  onChange: (task) => toolOfTask(task),
  onChoose(task) {
    formChanged()
    if (task === "replace" && tasks.readsPrompt) $("prompt").focus()
  },
})
const settingsForm = new SettingsForm($("settings"), {
  tasks, detail, engines: jsonIn("engines"), adapters: jsonIn("adapters"), plan: jsonIn("plan"), limits: limits.photo, constants, onChange: formChanged,
  currentMask: () => paintedMask(255), mayInsert: () => isEmpty(store.view.frame), onInsertMove: showInsert,
  onInsertChosen() {
    $("insert-panel").hidePopover()
    toolbox.choose("insert")
    if (!touch.matches) $("surface").focus({ preventScroll: true }) // for the keys that place it
  },
})
const prompts = new PromptHistory($("prompt"))
const scale = new Scale({ field: $("scale"), time: $("scale-time") }, { limits: limits.photo, detail, planUrl: /** @type {string} */ ($("settings").dataset.planUrl) })
const seed = new Seed({ field: $("seed"), lock: $("seed-lock"), dice: $("seed-dice") })
const strength = new Strength({ field: $("strength"), root: $("hole-strength"), slider: $("hole-strength-slider"), shown: $("hole-strength-shown") })
new Presets({ list: $("presets"), name: $("preset-name"), save: $("preset-save") }, {
  current: () => settingsForm.reusable,
  onChoose: (settings) => settingsForm.reuse(settings),
})
const downloads = new Downloads({
  formats: /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll("[data-format]")), embed: $("embed-settings"), credentials: $("credentials"), list: $("downloads"),
  curl: $("copy-curl"), command: $("curl-command"), copy: $("copy-image"), share: $("share-image"), main: $("download"),
})
const progress = new Progress(
  { root: $("progress"), bar: $("progress-bar"), text: $("progress-text"), detail: $("progress-detail"), cancel: $("cancel"), leave: $("leave") },
  { onCancel: async () => { if (!(await job.cancel())) progress.allowCancel() }, onLeave: () => painting.leave() },
)
const job = new Job(/** @type {string} */ (root.dataset.submitUrl), {
  onChange: refresh,
  onSent: (sent) => progress.sent(sent),
  onEvent: (event) => painting.event(event),
  onAccepted: (generation) => painting.accepted(generation),
})
const result = new Result({
  root: $("result"), summary: $("result-summary"), hold: $("compare"), download: $("download"), details: $("details"),
  warnings: $("warnings"), hidden: $("result-hidden"),
  choices: $("choices"), choiceList: $("choice-list"), before: $("choice-before"), after: $("choice-after"),
  modes: { divider: $("compare-divider"), blink: $("compare-blink"), difference: $("compare-difference") },
  figures: { outside: $("figure-outside"), seam: $("figure-seam"), score: $("figure-score"), seed: $("figure-seed"), engine: $("figure-engine"), time: $("figure-time") },
}, { compare, downloads, nameOf: (metadata) => settingsForm.nameOf(metadata), onChoose: (choice) => painting.chosen(choice) })
const batch = new BatchMask({ bar: $("batch-bar"), text: $("batch-text"), use: $("batch-use"), back: $("batch-back"), url: /** @type {string} */ (root.dataset.batchesUrl) }, {
  settings: () => settingsForm.valuesWithoutInsert,
  fit: () => mask.fit(),
  take: /** @returns {Promise<void>} */ (photo) => photos.take(photo),
  takeMask: /** @returns {Promise<void>} */ (file, repaints) => photos.takeMask(file, repaints),
  painted: () => paintedMask(0),
})
const filmstrip = new Filmstrip($("filmstrip"), { onOpen: (step) => photos.openStep(step), imageOf: (id) => keptImage(store.document, id) })
const photos = new Photos({ root, surface: $("surface") }, limits.photo, {
  store, mask, maskFile, compare, result, filmstrip, batch, job, settingsForm, resumed: /** @returns {Promise<void> | null} */ () => opening.resumed,
  steps: /** @returns {Steps} */ () => steps, leave: /** @returns {boolean} */ () => painting.leave(), onChange: refresh,
})
const painting = new Painting({
  store, photos, mask, hole, progress, job, result, filmstrip, batch, seed, settingsForm, tasks, scale, detail, upscaleSettings: constants.upscale_settings, prompts, draft: () => draft,
  onLeft: (generation) => steps.left(generation),
})
const steps = new Steps({
  button: $("steps-button"), panel: $("steps-panel"), list: $("steps-list"), photo: $("steps-photo"), template: $("step-template"),
  download: $("steps-download"), share: $("steps-share"), show: $("steps-show"), bar: $("steps-bar"), text: $("steps-text"), done: $("steps-done"), back: $("steps-back"),
}, { store, photos, mask, filmstrip, settingsForm, job, chooseBrush: () => toolbox.choose("brush") })
const describe = $("describe") && new Describe(
  { button: $("describe"), prompt: $("prompt"), message: $("described") },
  { current: () => photos.photo, mayChange: () => !job.isRunning },
)
const opening = new Opening({ store, photos, painting, job, filmstrip, settingsForm, resumeDrawing: () => toolbox.resume() })
const notices = new Notices($("notices"))
const queue = new Queue(
  { button: $("queue-button"), count: $("queue-count"), list: $("queue-list"), clear: $("queue-clear"), panel: $("queue") },
  {
    onOpen: (id) => opening.openGeneration(id, { isFollowed: true }),
    async onEnded(generation) {
      await opening.shown // while a draft is opened, the filmstrip begins anew with its photo
      filmstrip.addIfRelated(generation, painting.photoOf(generation.id))
      steps.ended()
      notices.ended(generation)
    },
    onSeen: (ids) => store.update((document) => withoutLeft(document, ids)),
    onProgress: (percent) => notices.progress(percent),
  },
)

// --- tools and commands -------------------------------------------------------------------------------------------

const isDone = () => photos.state === "done" && !job.isRunning
const isEditing = () => photos.state === "editing" && !job.isRunning

const toolbox = new Toolbox({
  surface: $("surface"), store, mask, url: /** @type {string} */ ($("tool-options").dataset.masksUrl),
  planUrl: /** @type {string} */ ($("settings").dataset.planUrl), words: $("tool-options").dataset.words, isEditing, insert: settingsForm.insert,
  maxMargin: constants.max_margin, showMessage: (text) => toolPanel.showMessage(text),
})
const toolPanel = new ToolPanel(toolbox)
const commands = new Commands({ surface: $("surface") })
/** @param {boolean} isHeld */
const hold = (isHeld) => { $("surface").dataset.hand = String(isHeld || photos.state === "done") }
let mode = MODES[0]

commands.connect({
  ...toolbox.commands,
  ...zoomCommands(mask, () => Boolean(photos.photo)),
  hand: { run: () => hold(true), end: () => hold(false) },
  overlay: { run: () => { mask.mode = mode = MODES[(MODES.indexOf(mode) + 1) % MODES.length] }, isEnabled: isEditing },
  open: () => $("photo-input").click(),
  generate: () => $("settings").requestSubmit(),
  back: { run: () => photos.back(), isEnabled: isDone },
  keep: { run: () => photos.useResult(), isEnabled: isDone },
  palette: () => import("editor/input/palette").then(({ openPalette }) => openPalette(paletteEntries())),
  "more-like-this": { run: () => painting.moreLikeThis(), isEnabled: () => isDone() && result.hasSeed },
  "side-by-side": {
    run: () => import("editor/flow/side_by_side").then(({ openSideBySide }) => openSideBySide(result.choices, (place) => result.choose(place))),
    isEnabled: () => isDone() && result.hasChoices,
  },
  "result-before": { run: () => result.flip(-1), isEnabled: isDone },
  "result-after": { run: () => result.flip(+1), isEnabled: isDone },
})
/** All that the palette finds. @returns {import("editor/input/palette").Entry[]} */
function paletteEntries() {
  const links = /** @type {HTMLAnchorElement[]} */ ([...document.querySelectorAll(".site-nav a, .account-menu a")])
  const chosen = Object.entries(/** @type {Record<string, import("editor/form/settings_form").Settings>} */ (remembered("presets", {})))
  return [
    ...commands.runnable().map(({ id, label, keys }) => ({ label, kind: gettext("Command"), keys, run: () => commands.run(id) })),
    ...settingsForm.fields().map(({ label, show }) => ({ label, kind: gettext("Setting"), run: show })),
    ...chosen.map(([name, settings]) => ({ label: name, kind: gettext("Preset"), run: () => settingsForm.reuse(settings) })),
    ...(tasks.canReplace ? prompts.all : []).map((prompt) => ({ label: prompt, kind: gettext("Prompt"), run: () => usePrompt(prompt) })),
    ...links.map((link) => ({ label: link.innerText.trim(), kind: gettext("Page"), run: () => location.assign(link.href) })),
  ]
}

/** @param {string} prompt */
function usePrompt(prompt) {
  if (!tasks.readsPrompt) tasks.current = "replace"
  $("prompt").value = prompt
  $("prompt").dispatchEvent(new Event("input", { bubbles: true }))
  $("prompt").focus()
}

let toolName = toolbox.tool.name
let otherTask = /** @type {import("editor/form/tasks").Task} */ ("remove") // than extending, which was chosen last
toolbox.subscribe(() => {
  commands.refresh()
  showInsertTool()
  showFrame()
  const before = toolName
  toolName = toolbox.tool.name
  if (before !== toolName) taskOfTool(before)
})

/** The task goes with the tool: the frame extends, and without one another tool does not. @param {string} before */
function taskOfTool(before) {
  const task = toolName === "frame" ? "extend" : before === "frame" && isEmpty(store.view.frame) ? otherTask : tasks.current
  if (task === tasks.current) return
  tasks.current = task
  formChanged()
}

/** The tool goes with the task. @param {import("editor/form/tasks").Task} task */
function toolOfTask(task) {
  if (task !== "extend") otherTask = task
  if (task === "extend") toolbox.choose("frame")
  else if (toolbox.tool.name === "frame") toolbox.choose("brush")
}

/** The button of the image to insert: it chooses the tool; where that is chosen, or nothing is placed, it opens the panel. */
function showInsertTool() {
  const isTool = toolbox.tool.name === "insert", button = $("insert-tool"), { insert } = settingsForm
  $("insert-button").hidden = !insert.isOffered || tasks.canReplace // in the place of the prompt
  button.hidden = !insert.isOffered
  button.setAttribute("aria-pressed", String(isTool))
  button.title = insert.placed ? gettext("Place the image to insert") : gettext("Insert an image")
  button.setAttribute("aria-label", button.title)
}

/** Shows the image to insert where it lies. */
function showInsert() {
  mask.insert = photos.state === "editing" ? settingsForm.insert.shown : null
  toolbox.refresh()
}

function showFrame() {
  const { frame } = store.view
  mask.showFrame(toolbox.tool.name === "frame" || !isEmpty(frame) ? frame : null)
}

// --- what the page shows of their state ---------------------------------------------------------------------------

function refresh() {
  const busy = job.isRunning
  const { missing } = painting
  root.classList.toggle("busy", busy)
  strength.refresh(tasks.current !== "enlarge" && settingsForm.reads("denoising_strength"))
  hole.place()
  showWindow()
  regionLayers.show(isEditing() ? settingsForm.regionLayers : [], photos.photo ?? null)
  showInsert() // and with it the state of the commands
  $("change-photo").disabled = !photos.photo
  queue.shown = store.document.generation
  steps.refresh({ isSignedIn: Boolean(account) })
  $("mask-input").disabled = busy || !photos.photo
  $("mask-zone").classList.toggle("disabled", busy || !photos.photo)
  $("no-model").hidden = !lacksModel()
  $("generate").disabled = busy || (Boolean(missing) && !lacksModel())
  $("generate").textContent = tasks.words.button
  $("generate-hint").textContent = busy || lacksModel() ? "" : missing || hints.text() || advice()
  describe?.refresh()
  if (photos.photo) {
    const { name, width, height } = photos.photo
    $("photo-name").textContent = $("photo-name").title = name
    const framed = sizeOf(photos.photo, store.view.frame)
    const size = isEmpty(store.view.frame) ? `${width} × ${height}` : `${width} × ${height} → ${framed.width} × ${framed.height}`
    $("photo-size").replaceChildren(
      element("span", { className: "size", textContent: photos.notes.length ? `${size} · ` : size }),
      element("span", { textContent: photos.notes.join(" · ") }),
    )
    const covered = mask.coverage()
    const isWhole = !covered && settingsForm.edits
    const isFramed = !isEmpty(store.view.frame)
    const enlarges = tasks.current === "enlarge"
    detail.isMarked = covered > 0
    if (enlarges && !missing) scale.plan(photos.photo, settingsForm.marked)
    $("photo-covered").hidden = enlarges
    $("photo-covered").classList.toggle("nothing", !covered && !isWhole && !isFramed)
    $("photo-covered").textContent = covered ? coveredInWords(share(covered)) : isWhole ? gettext("all to edit") : isFramed ? gettext("new edges") : gettext("nothing to repaint yet")
  }
}

/** Whether only a model that is not here could do what is asked for. */
const lacksModel = () => tasks.lacksModel && !settingsForm.insert.isSent

/** @param {string} part of the photo */
const coveredInWords = (part) =>
  store.view.stack?.paintsBack ? gettext("{share} to paint back", { share: part }) : gettext("{share} to repaint", { share: part })

/** What comes, or what to do next, where nothing is missing. */
function advice() {
  const { photo, frame } = store.view
  if (photo && tasks.current === "enlarge") return scale.inWords(photo)
  if (photo && !isEmpty(frame)) return framedInWords(photo, frame)
  if (settingsForm.insert.reason) return settingsForm.insert.reason
  if (toolbox.tool.name === "insert") return gettext("Drag the image, its corners or the round handle, then press {button}.", { button: tasks.words.button })
  return tasks.readsPrompt ? "" : gettext("Brush on, or press {button}.", { button: tasks.words.button })
}

const MASK_PAUSE_MS = 200 // after the last change of the mask
let maskTimer = 0

/** Tells the form what is marked, for the window of its plan, once the mask has been left alone for a moment. */
function maskChanged() {
  clearTimeout(maskTimer)
  maskTimer = setTimeout(takeMarked, MASK_PAUSE_MS)
}

async function takeMarked() {
  const { photo } = photos
  const found = photo && (await marked(mask, photo))
  if (photo !== photos.photo) return
  settingsForm.marked = found
  refresh()
}

/** A file of the mask; null where nothing is marked. @param {0 | 255} marked  the grey of what is marked @returns {Promise<Blob | null>} */
async function paintedMask(marked) {
  await mask.drawn()
  return photos.photo && mask.coverage() > 0 ? mask.png(marked) : null
}

/** An outpainting has a window of its own, which is not known before it is planned. */
function showWindow() {
  const isShown = isEditing() && isEmpty(store.view.frame) && mask.coverage() > 0
  windowOutline.show(isShown ? settingsForm.window : { window: null, work_size: null }, photos.photo ?? null)
}

/** Keeps what is entered in the document. */
function formChanged() {
  refresh()
  seed.refresh()
  const settings = settingsForm.entered()
  if (JSON.stringify(settings) !== JSON.stringify(store.document.settings)) store.update((document) => withState(document, { settings }))
}

let wasOffline = false

/** @param {import("editor/document/draft").State} state */
function showSaved(state) {
  if (state.name === "saved" && wasOffline) painting.sendAgain()
  if (state.name !== "saving") wasOffline = state.name === "offline"
  $("saved").dataset.state = state.name
  $("saved").textContent = inWords(state)
  $("saved").title = state.message
}

// --- event listeners ----------------------------------------------------------------------------------------------

let inEffect = store.view
store.subscribe((after, before) => {
  if (after.left !== before.left) queue.left = store.document.left.map(({ generation }) => generation)
  if (store.view === inEffect) return
  inEffect = store.view
  if ($("release-erases").checked && !batch.isOpen && isNewShape(after, before)) painting.generate({ keepsAtOnce: true })
  opening.showDocument()
})

/** Whether something has just been drawn: not by redo, and not erased from the mask.
 *  @param {import("editor/document/document").Document} after @param {import("editor/document/document").Document} before */
function isNewShape({ entries, cursor }, before) {
  const last = /** @type {{kind: string, operation: {points?: number[][], erases?: boolean}}} */ (/** @type {unknown} */ (entries[cursor - 1]))
  return last?.kind === "mask" && last !== before.entries.at(-1) && Boolean(last.operation.points) && !last.operation.erases
}

/** @param {File[]} files */
const takeFiles = (files) => photos.takeFiles(files)
new ResizeObserver(() => root.style.setProperty("--dock-now", `${$("settings").offsetHeight}px`)).observe($("settings"))
dropzone(root, $("photo-input"), takeFiles)
$("camera-input").addEventListener("change", ({ target }) => takeFiles([.../** @type {FileList} */ (/** @type {HTMLInputElement} */ (target).files)]))
dropzone($("mask-zone"), $("mask-input"), ([file]) => photos.takeMask(file))
guardPage((files) => ($("insert-panel").matches(":popover-open") ? settingsForm.insert.choose(files[0]) : takeFiles(files)))
$("insert-reset").addEventListener("click", () => settingsForm.insert.resetPlacement())
$("insert-tool").addEventListener("click", (event) => {
  if (!settingsForm.insert.placed || toolbox.tool.name === "insert") return
  event.preventDefault() // the panel stays closed
  toolbox.choose("insert")
})
listen($("surface"), { view: mask, tool: toolbox, onHover: (screenPoint, point) => toolbox.hover(screenPoint, point) })
for (const id of ["choose-photo", "change-photo"]) $(id).addEventListener("click", () => $("photo-input").click())
for (const card of /** @type {NodeListOf<HTMLElement>} */ ($("task-cards").querySelectorAll("[data-task]"))) {
  card.addEventListener("click", () => {
    tasks.current = /** @type {import("editor/form/tasks").Task} */ (card.dataset.task)
    formChanged()
    $("photo-input").click()
  })
}
$("take-photo").addEventListener("click", () => $("camera-input").click())
$("more-close").addEventListener("click", () => {
  $("more").open = false
  const summary = /** @type {HTMLElement} */ ($("more").querySelector("summary"))
  summary.focus()
})
$("settings").addEventListener("input", () => showMessage("generate", "")) // the fault may be corrected now
$("settings").addEventListener("submit", (event) => {
  event.preventDefault()
  if (small.matches) $("more").open = false // it covers the messages
  if (lacksModel()) chooseModel(PAINTS_WORDS)
  else if (event.submitter === $("generate")) painting.generate()
  else painting.tryAgain() // by its button or a key
})
const PAINTS_WORDS = "recommended-diffusion" // of the recommended models
const modelsUrl = /** @type {string} */ (root.dataset.modelsUrl)
/** @param {string} wanted the id of the card that comes first */
const chooseModel = (wanted) => reportErrors("generate", async () => (await import("editor/flow/model_choice")).openModelChoice(modelsUrl, wanted))
root.addEventListener("click", (event) => {
  /** @type {HTMLAnchorElement | null} */
  const link = /** @type {Element} */ (event.target).closest(`a[href^="${modelsUrl}"]`)
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return // which opens it elsewhere
  event.preventDefault()
  chooseModel(link.hash.slice(1) || PAINTS_WORDS)
})
$("edit-mask").addEventListener("click", () => photos.back())
$("release-erases").addEventListener("change", ({ target }) => remember("release-erases", /** @type {HTMLInputElement} */ (target).checked))
$("use-result").addEventListener("click", () => photos.useResult())

// --- opening ------------------------------------------------------------------------------------------------------

$("release-erases").checked = remembered("release-erases", false)
refresh()
if (account) {
  queue.listen()
  draft = await Draft.open({
    account,
    store,
    onState: showSaved,
    onAdopt: (document) => opening.adopt(document),
    onOtherDevice: () => showMessage("photo", gettext("This draft was changed in another tab or on another device too. Undo leads to those changes.")),
  })
}
window.addEventListener("online", () => painting.sendAgain())
const { launchQueue } = /** @type {any} */ (window) // of files that are opened with the installed app
launchQueue?.setConsumer(async (/** @type {{files: FileSystemFileHandle[]}} */ { files: [photo] }) => {
  if (photo) await reportErrors("photo", async () => photos.take(await photo.getFile()))
})
root.dataset.ready = "true" // from here on the page reacts; its tests wait for it
openFromAddress({
  resumed: opening.resumed, // else the draft's settings may arrive after those that are wanted
  known: () => store.document.generation, // the draft has it, with more than the server knows
  openGeneration: (id, how) => opening.openGeneration(id, how),
  openNew: () => opening.openNew(),
  openSample: () => reportErrors("photo", async () => photos.take(await fetchFile(/** @type {string} */ (root.dataset.sampleUrl), "rocket.jpg"))),
  openBatch: () => batch.open(),
})
