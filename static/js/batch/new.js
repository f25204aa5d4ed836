// The form of a new batch: its photos, their masks, and sending them one by one, so that a large batch needs no large request.

import { ApiError, call, post } from "api"
import { masksOf, sorted } from "batch/pairs"
import { keep, take } from "batch/pending_files"
import { byId, element } from "dom"
import { dropzone, guardPage } from "dropzone"
import { Refused, checkMaskFile, decode, drawPreview, photoLimits, readPhoto } from "editor/document/files"
import { sha256 } from "editor/document/sha256"
import { Detail } from "editor/form/detail"
import { isForPeople } from "editor/form/messages"
import { PolarityReader } from "editor/raster/polarity"
import { gettext, ngettext, pgettext } from "text"

/** @typedef {{file: File, canvas: HTMLCanvasElement, painted: Mask | null}} Photo  canvas: its preview; painted: its own mask, from the editor */
/** @typedef {File | Blob & {name?: undefined}} Mask  without a name where it was painted in the editor, black = repainted */
/** @typedef {RadioNodeList & {value: "one" | "each"}} MaskUse */
/** @typedef {HTMLFormElement & {elements: HTMLFormControlsCollection & {
 *   task: RadioNodeList & {value: "paint" | "enlarge"}, scale: HTMLSelectElement,
 *   mask_use: MaskUse, mask_polarity: HTMLSelectElement, prompt: HTMLTextAreaElement}}} BatchForm */

const $ = /** @type {import("dom").ById<{
  "new-batch": BatchForm, "batch-polarity": HTMLSelectElement, "batch-submit": HTMLButtonElement, "batch-mask-preview": HTMLCanvasElement,
  "batch-input": HTMLInputElement, "batch-mask-input": HTMLInputElement,
  detail: HTMLInputElement, "detail-strength": HTMLInputElement, "detail-strength-shown": HTMLOutputElement, "detail-model": HTMLSelectElement,
}>} */ (byId)
const form = $("new-batch")
const limits = { items: Number(form.dataset.maxItems), photo: photoLimits(form), maskBytes: Number(form.dataset.maxMaskBytes) }
/** The slugs of the models that need no mask; "" for the default one. @type {string[]} */
const editingModels = JSON.parse(/** @type {string} */ ($("editing-models").textContent))
const polarity = /** @type {HTMLElement} */ (document.querySelector(".polarity"))
const detail = new Detail({ box: $("detail"), row: $("detail-row"), strength: $("detail-strength"), shown: $("detail-strength-shown"), model: $("detail-model") }, () => {})
/** @type {{photos: Photo[], masks: File[], painted: Mask | null, settings: Record<string, string>, isSending: boolean}} */
const now = { photos: [], masks: [], painted: null, settings: {}, isSending: false }
/** @type {Record<string, string>} */
const POLARITY = { light: "white_repaints", dark: "black_repaints", transparent: "black_repaints", opaque: "white_repaints" }

/** @param {File[]} files */
async function takeFiles(files) {
  if (now.isSending) return
  const { photos, masks, others } = sorted(files)
  const problems = others.map(({ name }) => gettext("“{name}” is neither a photo nor a PNG mask.", { name }))
  for (const file of photos) await adding(problems, () => addPhoto(file))
  for (const file of masks) await adding(problems, () => addMask(file))
  showMessage("batch-files-message", problems.join(" "))
  show()
}

/** @param {string[]} problems @param {() => Promise<void>} add */
async function adding(problems, add) {
  try {
    await add()
  } catch (error) {
    if (!isForPeople(error)) throw error
    problems.push(error.message)
  }
}

/** @param {File} file @param {Mask | null} [painted] its own mask */
async function addPhoto(file, painted = null) {
  if (now.photos.length >= limits.items) throw new Refused(gettext("“{name}” was left out: a batch has at most {most} photos.", { name: file.name, most: limits.items }))
  const { bitmap } = await readPhoto(file, limits.photo)
  const canvas = element("canvas")
  drawPreview(canvas, bitmap)
  bitmap.close()
  now.photos.push({ file, canvas, painted })
}

/** @param {File} file */
async function addMask(file) {
  checkMaskFile(file, limits.maskBytes)
  const bitmap = await decode(file)
  if (!now.masks.length) $("batch-polarity").value = POLARITY[polarityOf(bitmap)]
  bitmap.close()
  now.masks.push(file)
  now.painted = null
  if (now.masks.length > 1) form.elements.mask_use.value = "each"
}

