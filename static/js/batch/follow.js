// The page of one batch: follows its items to their end, shows the progress in the title and notifies of the end; cancels and retries.

import { byId } from "dom"
import { ApiError, get, post } from "api"
import { Notices } from "editor/flow/notices"
import { roughly } from "format"
import { gettext, ngettext } from "text"

/** @typedef {"succeeded" | "failed" | "refused" | "cancelled" | "queued" | "running"} Status */
/** @typedef {{index: number, status: Status, eta: number | null, generation: string | null, images: string[],
 *   error: {message: string} | null}} Item */
/** @typedef {{counts: Record<Status, number>, done: number, total: number, status: string, results: string | null, items: Item[]}} Batch */

const $ = /** @type {import("dom").ById<{"batch-retry": HTMLButtonElement, "batch-cancel": HTMLButtonElement, notices: HTMLInputElement}>} */ (byId)
const ASK_MS = 1000
/** @type {Record<Status, string>} */
const LABELS = JSON.parse(/** @type {string} */ ($("state-labels").textContent))
const { url } = /** @type {{url: string}} */ (/** @type {unknown} */ ($("batch").dataset))
/** @param {ParentNode} parent @returns {HTMLProgressElement} */
const barIn = (parent) => /** @type {HTMLProgressElement} */ (parent.querySelector("progress"))
const notices = new Notices($("notices"))

/** @type {Promise<void> | null} */
let followed = null

/** Follows the batch to its end, once: after "Cancel the rest" it is followed already. */
const follow = () => (followed ??= toTheEnd().finally(() => { followed = null }))

async function toTheEnd() {
  const started = performance.now()
  for (let isNews = false; ; isNews = true) {
    /** @type {Batch | null} */
    const batch = await get(url).catch((error) => {
      if (error.status === 404) location.reload()
      $("batch-progress-text").textContent = error.message
      return null
    })
    if (batch) show(batch)
    if (batch?.status === "done") {
      if (isNews) notifyOfEnd(batch.counts, (performance.now() - started) / 1000)
      return
    }
    await new Promise((waited) => { setTimeout(waited, ASK_MS) })
  }
}

/** @param {Batch} batch */
function show({ counts, done, total, status, results, items }) {
  const isDone = status === "done"
  $("batch-progress").hidden = isDone
  barIn($("batch-progress")).value = done
  notices.progress(isDone ? null : 100 * done / total)
  const eta = Math.max(0, ...items.map((item) => item.eta ?? 0))
  $("batch-progress-text").textContent = [gettext("{done} of {total} done", { done, total }), eta && gettext("about {time} to go", { time: roughly(eta) })].filter(Boolean).join(" · ")
  $("batch-counts").textContent = inWords(counts)
  $("batch-zip").hidden = !results
  $("batch-cancel").hidden = isDone
  $("batch-retry").hidden = !isDone || !(counts.failed + counts.cancelled)
  for (const item of items) showItem(/** @type {HTMLElement} */ (document.querySelector(`#batch-items [data-index="${item.index}"]`)), item)
}

/** @param {Batch["counts"]} counts @param {number} seconds */
function notifyOfEnd(counts, seconds) {
  const isDone = counts.succeeded > 0
  if (!isDone && !counts.failed && !counts.refused) return // all were cancelled
  notices.notify(isDone ? gettext("Your batch is done") : gettext("No photo of your batch could be painted"), { isDone, seconds, body: inWords(counts) })
}

/** As templates/includes/batch_counts.html. @param {Batch["counts"]} counts */
function inWords({ succeeded, failed, refused, cancelled, queued, running }) {
  const [without, waiting] = [failed + refused, queued + running]
  return [
    ngettext("{count} finished", "{count} finished", succeeded),
    without && ngettext("{count} without a result", "{count} without a result", without),
    cancelled && ngettext("{count} cancelled", "{count} cancelled", cancelled),
    waiting && ngettext("{count} to go", "{count} to go", waiting),
  ].filter(Boolean).join(", ")
}

/** @param {HTMLElement} card @param {Item} item */
function showItem(card, { status, generation, images, error }) {
  if (card.dataset.status === status) return
  card.dataset.status = status
  const badge = /** @type {HTMLElement} */ (card.querySelector(".badge"))
  badge.className = `badge ${status}`
  badge.textContent = LABELS[status]
  const message = /** @type {HTMLElement} */ (card.querySelector(".error"))
  message.textContent = error?.message ?? ""
  message.hidden = !error
  if (generation) /** @type {HTMLAnchorElement} */ (card.querySelector("a")).href = `/generations/${generation}/`
  if (images[0]) card.querySelector("img")?.setAttribute("src", `${images[0]}thumbnail/`)
}

/** @param {HTMLButtonElement} button */
async function act(button) {
  button.disabled = true
  $("batch-message").hidden = true
  try {
    await post(/** @type {string} */ (button.dataset.url))
    await follow()
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    $("batch-message").textContent = error.message
    $("batch-message").hidden = false
  }
  button.disabled = false
}

for (const id of ["batch-cancel", "batch-retry"]) $(id).addEventListener("click", ({ currentTarget }) => act(/** @type {HTMLButtonElement} */ (currentTarget)))
follow()
