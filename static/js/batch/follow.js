// The page of one batch: follows its items to their end; cancels and retries.

import { ApiError, get, post } from "api"
import { roughly } from "format"

const $ = (id) => document.getElementById(id)
const ASK_MS = 1000
const LABELS = JSON.parse($("state-labels").textContent)
const { url } = $("batch").dataset

async function follow() {
  for (;;) {
    const batch = await get(url).catch((error) => {
      if (error.status === 404) location.reload()
      $("batch-progress-text").textContent = error.message
      return null
    })
    if (batch) show(batch)
    if (batch?.status === "done") return
    await new Promise((waited) => { setTimeout(waited, ASK_MS) })
  }
}

function show({ counts, done, total, status, results, items }) {
  const isDone = status === "done"
  $("batch-progress").hidden = isDone
  $("batch-progress").querySelector("progress").value = done
  const eta = Math.max(0, ...items.map((item) => item.eta ?? 0))
  $("batch-progress-text").textContent = `${done} of ${total} done${eta ? ` · about ${roughly(eta)} to go` : ""}`
  $("batch-counts").textContent = inWords(counts)
  $("batch-zip").hidden = !results
  $("batch-cancel").hidden = isDone
  $("batch-retry").hidden = !isDone || !(counts.failed + counts.cancelled)
  for (const item of items) showItem(document.querySelector(`#batch-items [data-index="${item.index}"]`), item)
}

/** As templates/includes/batch_counts.html. */
function inWords({ succeeded, failed, refused, cancelled, queued, running }) {
  const others = [[failed + refused, "without a result"], [cancelled, "cancelled"], [queued + running, "to go"]]
  return [`${succeeded} finished`, ...others.filter(([count]) => count).map((part) => part.join(" "))].join(", ")
}

function showItem(card, { status, generation, images, error }) {
  if (card.dataset.status === status) return
  card.dataset.status = status
  const badge = card.querySelector(".badge")
  badge.className = `badge ${status}`
  badge.textContent = LABELS[status]
  const message = card.querySelector(".error")
  message.textContent = error?.message ?? ""
  message.hidden = !error
  if (generation) card.querySelector("a").href = `/generations/${generation}/`
  if (images[0]) card.querySelector("img")?.setAttribute("src", `${images[0]}thumbnail/`)
}

async function act(button) {
  button.disabled = true
  $("batch-message").hidden = true
  try {
    await post(button.dataset.url)
    await follow()
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    $("batch-message").textContent = error.message
    $("batch-message").hidden = false
  }
  button.disabled = false
}

for (const id of ["batch-cancel", "batch-retry"]) $(id).addEventListener("click", ({ currentTarget }) => act(currentTarget))
follow()
