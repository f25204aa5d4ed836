// The help sheet: a dialog with the keys of all commands.

import { element } from "dom"
import { gettext } from "text"

/** @typedef {[string, [string, string[]][]]} Group  title, then label and keys of each command */

/** Opens the sheet. @param {Group[]} groups */
export function openHelp(groups) {
  const dialog = element("dialog", { className: "sheet help-sheet" })
  const close = element("button", { type: "button", className: "button", textContent: gettext("Close"), autofocus: true })
  const title = element("h2", { id: "help-title", textContent: gettext("Keys and gestures") })
  dialog.setAttribute("aria-labelledby", title.id)
  const head = element("header", { className: "help-head" }, title, close)
  dialog.append(head, element("div", { className: "help-groups" }, ...groups.map(section)))
  close.addEventListener("click", () => dialog.close())
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close() })
  dialog.addEventListener("close", () => dialog.remove())
  document.body.append(dialog)
  dialog.showModal()
}

/** @param {Group} group */
function section([title, commands]) {
  const list = element("dl", { className: "help-keys" })
  for (const [label, keys] of commands) {
    const shown = keys.flatMap((key, index) => [...(index ? [` ${gettext("or")} `] : []), element("kbd", { textContent: key })])
    list.append(element("div", {}, element("dt", { textContent: label }), element("dd", {}, ...shown)))
  }
  return element("section", {}, element("h3", { textContent: title }), list)
}
