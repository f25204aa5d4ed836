// Keys as texts, such as "Ctrl+Shift+Z": whether an event matches one, and how it is shown. Pure: no DOM.
//
// Ctrl is also the command key of a Mac. Shift is part of letters and named keys only; "?" is what is typed.

/** Whether a keydown event is this key. @param {string} key
 *  @param {Pick<KeyboardEvent, "key" | "code" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey"> & Partial<KeyboardEvent>} event */
export function matches(event, key) {
  const { ctrl, alt, shift, name } = parse(key)
  const isCharacter = event.getModifierState?.("AltGraph") // it types [ and ] on some keyboards, as Ctrl and Alt on some systems
  if (ctrl !== (!isCharacter && (event.ctrlKey || event.metaKey)) || alt !== (!isCharacter && event.altKey)) return false
  const typed = typedBy(event)
  return typed === name && (shift === event.shiftKey || (name.length === 1 && !/[a-z]/.test(name)))
}

/** "Ctrl+Shift+Z" -> "Ctrl+Shift+Z", or "⌘⇧Z" on a Mac; "ArrowLeft" -> "←" @param {string} key */
export function shown(key, isMac = false) {
  const { ctrl, alt, shift, name } = parse(key)
  const marks = isMac ? { ctrl: "⌘", alt: "⌥", shift: "⇧" } : { ctrl: "Ctrl+", alt: "Alt+", shift: "Shift+" }
  const plain = SHOWN[name] ?? (name.length === 1 ? name.toUpperCase() : key.split("+").at(-1))
  return `${ctrl ? marks.ctrl : ""}${alt ? marks.alt : ""}${shift ? marks.shift : ""}${plain}`
}

/** For the attribute aria-keyshortcuts: "Ctrl+Z" -> "Control+Z" @param {string} key */
export const forAria = (key) => key.replace("Ctrl", "Control")

/** @type {Record<string, string>} */
const SHOWN = { arrowleft: "←", arrowright: "→", arrowup: "↑", arrowdown: "↓", escape: "Esc", delete: "Del" }

/** @param {string} key */
function parse(key) {
  const parts = key === "+" ? ["+"] : key.split("+")
  /** @param {string} modifier */
  const has = (modifier) => parts.slice(0, -1).includes(modifier)
  return { ctrl: has("Ctrl"), alt: has("Alt"), shift: has("Shift"), name: /** @type {string} */ (parts.at(-1)).toLowerCase() }
}

/** The key's name in lower case. On keyboards of other scripts a letter is that of its place on a Latin one.
 *  @param {Pick<KeyboardEvent, "key" | "code">} event */
function typedBy({ key, code }) {
  if (code === "Space") return "space"
  if (key.length === 1 && key > "\u007f" && /^(Key[A-Z]|Digit[0-9])$/.test(code)) return /** @type {string} */ (code.at(-1)).toLowerCase()
  return key.toLowerCase()
}
