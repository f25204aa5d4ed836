// The history: more cards as one scrolls, the selection by keyboard, deletion without leaving the place, and its undo.

const form = document.getElementById("selection")
const cards = document.getElementById("cards")
const fetched = async (url, options) => {
  const response = await fetch(url, { credentials: "same-origin", ...options })
  if (!response.ok) throw new Error(`${url}: ${response.status}`)
  return new DOMParser().parseFromString(await response.text(), "text/html")
}

// --- more as one scrolls ---------------------------------------------------------------------------------------------

const nextLink = () => document.querySelector('#pagination a[rel="next"]')
const watcher = new IntersectionObserver(([entry]) => { if (entry.isIntersecting) loadMore() }, { rootMargin: "600px" })
let isLoading = false

async function loadMore() {
  const link = nextLink()
  if (!link || isLoading) return
  isLoading = true
  watcher.disconnect()
  try {
    const page = await fetched(link.href)
    const more = [...page.querySelectorAll("#cards > .card")]
    cards.append(...more)
    localiseTimes(more)
    document.getElementById("pagination").replaceWith(page.getElementById("pagination"))
    document.getElementById("loaded").textContent = `${more.length} more, ${cards.childElementCount} are shown.`
    watchEnd()
  } catch {
    // The links remain: they load the page, or say what is wrong.
  } finally {
    isLoading = false
  }
}

function watchEnd() {
  if (nextLink()) watcher.observe(document.getElementById("pagination"))
}

function localiseTimes(elements) {
  for (const time of elements.flatMap((element) => [...element.querySelectorAll("time")])) {
    time.textContent = new Date(time.dateTime).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })
  }
}

// --- the selection ---------------------------------------------------------------------------------------------------

const boxes = () => [...cards.querySelectorAll("input[type=checkbox]")]
let anchor = null // where a range begins

function showCount() {
  const count = boxes().filter((box) => box.checked).length
  document.getElementById("selected-count").textContent = count ? `${count} selected` : ""
}

/** Shift selects everything from the last box on; the box itself has changed already. */
function selectRange(box, isRange) {
  const all = boxes()
  if (isRange && anchor?.isConnected) {
    const [from, to] = [all.indexOf(anchor), all.indexOf(box)].sort((a, b) => a - b)
    for (const other of all.slice(from, to + 1)) other.checked = box.checked
  }
  anchor = box
  showCount()
}

function moveFocus(card, key) {
  const all = [...cards.children]
  const columns = getComputedStyle(cards).gridTemplateColumns.split(" ").length
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key]
  all[all.indexOf(card) + step]?.querySelector(".card-link").focus()
}

function onKey(event) {
  const card = event.target.closest(".card")
  if (!card || event.ctrlKey || event.metaKey || event.altKey) return
  const box = card.querySelector("input")
  if (event.key.startsWith("Arrow")) moveFocus(card, event.key)
  else if (event.key === " " && event.target.matches(".card-link")) {
    box.checked = !box.checked
    selectRange(box, event.shiftKey)
  } else if (event.key === "Escape") form.reset()
  else if (event.key === "Delete") {
    if (!boxes().some((one) => one.checked)) box.checked = true
    form.querySelector("[data-delete]").click()
  } else return
  event.preventDefault()
}

// --- actions without leaving the place -------------------------------------------------------------------------------

async function onSubmit(event) {
  const button = event.submitter
  if (!button || button.hasAttribute("data-download")) return // the browser saves the archive
  event.preventDefault()
  const body = new FormData(form, button)
  const url = button.getAttribute("formaction") ?? form.getAttribute("action")
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

const hiddenField = (name, value) => Object.assign(document.createElement("input"), { type: "hidden", name, value })

function toggleStar(button) {
  const isStarred = button.name === "star"
  button.name = isStarred ? "unstar" : "star"
  button.setAttribute("aria-pressed", String(isStarred))
}

function removeSelected(page) {
  const gone = [...cards.children].filter((card) => card.querySelector(":checked"))
  const last = gone.at(-1)
  const neighbour = last?.nextElementSibling ?? cards.querySelector(".card:not(:has(:checked))")
  for (const card of gone) card.remove()
  document.getElementById("undo").replaceChildren(...page.getElementById("undo").childNodes)
  const count = document.getElementById("history-count")
  if (count) count.textContent = String(Math.max(0, Number(count.textContent) - gone.length))
  showCount()
  if (!cards.childElementCount) location.reload()
  countDown()
  const target = neighbour?.querySelector(".card-link") ?? document.querySelector("#undo button")
  target?.focus()
}

let countdown = 0

/** Counts the seconds of the undo, then removes its message. */
function countDown() {
  clearInterval(countdown)
  const message = document.querySelector("#undo form")
  if (!message) return
  const until = Date.now() + 1000 * Number(message.dataset.seconds)
  const show = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000)
    if (seconds <= 0) {
      clearInterval(countdown)
      message.remove()
    } else message.querySelector(".undo-time").textContent = `This can be undone for ${seconds} s.`
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
    if (event.target.matches("input[type=checkbox]")) selectRange(event.target, event.shiftKey)
  })
  showCount()
  watchEnd()
}
