// The pages for signed-out people: a button beside each password shows it, so that it has to be typed only once.

import { element } from "dom"
import { gettext } from "text"

for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll(".auth-card input[type=password]"))) {
  const button = element("button", { type: "button", className: "link show-password", title: gettext("Show the password"), textContent: gettext("Show") })
  button.setAttribute("aria-controls", input.id)
  button.addEventListener("click", () => {
    const isHidden = input.type === "password"
    input.type = isHidden ? "text" : "password"
    button.textContent = isHidden ? gettext("Hide") : gettext("Show")
    button.title = isHidden ? gettext("Hide the password") : gettext("Show the password")
  })
  input.after(button)
}