/** @param {ImageBitmap} bitmap */
function polarityOf(bitmap) {
  const canvas = new OffscreenCanvas(Math.min(512, bitmap.width), Math.min(512, bitmap.height))
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"))
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  const reader = new PolarityReader()
  reader.add(context.getImageData(0, 0, canvas.width, canvas.height).data)
  return reader.read().repaints
}

const isEnlarging = () => form.elements.task.value === "enlarge"

/** Whether the photos are edited whole: without any mask, by a prompt for a model that takes instructions. */
function editsWhole() {
  const edits = editingModels.includes(now.settings.model ?? "") && form.elements.prompt.value.trim() !== ""
  return edits && !chosenMasks().some(Boolean)
}

/** The mask of each photo; null where one is missing. @returns {(Mask | null)[]} */
function chosenMasks() {
  const shared = now.painted ?? now.masks[0] ?? null
  const masks = form.elements.mask_use.value === "one" ? now.photos.map(() => shared) : masksOf(now.photos.map(({ file }) => file), now.masks)
  return now.photos.map(({ painted }, index) => painted ?? masks[index])
}

/** @param {Mask} mask */
const isPainted = (mask) => !mask.name

function whatIsMissing() {
  if (!now.photos.length) return gettext("First choose or drop the photos.")
  if (isEnlarging()) return ""
  const without = now.photos.filter((_, index) => !chosenMasks()[index])
  if (!without.length || editsWhole()) return ""
  if (form.elements.mask_use.value === "one") return gettext("Choose a mask, or paint one on the first photo.")
  return ngettext("{count} of {total} photos have no mask, the first is “{name}”.", "{count} of {total} photos have no mask, the first is “{name}”.", without.length, { total: now.photos.length, name: without[0].file.name })
}

function show() {
  const masks = chosenMasks()
  const isEach = form.elements.mask_use.value === "each"
  $("batch-photos").hidden = $("batch-task").hidden = !now.photos.length
  $("batch-masks").hidden = !now.photos.length || isEnlarging()
  $("batch-prompt-field").hidden = !("available" in $("batch-prompt-field").dataset) || (isEnlarging() && !detail.isOn)
  $("batch-prompt-paints").hidden = isEnlarging()
  $("batch-prompt-enlarges").hidden = !isEnlarging()
  $("batch-scale").hidden = $("batch-detail").hidden = !isEnlarging()
  detail.show(isEnlarging())
  $("batch-photos").replaceChildren(...now.photos.map((photo, index) => item(photo, index, masks[index], isEach && !editsWhole())))
  $("batch-paint").hidden = isEach
  polarity.hidden = !now.masks.length || (Boolean(now.painted) && !isEach)
  $("batch-mask-about").textContent = aboutMasks(isEach, masks)
  showPreview(isEach ? null : now.painted ?? now.masks[0])
  const count = now.photos.length
  $("batch-submit").textContent = count ? taskInWords(count) : pgettext("an object of a photo", "Remove")
  $("batch-submit").disabled = now.isSending
  $("batch-actions").hidden = !count
  form.classList.toggle("filled", count > 0)
  if ($("batch-message").textContent) showMessage("batch-message", now.isSending ? "" : whatIsMissing())
}

/** @param {number} count */
function taskInWords(count) {
  if (isEnlarging()) return ngettext("Enlarge {count} photo", "Enlarge {count} photos", count)
  if (editsWhole()) return ngettext("Edit {count} photo", "Edit {count} photos", count)
  if (form.elements.prompt.value.trim()) return ngettext("Paint in {count} photo", "Paint in {count} photos", count)
  return ngettext("Remove from {count} photo", "Remove from {count} photos", count)
}

/** @param {boolean} isEach @param {(Mask | null)[]} masks */
function aboutMasks(isEach, masks) {
  if (isEach && !editsWhole()) return ngettext("{count} of {total} photos have their mask.", "{count} of {total} photos have their mask.", masks.filter(Boolean).length, { total: now.photos.length })
  if (now.painted) return gettext("The mask that you painted in the editor. It is scaled where a photo has another size.")
  if (now.masks.length) return gettext("“{name}”. It is scaled where a photo has another size.", { name: now.masks[0].name })
  return editsWhole() ? gettext("None: each photo is edited whole. Or a PNG, or painted on the first photo.") : gettext("A PNG, or painted on the first photo.")
}

