// The dialog that asks to sign in again. Signing in by other means than a password is done in another tab.

import { element } from "dom"
import { gettext } from "text"

const SIGN_IN_URL = "/accounts/login/"
const LOOK_EVERY_MS = 2000

/** @param {{email?: string, csrfToken: () => string, isSignedIn: () => Promise<boolean>}} session
 *  @returns {Promise<boolean>} whether there is a session now; false where the dialog was closed */
export function askToSignIn({ email, csrfToken, isSignedIn }) {
  const problem = element("p", { className: "error", role: "alert", hidden: true })
  const password = element("input", { id: "sign-in-password", type: "password", name: "password", autocomplete: "current-password", required: true, autofocus: true })
  const login = element("input", { id: "sign-in-email", type: "email", name: "login", autocomplete: "username", value: email ?? "", required: true })
  const submit = element("button", { className: "button primary", textContent: gettext("Sign in") })
  const later = element("button", { type: "button", className: "button", textContent: gettext("Not now") })
  const elsewhere = element("a", { href: SIGN_IN_URL, target: "_blank", rel: "opener", textContent: gettext("Sign in another way, in a new tab") })
  const form = element("form", { method: "post", action: SIGN_IN_URL },
    element("h2", { id: "sign-in-title", textContent: gettext("You are signed out") }),
    element("p", { textContent: gettext("Sign in to continue. Nothing on this page is lost.") }),
    field(gettext("Email"), login), field(gettext("Password"), password), problem,
    element("p", { className: "help" }, elsewhere),
    element("div", { className: "actions" }, submit, later))
  const dialog = element("dialog", { className: "sheet sign-in" }, form)
  dialog.setAttribute("aria-labelledby", "sign-in-title")

  /** @param {string} text */
  const showProblem = (text) => { problem.textContent = text; problem.hidden = !text }
  const look = () => isSignedIn().then((is) => { if (is) dialog.close("signed in") }, () => {})

  form.addEventListener("submit", async (event) => {
    event.preventDefault()
    submit.disabled = true
    try {
      const refused = await signIn(new FormData(form), csrfToken())
      showProblem(refused)
      if (!refused && await isSignedIn()) dialog.close("signed in")
      else if (!refused) showProblem(gettext("One more step is needed: use the link below, in a new tab."))
    } catch {
      showProblem(gettext("The server cannot be reached. Check the connection and try again."))
    }
    submit.disabled = false
  })
  later.addEventListener("click", () => dialog.close())

  document.body.append(dialog)
  dialog.showModal()
  const looking = setInterval(look, LOOK_EVERY_MS)
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      clearInterval(looking)
      dialog.remove()
      resolve(dialog.returnValue === "signed in")
    })
  })
}

/** Posts the form of the sign-in page. @param {FormData} data @param {string} token @returns {Promise<string>} why it was refused; "" where it was not */
async function signIn(data, token) {
  const headers = { "X-CSRFToken": token, "X-Requested-With": "XMLHttpRequest", Accept: "application/json" }
  const response = await fetch(SIGN_IN_URL, { method: "POST", body: data, headers, credentials: "same-origin" })
  if (response.status === 429) return gettext("Too many attempts. Wait a minute and try again.")
  const answer = await response.json().catch(() => null)
  if (response.ok) return ""
  /** @type {{errors?: string[], fields?: Record<string, {errors: string[]}>}} */
  const { errors = [], fields = {} } = answer?.form ?? {}
  return [...errors, ...Object.values(fields).flatMap((one) => one.errors)][0] ?? gettext("The server answered {status}. Try again in a moment.", { status: response.status })
}

/** @param {string} label @param {HTMLInputElement} input */
const field = (label, input) =>
  element("div", { className: "field" }, element("label", { htmlFor: input.id, textContent: label }), input)
