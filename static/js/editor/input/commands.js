// The commands of the editor: one table gives their keys, labels, tooltips and the help sheet. Modules connect what
// they do. An element with data-command="undo" runs that command; its tooltip, key and state come from here. With
// data-closes it then closes the popover that it is in.

import { forAria, matches, shown } from "editor/input/keys"
import { KEY_AFTER, KEY_BEFORE, gettext, pgettext } from "text"

/** @typedef {{id: string, label: string, keys?: string[], group: string, where?: "surface" | "result", inFields?: boolean, shown?: string, help?: string}} Command
 *  where: "surface": its keys work only while the surface has the focus; "result": before others with the same keys; inFields: they work in text fields too;
 *  shown: in place of the keys on the help sheet; help: in place of the label in the tooltip */
/** @typedef {{run: (event?: Event) => void, end?: () => void, isEnabled?: () => boolean, isPressed?: () => boolean}} Handler
 *  end: the key was released; without it a held key repeats. isPressed: for commands that switch something */

export const TOOLS = gettext("Tools"), BRUSH = gettext("Brush"), MASK = gettext("Mask"), VIEW = pgettext("a group of commands", "View"), IMAGE = gettext("Photo and result"), WITHOUT = gettext("Without a mouse")

/** @type {Command[]} */
export const COMMANDS = [
  { id: "brush", label: gettext("Brush"), keys: ["B"], group: TOOLS },
  { id: "eraser", label: gettext("Eraser"), keys: ["E"], group: TOOLS },
  { id: "object", label: gettext("Select an object"), keys: ["A"], group: TOOLS },
  { id: "object-part", label: gettext("Add to the selected object; with Alt, take away"), group: TOOLS, shown: gettext("Shift+click") },
  { id: "smaller-object", label: gettext("Select less: a part of the object"), keys: [","], group: TOOLS },
  { id: "larger-object", label: gettext("Select more: what the object belongs to"), keys: ["."], group: TOOLS },
  { id: "wand", label: gettext("Magic wand"), keys: ["W"], group: TOOLS },
  { id: "lasso", label: gettext("Lasso"), keys: ["L"], group: TOOLS },
  { id: "polygon", label: gettext("Polygon"), keys: ["P"], group: TOOLS },
  { id: "rectangle", label: gettext("Rectangle"), keys: ["R"], group: TOOLS },
  { id: "ellipse", label: gettext("Ellipse"), keys: ["O"], group: TOOLS },
  { id: "frame", label: gettext("Extend the photo"), keys: ["F"], group: TOOLS },
  { id: "insert", label: gettext("Place the image to insert"), keys: ["I"], group: TOOLS },
  { id: "hand", label: gettext("Move the photo, while held"), keys: ["Space"], group: VIEW },

  { id: "smaller", label: gettext("Smaller brush"), keys: ["["], group: BRUSH },
  { id: "larger", label: gettext("Larger brush"), keys: ["]"], group: BRUSH },
  { id: "softer", label: gettext("Softer brush"), keys: ["{"], group: BRUSH },
  { id: "harder", label: gettext("Harder brush"), keys: ["}"], group: BRUSH },
  { id: "straight", label: gettext("Straight lines: drag one, or click from end to end"), keys: ["S"], group: BRUSH, shown: gettext("S, Shift+click") },
  { id: "right-erases", label: gettext("Erase with any tool"), group: BRUSH, shown: gettext("Right button") },

  { id: "undo", label: gettext("Undo"), keys: ["Ctrl+Z"], group: MASK },
  { id: "redo", label: gettext("Redo"), keys: ["Ctrl+Shift+Z", "Ctrl+Y"], group: MASK },
  { id: "invert", label: gettext("Invert"), keys: ["X"], group: MASK },
  { id: "clear", label: pgettext("a mask", "Clear"), keys: ["Delete"], group: MASK },
  { id: "fill-holes", label: gettext("Fill holes"), group: MASK },
  { id: "grow", label: gettext("Grow"), group: MASK },
  { id: "shrink", label: gettext("Shrink"), group: MASK },
  { id: "feather", label: gettext("Feather"), group: MASK },
  { id: "shadow", label: gettext("With its shadow or mirror image"), group: MASK },
  { id: "mask-download", label: gettext("Download the mask"), group: MASK },
  { id: "finish", label: gettext("Close the polygon, or use the previewed change"), keys: ["Enter"], group: MASK },
  { id: "escape", label: gettext("Stop what is being drawn"), keys: ["Escape"], group: MASK },

  { id: "zoom-in", label: gettext("Zoom in"), keys: ["+", "="], group: VIEW },
  { id: "zoom-out", label: gettext("Zoom out"), keys: ["-"], group: VIEW },
  { id: "fit", label: gettext("Show the whole photo"), keys: ["0"], group: VIEW },
  { id: "actual-size", label: gettext("Show at 100 %"), keys: ["1"], group: VIEW },
  { id: "overlay", label: gettext("Mask as overlay, outline or alone"), keys: ["V"], group: VIEW },
  { id: "wheel", label: gettext("Zoom at the pointer"), group: VIEW, shown: gettext("Wheel, two fingers") },

  { id: "open", label: gettext("Open a photo"), keys: ["Ctrl+O"], group: IMAGE },
  { id: "generate", label: gettext("Remove, replace or extend"), keys: ["Ctrl+Enter"], group: IMAGE, inFields: true },
  { id: "keep", label: gettext("Keep the result"), keys: ["K"], group: IMAGE },
  { id: "back", label: gettext("Back from the result"), keys: ["Escape"], group: IMAGE, where: "result" },
  { id: "result-before", label: gettext("The result before"), keys: [KEY_BEFORE], group: IMAGE },
  { id: "result-after", label: gettext("The next result"), keys: [KEY_AFTER], group: IMAGE },
  { id: "more-like-this", label: gettext("More like this result"), keys: ["M"], group: IMAGE, help: gettext("One more result with the same settings and another seed") },
  { id: "side-by-side", label: gettext("All results side by side"), keys: ["G"], group: IMAGE },
  { id: "help", label: gettext("Keys"), keys: ["?"], group: IMAGE },
  { id: "palette", label: gettext("Find a command, a setting or a page"), keys: ["Ctrl+K"], group: IMAGE, inFields: true },

  { id: "crosshair", label: gettext("Move the crosshair"), group: WITHOUT, where: "surface", shown: gettext("← → ↑ ↓, with Shift faster"),
    keys: ["Left", "Right", "Up", "Down"].flatMap((way) => [`Arrow${way}`, `Shift+Arrow${way}`]) },
  { id: "larger-insert", label: gettext("Enlarge the image to insert; the arrow keys move it"), keys: ["+", "="], group: WITHOUT, where: "surface" },
  { id: "smaller-insert", label: gettext("Shrink the image to insert"), keys: ["-"], group: WITHOUT, where: "surface" },
  { id: "insert-left", label: gettext("Rotate the image to insert to the left"), keys: [","], group: WITHOUT, where: "surface" },
  { id: "insert-right", label: gettext("Rotate the image to insert to the right"), keys: ["."], group: WITHOUT, where: "surface" },
  { id: "press", label: gettext("Use the tool at the crosshair; a second time ends a shape"), keys: ["Enter", "Shift+Enter"], group: WITHOUT, where: "surface" },
]