/** @param {Mask | null} file */
async function showPreview(file) {
  const canvas = $("batch-mask-preview")
  canvas.hidden = !file
  if (!file) return
  const bitmap = await decode(file)
  drawPreview(canvas, bitmap)
  bitmap.close()
}

/** @param {Photo} photo @param {number} index @param {Mask | null} mask @param {boolean} isNeeded whether it needs one of its own */
function item({ file, canvas, painted }, index, mask, isNeeded) {
  const remove = element("button", { type: "button", className: "tool", ariaLabel: gettext("Remove {name}", { name: file.name }), textContent: "×" })
  remove.addEventListener("click", () => {
    now.photos = now.photos.filter((photo) => photo.file !== file)
    show()
  })
  const name = element("span", { className: "batch-name", dir: "auto", textContent: file.name, title: file.name })
  const words = painted ? gettext("painted mask") : mask?.name ?? gettext("no mask")
  const about = painted || isNeeded ? [element("span", { className: mask ? "help" : "error", dir: "auto", textContent: words })] : []
  if (isEnlarging()) return element("li", {}, canvas, name, remove)
  const edit = element("button", { type: "button", className: "link", textContent: mask ? gettext("Edit its mask") : gettext("Paint its mask") })
  edit.setAttribute("aria-label", `${edit.textContent}: ${file.name}`) // begins with the words that are seen
  edit.addEventListener("click", () => paintMask(index))
  return element("li", {}, canvas, name, ...about, edit, remove)
}

// --- sending ------------------------------------------------------------------------------------------------------

async function send() {
  const missing = whatIsMissing()
  showMessage("batch-message", missing)
  if (missing || now.isSending) return
  now.isSending = true
  show()
  try {
    const accepted = await sendAll()
    location.assign(/** @type {string} */ (form.dataset.pageUrl).replace(/0{8}-0{4}-0{4}-0{4}-0{12}/, accepted.id))
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    showMessage("batch-message", error.message)
    now.isSending = false
    $("batch-progress").hidden = true
    show()
  }
}

/** Sends the photos, the masks, and the request for all of them. */
async function sendAll() {
  if (isEnlarging()) {
    const images = await uploadAll(now.photos.map(({ file }) => file))
    const prompt = form.elements.prompt.value.trim()
    return request(/** @type {string} */ (form.dataset.upscaleUrl), { scale: Number(form.elements.scale.value), ...detail.fields, ...(detail.isOn && prompt && { prompt }), images })
  }
  const photos = now.photos.map(({ file }) => file)
  const chosen = /** @type {Mask[]} */ (chosenMasks().filter(Boolean)) // all of them, or none where the photos are edited whole
  const isOne = new Set(chosen).size === 1
  const repaints = chosen.every(isPainted) ? "black_repaints" : form.elements.mask_polarity.value
  const masks = await Promise.all((isOne ? chosen.slice(0, 1) : chosen).map((mask) => inPolarity(mask, repaints)))
  const links = await uploadAll([...photos, ...masks])
  const { loras, embeddings, ...settings } = now.settings
  return request(form.action, {
    ...settings,
    ...(loras && { loras: JSON.parse(loras) }), // texts in a form
    ...(embeddings && { embeddings: JSON.parse(embeddings) }),
    prompt: form.elements.prompt.value.trim(),
    images: links.slice(0, photos.length),
    ...(masks.length && { masks: links.slice(photos.length) }),
    mask_polarity: repaints,
  })
}

/** @param {string} url @param {Record<string, unknown>} body */
function request(url, body) {
  showProgress(gettext("Starting…"), 1)
  return post(url, JSON.stringify(body), { "Content-Type": "application/json" })
}

/** @param {Mask[]} files @returns {Promise<string[]>} the links that a request names them by */
async function uploadAll(files) {
  const total = files.reduce((sum, { size }) => sum + size, 0)
  /** @type {string[]} */
  const links = []
  let sent = 0
  for (const file of files) {
    /** @param {number} share */
    const onProgress = (share) => showProgress(gettext("Sending {number} of {total}", { number: links.length + 1, total: files.length }), (sent + share * file.size) / total)
    onProgress(0)
    links.push(await upload(file, onProgress))
    sent += file.size
  }
  return links
}

/** @type {Map<Mask, Mask>} */
const inverted = new Map() // painted masks, for a batch whose other masks repaint white

