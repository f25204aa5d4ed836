// The models page: the cards of models that are being pulled are refreshed; a machine that was chosen is shown at once.

import { followCards } from "model_cards"

followCards(document, location.pathname + location.search)

const machine = /** @type {HTMLFormElement | null} */ (document.querySelector("form.machine"))
if (machine) {
  const button = /** @type {HTMLButtonElement} */ (machine.querySelector("button"))
  button.hidden = true
  machine.addEventListener("change", () => machine.submit())
}
