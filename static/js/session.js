// The session of the page: its CSRF token, and signing in again, in place, after it has ended.

/** The account that the page was made for; "" where nobody is signed in. */
export const account = document.body.dataset.account ?? ""

const SESSION_URL = "/session/"
/** @returns {NodeListOf<HTMLInputElement>} */
const tokenFields = () => document.querySelectorAll("input[name=csrfmiddlewaretoken]")
let token = tokenFields()[0]?.value ?? "" // scripts cannot read the CSRF cookie

/** @type {Promise<boolean> | null} */
let renewal = null
let wasDismissed = false

export const csrfToken = () => token

/** A request was refused for want of a session or of the right token: takes a fresh token, and asks to sign in where there
 *  is no session. Where another account is signed in the page is loaded again, so that neither sees what is the other's.
 *
 *  inBackground: do not ask again after a dialog was closed.
 *  @returns {Promise<boolean>} whether the same request may be repeated; false where nobody signed in */
export function renew({ inBackground = false } = {}) {
  if (inBackground && wasDismissed && !renewal) return Promise.resolve(false)
  renewal ??= restored().finally(() => { renewal = null })
  return renewal
}

async function restored() {
  if (!account) return false
  if (await isSignedIn()) return true
  const { askToSignIn } = await import("sign_in") // most pages never need it
  wasDismissed = !(await askToSignIn({ email: document.body.dataset.email, csrfToken, isSignedIn }))
  return !wasDismissed
}

/** Whether the session is that of the page's account. Takes its token; loads the page again for another account.
 *  Rejects with TypeError while the server cannot be reached.
 *  @returns {Promise<boolean>} */
export async function isSignedIn() {
  const response = await fetch(SESSION_URL, { credentials: "same-origin", cache: "no-store" })
  if (!response.ok) throw new TypeError(`The session cannot be read: ${response.status}.`)
  const session = await response.json()
  if (session.account && session.account !== account) {
    location.reload()
    return new Promise(() => {}) // nothing of this page may continue
  }
  token = session.csrf_token
  for (const field of tokenFields()) field.value = token
  if (session.account) wasDismissed = false
  return Boolean(session.account)
}
