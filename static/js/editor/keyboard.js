// The keys of the editor. Single letters are ignored while a text field has the focus.

/** `actions` has a function for each name below. */
export function listenKeys(actions) {
  document.addEventListener("keydown", (event) => {
    const action = actionOf(event)
    if (!action) return
    event.preventDefault()
    actions[action](event)
  })
  document.addEventListener("keyup", (event) => { if (event.code === "Space") actions.handOff() })
}

const LETTERS = { "[": "smaller", "]": "larger", b: "brush", e: "eraser", x: "invert", 0: "fit" }

function actionOf(event) {
  const control = event.ctrlKey || event.metaKey
  const key = event.key.toLowerCase()
  if (control && key === "enter") return "generate"
  if (event.altKey || isWriting(event.target)) return null
  if (control) return { z: event.shiftKey ? "redo" : "undo", y: "redo" }[key] ?? null
  if (event.code === "Space" && event.target.matches("body, main, .stage, .stage *")) return "handOn"
  return LETTERS[key] ?? null
}

const isWriting = (target) => target.matches?.("textarea, select, input:not([type=range], [type=checkbox], [type=button])")
