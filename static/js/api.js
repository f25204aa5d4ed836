// Requests to the API: every answer is JSON, every error an ApiError with a message for people.

export class ApiError extends Error {
  constructor({ status, message, code = "", field = "" }) {
    super(message)
    Object.assign(this, { status, code, field })
  }
}

/** Scripts cannot read the CSRF cookie; a hidden field of the page holds the token. */
const csrfToken = () => document.querySelector("input[name=csrfmiddlewaretoken]")?.value ?? ""

export const get = (url) => call(url, { method: "GET" })

export const post = (url, body, headers = {}) =>
  call(url, { method: "POST", body, headers: { ...headers, "X-CSRFToken": csrfToken() } })

/** An image of this site as a File, as if it had been picked from the disk. */
export async function fetchFile(url, name) {
  const response = await reach(url, {})
  if (!response.ok) throw new ApiError({ status: response.status, message: "This picture no longer exists." })
  const blob = await response.blob()
  return new File([blob], name, { type: blob.type })
}

async function call(url, options) {
  const response = await reach(url, { ...options, headers: { Accept: "application/json", ...options.headers } })
  const answer = await response.json().catch(() => null)
  if (response.ok && answer) return answer
  throw new ApiError({ ...(answer ?? {}), status: response.status, message: answer?.message ?? inWords(response.status) })
}

async function reach(url, options) {
  try {
    return await fetch(url, { credentials: "same-origin", ...options })
  } catch {
    throw new ApiError({ status: 0, code: "offline", message: "The server cannot be reached. Check the connection and try again." })
  }
}

function inWords(status) {
  if (status === 401 || status === 403) return "You are signed out. Sign in again in another tab, then try once more."
  if (status === 404) return "This no longer exists."
  if (status === 413) return "These files are too large for the server."
  return `The server answered ${status}. Try again in a moment.`
}
