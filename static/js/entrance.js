// The pages for signing in and up: name the photo that waits to be opened.

import { waiting } from "waiting_photo"

const file = await waiting()
const place = document.getElementById("waiting-photo")
if (file && place) {
  place.querySelector("bdi").textContent = file.name
  place.hidden = false
}
