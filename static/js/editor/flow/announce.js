// What a screen reader says while the page is looked at elsewhere. The region is there from the start: what appears together
// with its region is not read by every screen reader.

import { byId } from "dom"

const $ = /** @type {import("dom").ById} */ (byId)

/** Has a screen reader say this after what it is saying. @param {string} text */
export function announce(text) {
  $("announcement").textContent = text
}
