// The palette: one text field that finds every command, setting, preset, recent prompt and page by its words.

import { element } from "dom"
import { gettext } from "text"

const MOST_SHOWN = 12

/** @typedef {{label: string, kind: string, keys?: string, run: () => void}} Entry  kind: what it is, shown beside it */

/** Opens the palette over these entries. @param {Entry[]} entries */
export function openPalette(entries) {
  const field = element("input", { type: "text", className: "palette-field", placeholder: gettext("Find a command, a setting, a page…"), autocomplete: "off", spellcheck: false })
  const list = element("ul", { className: "palette-list", id: "palette-list", role: "listbox" })
  const none = element("p", { className: "help palette-none", textContent: gettext("Nothing has these words.") })
  const dialog = element("dialog", { className: "sheet palette" }, field, list, none)
  for (const [name, value] of Object.entries({ role: "combobox", "aria-expanded": "true", "aria-controls": list.id, "aria-label": gettext("Find a command") })) field.setAttribute(name, value)
  list.setAttribute("aria-label", gettext("What was found"))
  dialog.setAttribute("aria-label", gettext("Commands"))
  /** @type {Entry[]} */
  let found = []
  let chosen = 0

  const show = () => {
    found = find(entries, field.value).slice(0, MOST_SHOWN)
    chosen = Math.min(chosen, Math.max(0, found.length - 1))
    list.replaceChildren(...found.map((entry, index) => option(entry, index, index === chosen, () => use(entry))))
    none.hidden = found.length > 0
    if (found.length) field.setAttribute("aria-activedescendant", `palette-${chosen}`)
    else field.removeAttribute("aria-activedescendant")
  }
  /** @param {Entry} entry */
  const use = (entry) => {
    dialog.close()
    entry.run()
  }
  field.addEventListener("input", () => { chosen = 0; show() })
  field.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (event.key === "Enter" && found[chosen]) use(found[chosen])
    else if (step && found.length) chosen = (chosen + step + found.length) % found.length
    else return
    event.preventDefault()
    if (dialog.open) show()
  })
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close() })
  dialog.addEventListener("close", () => dialog.remove())
  document.body.append(dialog)
  dialog.showModal()
  show()
}

/** The entries with all the words of a text; those that begin with it first. Pure. @param {Entry[]} entries @param {string} text */
export function find(entries, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  const matching = entries.filter(({ label, kind }) => words.every((word) => `${label} ${kind}`.toLowerCase().includes(word)))
  /** @param {Entry} entry */
  const rank = ({ label }) => (words.length && label.toLowerCase().startsWith(words[0]) ? 0 : 1)
  return matching.toSorted((one, other) => rank(one) - rank(other))
}

/** @param {Entry} entry @param {number} index @param {boolean} isChosen @param {() => void} onUse */
function option({ label, kind, keys }, index, isChosen, onUse) {
  const item = element("li", { id: `palette-${index}`, role: "option" }, element("span", { textContent: label, dir: "auto" }), element("small", { textContent: kind }))
  if (keys) item.append(element("kbd", { textContent: keys }))
  item.setAttribute("aria-selected", String(isChosen))
  item.addEventListener("click", onUse)
  return item
}
