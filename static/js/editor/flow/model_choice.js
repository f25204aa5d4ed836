// "Which model should I get?" over the editor: what the page of models recommends, whose buttons get a model while the photo
// stays open.

import { getPage } from "api"
import { element } from "dom"
import { followCards } from "model_cards"
import { gettext } from "text"

const RECOMMENDED = "recommended" // the id of the part of that page

/** Opens what is recommended. `wanted`: the id of the card that comes first. @param {string} url of the page of models
 *  @param {string} wanted */
export async function openModelChoice(url, wanted) {
  const first = sectionOf(await getPage(url), url)
  if (!first) return location.assign(url) // as for one who is signed out
  const installed = installedIn(first)
  const dialog = element("dialog", { className: "sheet help-sheet model-choice" })
  const close = element("button", { type: "button", className: "button", textContent: gettext("Close"), autofocus: true })
  const problem = element("p", { className: "error", role: "alert", hidden: true })
  const use = element("button", { type: "button", className: "button primary", textContent: gettext("Use it now") })
  const ready = element("div", { className: "model-ready", role: "status" }, element("p", { textContent: gettext("The model is here. Your photo and your mask stay as they are.") }), use)
  dialog.setAttribute("aria-labelledby", "recommended-title")

  const showReady = () => { ready.hidden = installedIn(dialog) <= installed }
  /** @param {Element | null} section */
  const show = (section) => {
    if (!section) return location.assign(url)
    dialog.replaceChildren(section, problem, ready)
    section.querySelector(".advice-head")?.append(close)
    const card = section.querySelector(`#${wanted}`)
    card?.parentElement?.prepend(card)
    showReady()
    followCards(section, url, showReady)
  }
  /** @param {SubmitEvent} event */
  const send = async (event) => {
    const [form, button] = /** @type {[HTMLFormElement, HTMLButtonElement]} */ ([event.target, event.submitter])
    event.preventDefault()
    button.disabled = true
    try {
      const answer = await getPage(form.action, { method: "POST", body: new FormData(form) })
      show(sectionOf(answer, url))
      problem.textContent = answer.querySelector(".message.error span")?.textContent ?? ""
    } catch (error) {
      button.disabled = false
      problem.textContent = /** @type {Error} */ (error).message
    }
    problem.hidden = !problem.textContent
  }
  dialog.addEventListener("submit", send)
  close.addEventListener("click", () => dialog.close())
  use.addEventListener("click", () => location.reload()) // the form of the page has what the models can do
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close() })
  dialog.addEventListener("close", () => dialog.remove())
  document.body.append(dialog)
  show(first)
  dialog.showModal()
}

/** The recommendations for this machine; null on another page. @param {Document} page @param {string} url */
function sectionOf(page, url) {
  const section = page.getElementById(RECOMMENDED)
  if (!section) return null
  section.querySelector("form.machine")?.remove()
  for (const link of section.querySelectorAll('a[href^="#"]')) link.setAttribute("href", `${url}${link.getAttribute("href")}`)
  return document.adoptNode(section)
}

/** @param {Element} root */
const installedIn = (root) => root.querySelectorAll('.model[data-state="installed"]').length
