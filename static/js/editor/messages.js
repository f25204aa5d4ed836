// What the page says and where: each thing that can be wrong has its place, beside what it is about.

import { ApiError } from "api"
import { Refused } from "editor/files"

/** Puts words for a person at one of the places of the page: photo, mask, prompt or generate; none takes them away. */
export function say(place, message) {
  const element = document.getElementById(`${place}-message`)
  element.textContent = message
  element.hidden = !message
}

/** Does something and says at `place` why it could not be done. */
export async function saying(place, deed) {
  say(place, "")
  try {
    await deed()
  } catch (error) {
    if (!isForPeople(error)) throw error
    say(place, error.message)
  }
}

/** Whether the error's message was written for a person. */
export const isForPeople = (error) => error instanceof Refused || error instanceof ApiError

/** Where to speak of a field of the API. */
export const placeOf = (field) =>
  ({ image: "photo", mask: "mask", prompt: "prompt", negative_prompt: "prompt" })[field] ?? "generate"
