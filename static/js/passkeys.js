// Shows why a passkey could not be used: allauth's scripts report it as an event of the document.

const problem = /** @type {HTMLElement} */ (document.getElementById("passkey-problem"))

/** @type {Record<string, string>} */
const REASONS = {
  NotAllowedError: "It was cancelled, or took too long. Try again.",
  InvalidStateError: "This device or key is already added.",
  SecurityError: "Passkeys belong to a host name with HTTPS, or to localhost; this address has none.",
}

/** @param {string} text */
const show = (text) => {
  problem.textContent = text
  problem.hidden = false
}

document.addEventListener("allauth.error", (event) => {
  event.preventDefault()
  const { exception } = /** @type {CustomEvent<{exception: Error}>} */ (event).detail
  show(REASONS[exception.name] ?? `The passkey could not be used: ${exception.message}`)
})

if (!window.PublicKeyCredential) show("Passkeys need HTTPS, or the address localhost, and a browser that knows them.")