export class Commands {
  #table
  /** @type {Map<string, Handler>} */
  #handlers = new Map()
  /** @type {Command | null} */
  #held = null
  #isMac = /mac/i.test(navigator.platform)
  #isOverSurface

  /** Listens to keys and to the clicks of elements with data-command. @param {{surface: Element, table?: Command[]}} options */
  constructor({ surface, table = COMMANDS }) {
    this.#table = table
    this.#isOverSurface = () => surface.matches(":hover")
    document.addEventListener("keydown", (event) => this.#keydown(event, surface))
    document.addEventListener("keyup", (event) => { if (this.#held?.keys && matches(plain(event), this.#held.keys[0])) this.#release(event) })
    window.addEventListener("blur", () => this.#release())
    document.addEventListener("click", (event) => {
      const target = /** @type {Element} */ (event.target)
      /** @type {HTMLElement | null} */
      const button = target.closest?.("[data-command]")
      if (button) this.run(/** @type {string} */ (button.dataset.command), event)
      /** @type {HTMLElement | null} */
      const popover = button && "closes" in button.dataset ? button.closest(":popover-open") : null
      popover?.hidePopover()
    })
    this.connect({ help: { run: () => import("editor/input/help").then(({ openHelp }) => openHelp(this.described())) } })
  }

  /** Says what commands do. @param {Record<string, Handler | Handler["run"]>} handlers by the ids of their commands */
  connect(handlers) {
    for (const [id, handler] of Object.entries(handlers)) {
      if (!this.#table.some((command) => command.id === id)) throw new RangeError(`There is no command ${id}.`)
      this.#handlers.set(id, typeof handler === "function" ? { run: handler } : handler)
    }
    this.refresh()
  }

  /** @param {string} id */
  isEnabled(id) {
    const handler = this.#handlers.get(id)
    return Boolean(handler) && (/** @type {Handler} */ (handler).isEnabled?.() ?? true)
  }

  /** Runs a command, unless it is disabled. Returns whether it ran. @param {string} id @param {Event} [event] */
  run(id, event) {
    if (!this.isEnabled(id)) return false
    ;/** @type {Handler} */ (this.#handlers.get(id)).run(event)
    this.refresh()
    return true
  }

  /** Gives every element with data-command its label, tooltip, key and state. Call it when a state changes. @param {ParentNode} root */
  refresh(root = document) {
    for (const element of /** @type {NodeListOf<HTMLButtonElement>} */ (root.querySelectorAll("[data-command]"))) {
      const command = /** @type {Command} */ (this.#table.find(({ id }) => id === element.dataset.command))
      const keys = (command.keys ?? []).map((key) => shown(key, this.#isMac))
      const help = command.help ?? command.label
      element.title = keys.length ? `${help} (${keys[0]})` : help
      if (command.keys) element.setAttribute("aria-keyshortcuts", command.keys.map(forAria).join(" "))
      if (!element.textContent.trim()) element.setAttribute("aria-label", command.label)
      element.disabled = !this.isEnabled(command.id)
      const isPressed = this.#handlers.get(command.id)?.isPressed?.()
      if (isPressed !== undefined) element.setAttribute("aria-pressed", String(isPressed))
    }
  }

  /** What can be run now, for the palette. @returns {{id: string, label: string, keys: string}[]} */
  runnable() {
    /** @param {Command} command */
    const isListed = ({ id, where }) => id !== "palette" && where !== "surface" && this.isEnabled(id) && !this.#handlers.get(id)?.end
    return this.#table.filter(isListed).map(({ id, label, keys }) => ({ id, label, keys: keys ? shown(keys[0], this.#isMac) : "" }))
  }

  /** Connected commands, and gestures, for the help sheet: group, then label and keys of each.
   *  @returns {[string, [string, string[]][]][]} */
  described() {
    const rows = this.#table.filter(({ id, keys, shown }) => (this.#handlers.has(id) ? keys : shown && !keys))
    return [...Map.groupBy(rows, ({ group }) => group)].map(([group, commands]) => [
      group,
      commands.map((command) => [command.label, command.shown ? [command.shown] : (command.keys ?? []).map((key) => shown(key, this.#isMac))]),
    ])
  }

  /** @param {KeyboardEvent} event @param {Element} surface */
  #keydown(event, surface) {
    const command = this.#commandOf(event, document.activeElement === surface)
    if (!command) return
    const { end } = /** @type {Handler} */ (this.#handlers.get(command.id))
    event.preventDefault()
    if (end && this.#held) return // it repeats
    if (this.run(command.id, event) && end) this.#held = command
  }

  /** @param {KeyboardEvent} event @param {boolean} isOnSurface */
  #commandOf(event, isOnSurface) {
    if (document.querySelector("dialog:modal")) return null
    if (event.key === "Escape" && document.querySelector(":popover-open")) return null // it closes that alone
    /** @param {Command} command */
    const isHere = ({ id, where, inFields }) => {
      if (!this.isEnabled(id) || (where === "surface" && !isOnSurface)) return false
      return inFields || !isTaken(event, this.#isOverSurface())
    }
    const found = this.#table.filter((command) => command.keys?.some((key) => matches(event, key)) && isHere(command))
    return found.find(({ where }) => where) ?? found[0]
  }

  /** @param {Event} [event] */
  #release(event) {
    if (!this.#held) return
    event?.preventDefault() // or the space bar would press the button that has the focus
    ;/** @type {Required<Handler>} */ (this.#handlers.get(this.#held.id)).end()
    this.#held = null
  }
}

/** Whether the element with the focus needs the key itself: all of them in a text, Enter on what can be pressed. Space
 *  there presses it too, but moves the photo while the pointer is over that.
 *  @param {KeyboardEvent} event @param {boolean} isOverSurface */
function isTaken(event, isOverSurface) {
  const target = /** @type {Element} */ (event.target)
  if (target.matches?.("textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=radio], [type=button])")) return true
  const canPress = target.closest?.("button, a[href], summary, input, label, [role=button]")
  if (canPress && event.key === "Enter") return true
  if (canPress && event.code === "Space") return !isOverSurface
  return Boolean(target.matches?.("input[type=range], input[type=radio]")) && event.key.startsWith("Arrow")
}

/** An event of a key without its modifiers, which may be released first. @param {KeyboardEvent} event */
const plain = ({ key, code }) => ({ key, code, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false })
