// The pages for signing in and up: name the pending photo to be opened.

import { pendingPhoto } from "pending_photo"

const file = await pendingPhoto()
const place = document.getElementById("pending-photo")
if (file && place) {
  place.querySelector("bdi").textContent = file.name
  place.hidden = false
}
