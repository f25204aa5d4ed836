// Messages of the page: each kind of error has its place beside the input that it concerns.

import { ApiError } from "api"
import { Refused } from "editor/document/files"

/** Shows a message at one of the places of the page: photo, mask, prompt or generate; an empty one removes it.
 *  @param {string} place @param {string} message */
export function showMessage(place, message) {
  const element = /** @type {HTMLElement} */ (document.getElementById(`${place}-message`))
  element.textContent = message
  element.hidden = !message
}

/** Runs `action` and shows its error, if it has a message for people, at `place`.
 *  @param {string} place @param {() => Promise<void>} action */
export async function reportErrors(place, action) {
  showMessage(place, "")
  try {
    await action()
  } catch (error) {
    if (!isForPeople(error)) throw error
    showMessage(place, error.message)
  }
}

/** Whether the error's message was written for a person. @param {unknown} error @returns {error is Refused | ApiError} */
export const isForPeople = (error) => error instanceof Refused || error instanceof ApiError

/** The place for errors of a field of the API. @param {string} field */
export const placeOf = (field) =>
  (/** @type {Record<string, string>} */ ({ image: "photo", mask: "mask", prompt: "prompt", negative_prompt: "prompt" }))[field] ?? "generate"