/** A mask as one of this polarity: the request has one for all. @param {Mask} mask @param {string} repaints @returns {Promise<Mask>} */
async function inPolarity(mask, repaints) {
  if (!isPainted(mask) || repaints === "black_repaints") return mask
  if (!inverted.has(mask)) {
    const bitmap = await decode(mask)
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height)
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"))
    context.fillStyle = "white"
    context.fillRect(0, 0, canvas.width, canvas.height)
    context.globalCompositeOperation = "difference"
    context.drawImage(bitmap, 0, 0)
    bitmap.close()
    inverted.set(mask, await canvas.convertToBlob())
  }
  return /** @type {Mask} */ (inverted.get(mask))
}

/** @type {Map<Mask, string>} */
const uploaded = new Map() // file -> its link, so that a second attempt sends only what is missing

/** Sends one file. @param {Mask} file @param {(share: number) => void} onProgress
 *  @returns {Promise<string>} a link that a request names it by */
async function upload(file, onProgress) {
  if (!uploaded.has(file)) {
    const url = `/api/draft/pictures/${await sha256(await file.arrayBuffer())}/`
    await call(url, { method: "PUT", body: file, headers: { "Content-Type": file.type || "application/octet-stream" }, onProgress })
    uploaded.set(file, file.name ? `${url}?name=${encodeURIComponent(file.name)}` : url)
  }
  return /** @type {string} */ (uploaded.get(file))
}

/** @param {string} text @param {number} share */
function showProgress(text, share) {
  $("batch-progress").hidden = false
  $("batch-progress-text").textContent = text
  const bar = /** @type {HTMLProgressElement} */ ($("batch-progress").querySelector("progress"))
  bar.value = share
}

/** @param {string} id @param {string} text */
function showMessage(id, text) {
  $(id).textContent = text
  $(id).hidden = !text
}

/** Opens the editor, which comes back with the mask. @param {number | null} photo whose mask; null for that of all */
async function paintMask(photo) {
  const mask = photo === null ? now.painted ?? now.masks[0] ?? null : chosenMasks()[photo]
  const repaints = mask && await repaintsOf(mask).catch(() => null) // the editor says what is wrong with it
  await keep({
    photos: now.photos.map(({ file }) => file), own: now.photos.map(({ painted }) => painted), masks: now.masks, painted: now.painted,
    use: form.elements.mask_use.value, polarity: form.elements.mask_polarity.value,
    settings: { ...now.settings, prompt: form.elements.prompt.value }, wanted: { photo, mask, repaints },
  })
  location.assign("/?batch")
}

/** The part of a mask that is repainted: as it is read from it, unless another polarity is chosen.
 *  @param {Mask} mask @returns {Promise<import("editor/document/operations").Repaints>} */
async function repaintsOf(mask) {
  if (isPainted(mask)) return "dark"
  const bitmap = await decode(mask)
  const read = polarityOf(bitmap)
  bitmap.close()
  const chosen = form.elements.mask_polarity.value
  return POLARITY[read] === chosen ? read : chosen === "white_repaints" ? "light" : "dark"
}

dropzone(form, $("batch-input"), takeFiles)
dropzone($("batch-mask"), $("batch-mask-input"), async (files) => {
  /** @type {string[]} */
  const problems = []
  if (form.elements.mask_use.value === "one") now.masks = []
  for (const file of files) await adding(problems, () => addMask(file))
  showMessage("batch-files-message", problems.join(" "))
  show()
})
guardPage(takeFiles)
form.addEventListener("input", show)
form.addEventListener("submit", (event) => { event.preventDefault(); send() })
$("batch-paint").addEventListener("click", () => paintMask(null))

const waiting = await take()
if (waiting) {
  const { photos, own = [], masks, painted, settings, use, polarity: chosen } = waiting
  now.settings = settings
  form.elements.prompt.value = settings.prompt ?? ""
  /** @type {string[]} */
  const problems = []
  for (const [index, file] of photos.entries()) await adding(problems, () => addPhoto(file, own[index]))
  for (const file of masks) await adding(problems, () => addMask(file))
  showMessage("batch-files-message", problems.join(" "))
  now.painted = painted
  if (use ?? painted) form.elements.mask_use.value = use ?? "one"
  if (chosen) form.elements.mask_polarity.value = chosen
}
show()
form.dataset.ready = "true"
