// The history: more cards as one scrolls, the selection by keyboard, deletion without leaving the place, and its undo.

import { localTime } from "format"
import { KEY_AFTER, KEY_BEFORE, gettext, ngettext } from "text"

const $ = /** @type {import("dom").ById} */ (
  /** @type {unknown} */ ((/** @type {string} */ id) => document.getElementById(id))
)
const form = /** @type {HTMLFormElement} */ (document.getElementById("selection"))
const cards = $("cards")
/** @param {string} url @param {RequestInit} [options] */
const fetched = async (url, options) => {
  const response = await fetch(url, { credentials: "same-origin", ...options })
  if (!response.ok) throw new Error(`${url}: ${response.status}`)
  return new DOMParser().parseFromString(await response.text(), "text/html")
}

// --- more as one scrolls ---------------------------------------------------------------------------------------------

const nextLink = () => /** @type {HTMLAnchorElement | null} */ (document.querySelector('#pagination a[rel="next"]'))
const watcher = new IntersectionObserver(([entry]) => { if (entry.isIntersecting) loadMore() }, { rootMargin: "600px" })
let isLoading = false

async function loadMore() {
  const link = nextLink()
  if (!link || isLoading) return
  isLoading = true
  watcher.disconnect()
  try {
    const page = await fetched(link.href)
    const more = [...page.querySelectorAll("#cards .card")]
    appendDays(/** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll("#cards > .day")))
    localiseTimes(more)
    const next = page.querySelector('#pagination a[rel="next"]')
    if (next) link.replaceWith(next)
    else link.remove()
    $("loaded").textContent = ngettext("{count} more, {shown} are shown.", "{count} more, {shown} are shown.", more.length, { shown: allCards().length })
    watchEnd()
  } catch {
    // The links remain: they load the page, or say what is wrong.
  } finally {
    isLoading = false
  }
}

/** The first of them may go on with the day that is shown last. @param {Iterable<HTMLElement>} days */
function appendDays(days) {
  for (const day of days) {
    const last = /** @type {HTMLElement | null} */ (cards.lastElementChild)
    if (last?.dataset.day === day.dataset.day) last?.querySelector(".cards")?.append(...day.querySelectorAll(".card"))
    else cards.append(day)
  }
}

function watchEnd() {
  if (nextLink()) watcher.observe($("pagination"))
}

/** @param {Element[]} elements */
function localiseTimes(elements) {
  for (const time of elements.flatMap((element) => [...element.querySelectorAll("time")])) {
    time.textContent = localTime(time.dateTime, time.dataset.style === "time")
  }
}

// --- the selection ---------------------------------------------------------------------------------------------------

const allCards = () => [...cards.querySelectorAll(".card")]
const boxes = () => [.../** @type {NodeListOf<HTMLInputElement>} */ (cards.querySelectorAll("input[type=checkbox]"))]
/** @type {HTMLInputElement | null} */
let anchor = null // where a range begins

function showCount() {
  const count = boxes().filter((box) => box.checked).length
  $("selected-count").textContent = count ? ngettext("{count} selected", "{count} selected", count) : ""
}

/** Shift selects everything from the last box on; the box itself has changed already.
 *  @param {HTMLInputElement} box @param {boolean} isRange */
function selectRange(box, isRange) {
  const all = boxes()
  if (isRange && anchor?.isConnected) {
    const [from, to] = [all.indexOf(anchor), all.indexOf(box)].sort((a, b) => a - b)
    for (const other of all.slice(from, to + 1)) other.checked = box.checked
  }
  anchor = box
  showCount()
}

/** @param {Element} card @param {string} key */
function moveFocus(card, key) {
  const all = allCards()
  if (key === KEY_BEFORE || key === KEY_AFTER) {
    linkOf(all[all.indexOf(card) + (key === KEY_AFTER ? 1 : -1)])?.focus()
    return
  }
  const { left, top } = card.getBoundingClientRect()
  const beside = all.map((other) => ({ other, box: other.getBoundingClientRect() }))
    .filter(({ box }) => (key === "ArrowDown" ? box.top > top + 1 : box.top < top - 1))
  const row = Math.min(...beside.map(({ box }) => Math.abs(box.top - top)))
  const inRow = beside.filter(({ box }) => Math.abs(Math.abs(box.top - top) - row) < 2)
  inRow.sort((one, two) => Math.abs(one.box.left - left) - Math.abs(two.box.left - left))
  linkOf(inRow[0]?.other)?.focus()
}

/** @param {Element | null | undefined} card @returns {HTMLElement | null | undefined} */
const linkOf = (card) => card?.querySelector(".card-link")

/** @param {KeyboardEvent} event */
function onKey(event) {
  const target = /** @type {Element} */ (event.target)
  const card = target.closest(".card")
  if (!card || event.ctrlKey || event.metaKey || event.altKey) return
  const box = /** @type {HTMLInputElement} */ (card.querySelector("input"))
  if (event.key.startsWith("Arrow")) moveFocus(card, event.key)
  else if (event.key === " " && target.matches(".card-link")) {
    box.checked = !box.checked
    selectRange(box, event.shiftKey)
  } else if (event.key === "Escape") form.reset()
  else if (event.key === "Delete") {
    if (!boxes().some((one) => one.checked)) box.checked = true
    const remove = /** @type {HTMLElement} */ (form.querySelector("[data-delete]"))
    remove.click()
  } else return
  event.preventDefault()
}

// --- actions without leaving the place -------------------------------------------------------------------------------

/** @param {SubmitEvent} event */
async function onSubmit(event) {
  const button = /** @type {HTMLButtonElement | null} */ (event.submitter)
  if (!button || button.hasAttribute("data-download")) return // the browser saves the archive
  event.preventDefault()
  const body = new FormData(form, button)
  const url = /** @type {string} */ (button.getAttribute("formaction") ?? form.getAttribute("action"))
  try {
    if (button.matches(".card-star")) {
      await fetch(url, { method: "POST", body, redirect: "manual", credentials: "same-origin" })
      toggleStar(button)
    } else {
      const page = await fetched(url, { method: "POST", body })
      if (button.hasAttribute("data-delete")) removeSelected(page)
      else location.reload()
    }
  } catch {
    // Off line or signed out: as without scripts, the browser shows what is wrong. submit() fires no event.
    if (button.name) form.append(hiddenField(button.name, button.value))
    form.action = url
    form.submit()
  }
}

/** @param {string} name @param {string} value */
const hiddenField = (name, value) => Object.assign(document.createElement("input"), { type: "hidden", name, value })

/** @param {HTMLButtonElement} button */
function toggleStar(button) {
  const isStarred = button.name === "star"
  button.name = isStarred ? "unstar" : "star"
  button.setAttribute("aria-pressed", String(isStarred))
}

/** @param {Document} page */
function removeSelected(page) {
  const all = allCards()
  const gone = all.filter((card) => card.querySelector(":checked"))
  const neighbour = all[all.indexOf(/** @type {Element} */ (gone.at(-1))) + 1] ?? all.find((card) => !gone.includes(card))
  for (const card of gone) card.remove()
  for (const day of cards.querySelectorAll(".day:not(:has(.card))")) day.remove()
  $("undo").replaceChildren(.../** @type {HTMLElement} */ (page.getElementById("undo")).childNodes)
  const count = document.getElementById("history-count")
  if (count) count.textContent = String(Math.max(0, Number(count.textContent) - gone.length))
  showCount()
  if (!cards.childElementCount) location.reload()
  countDown()
  const target = linkOf(neighbour) ?? /** @type {HTMLElement | null} */ (document.querySelector("#undo button"))
  target?.focus()
}

let countdown = 0

/** Counts the seconds of the undo, then removes its message. */
function countDown() {
  clearInterval(countdown)
  const message = /** @type {HTMLElement | null} */ (document.querySelector("#undo form"))
  if (!message) return
  const until = Date.now() + 1000 * Number(message.dataset.seconds)
  const show = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000)
    if (seconds <= 0) {
      clearInterval(countdown)
      message.remove()
    } else /** @type {Element} */ (message.querySelector(".undo-time")).textContent = gettext("This can be undone for {seconds} s.", { seconds })
  }
  countdown = setInterval(show, 1000)
  show()
}

countDown()
if (form) {
  form.addEventListener("submit", onSubmit)
  form.addEventListener("reset", () => setTimeout(showCount)) // after the boxes are cleared
  cards.addEventListener("keydown", onKey)
  cards.addEventListener("click", (event) => {
    const target = /** @type {HTMLInputElement} */ (event.target)
    if (target.matches("input[type=checkbox]")) selectRange(target, event.shiftKey)
  })
  showCount()
  watchEnd()
}
