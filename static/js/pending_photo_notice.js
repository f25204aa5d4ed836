// The pages for signing in and up: name the pending photo to be opened.

import { pendingPhoto } from "pending_photo"

const file = await pendingPhoto()
const place = document.getElementById("pending-photo")
if (file && place) {
  const name = /** @type {HTMLElement} */ (place.querySelector("bdi"))
  name.textContent = file.name
  place.hidden = false
}
