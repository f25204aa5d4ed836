// Shows why a passkey could not be used: allauth's scripts report it as an event of the document.

import { gettext } from "text"

const problem = /** @type {HTMLElement} */ (document.getElementById("passkey-problem"))

/** @type {Record<string, string>} */
const REASONS = {
  NotAllowedError: gettext("It was cancelled, or took too long. Try again."),
  InvalidStateError: gettext("This device or key is already added."),
  SecurityError: gettext("Passkeys belong to a host name with HTTPS, or to localhost; this address has none."),
}

/** @param {string} text */
const show = (text) => {
  problem.textContent = text
  problem.hidden = false
}

document.addEventListener("allauth.error", (event) => {
  event.preventDefault()
  const { exception } = /** @type {CustomEvent<{exception: Error}>} */ (event).detail
  show(REASONS[exception.name] ?? gettext("The passkey could not be used: {reason}", { reason: exception.message }))
})

if (!window.PublicKeyCredential) show(gettext("Passkeys need HTTPS, or the address localhost, and a browser that knows them."))
