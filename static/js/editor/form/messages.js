// Messages of the page: each kind of error has its place beside the input that it concerns.

import { ApiError } from "api"
import { Refused } from "editor/document/files"

/** Shows a message at one of the places of the page: photo, mask, prompt or generate; an empty one removes it. */
export function showMessage(place, message) {
  const element = /** @type {HTMLElement} */ (document.getElementById(`${place}-message`))
  element.textContent = message
  element.hidden = !message
}

/** Runs `action` and shows its error, if it has a message for people, at `place`. */
export async function reportErrors(place, action) {
  showMessage(place, "")
  try {
    await action()
  } catch (error) {
    if (!isForPeople(error)) throw error
    showMessage(place, error.message)
  }
}

/** Whether the error's message was written for a person. */
export const isForPeople = (error) => error instanceof Refused || error instanceof ApiError

/** The place for errors of a field of the API. */
export const placeOf = (field) =>
  ({ image: "photo", mask: "mask", prompt: "prompt", negative_prompt: "prompt" })[field] ?? "generate"
