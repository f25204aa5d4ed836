// On every page: the navigation shows the present page, menus and messages close, buttons copy, dangerous forms ask first, times are local, running generations
// refresh, drafts of other accounts are deleted from this browser, an installed app keeps its files.

import { forgetOtherAccounts } from "editor/document/local"
import { localTime } from "format"
import { account } from "session"
import { gettext } from "text"

forgetOtherAccounts(account)

if (matchMedia("(display-mode: standalone)").matches) import("installed_app").then(({ start }) => start()).catch(() => {})

// The history is divided into the days of this time zone, by the server.
document.cookie = `time_zone=${Intl.DateTimeFormat().resolvedOptions().timeZone}; path=/; max-age=31536000; samesite=lax`

for (const menu of /** @type {NodeListOf<HTMLDetailsElement>} */ (document.querySelectorAll("details.menu"))) {
  document.addEventListener("click", (event) => { if (!menu.contains(/** @type {Node} */ (event.target))) menu.open = false })
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return
    menu.open = false
    const summary = /** @type {HTMLElement} */ (menu.querySelector("summary"))
    summary.focus()
  })
}

for (const link of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("nav a[aria-current]"))) { // on a phone the navigation scrolls
  const nav = /** @type {HTMLElement} */ (link.parentElement)
  const [seen, its] = [nav.getBoundingClientRect(), link.getBoundingClientRect()]
  nav.scrollLeft += (its.left + its.right - seen.left - seen.right) / 2 // from right to left too, where it counts down from 0
}

for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("button[data-copy]"))) {
  button.addEventListener("click", async () => {
    const source = /** @type {HTMLElement} */ (document.getElementById(/** @type {string} */ (button.dataset.copy)))
    const label = /** @type {HTMLElement} */ (button.querySelector(".label"))
    try {
      await navigator.clipboard.writeText(/** @type {string} */ (source.textContent).trim())
      label.textContent = gettext("Copied")
    } catch {
      getSelection()?.selectAllChildren(source) // no clipboard without HTTPS: select it for Ctrl+C
      label.textContent = gettext("Press Ctrl+C")
    }
  })
}

for (const button of document.querySelectorAll(".message .close")) {
  button.addEventListener("click", () => button.closest(".message")?.remove())
}

for (const time of /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll("time[datetime*=T]"))) { // a date alone stays
  time.textContent = localTime(time.dateTime, time.dataset.style === "time")
}

document.addEventListener("submit", (event) => { // delegated, for forms that are added later
  const question = /** @type {HTMLElement} */ (event.target).dataset.confirm
  if (question && !confirm(question)) event.preventDefault()
})

const LEAVING = 3000 // ms that a page which is being left may stay until the next one answers
let left = -Infinity
addEventListener("beforeunload", () => { left = performance.now() })

/** Load the page again, but not in place of a page whose link was clicked a moment ago. */
function reload() {
  const wait = left + LEAVING - performance.now()
  if (wait > 0) setTimeout(reload, wait)
  else location.reload()
}

for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-follow]"))) {
  const { follow } = await import("job/follow")
  const { follow: id, url } = /** @type {{follow: string, url: string}} */ (/** @type {unknown} */ (element.dataset))
  follow({ id, url }, ({ percent }) => {
    if (typeof percent === "number") /** @type {HTMLProgressElement} */ (element.querySelector("progress")).value = percent
  }).then(reload, () => {})
}
