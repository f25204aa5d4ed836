// Keys and the table of commands.

import assert from "node:assert/strict"
import { test } from "node:test"

import { COMMANDS } from "editor/input/commands"
import { matches, shown } from "editor/input/keys"

/** What a KeyboardEvent of the browser has. */
const eventOf = ({ code = "", ctrlKey = false, metaKey = false, altKey = false, shiftKey = false, altGraph = false, key }) =>
  ({ key, code, ctrlKey, metaKey, altKey, shiftKey, getModifierState: (name) => name === "AltGraph" && altGraph })

test("a key matches what is typed on any keyboard", () => {
  const cases = [
    ["Ctrl+Z", { key: "z", ctrlKey: true }, true],
    ["Ctrl+Z", { key: "z", metaKey: true }, true],
    ["Ctrl+Z", { key: "Z", ctrlKey: true, shiftKey: true }, false],
    ["Ctrl+Shift+Z", { key: "Z", ctrlKey: true, shiftKey: true }, true],
    ["B", { key: "b" }, true],
    ["B", { key: "b", altKey: true }, false],
    ["B", { key: "и", code: "KeyB" }, true],
    ["?", { key: "?", shiftKey: true }, true],
    ["+", { key: "+", shiftKey: true }, true],
    ["[", { key: "[", ctrlKey: true, altKey: true, altGraph: true }, true],
    ["[", { key: "[", ctrlKey: true, altKey: true }, false],
    ["Space", { key: " ", code: "Space" }, true],
    ["Shift+ArrowLeft", { key: "ArrowLeft", shiftKey: true }, true],
    ["ArrowLeft", { key: "ArrowLeft", shiftKey: true }, false],
  ]
  for (const [key, event, isMatch] of cases) assert.equal(matches(eventOf(event), key), isMatch, `${key}: ${JSON.stringify(event)}`)
})

test("keys are shown as the system writes them", () => {
  const keys = ["Ctrl+Shift+Z", "+", "ArrowLeft", "Space"]
  assert.deepEqual(keys.map((key) => shown(key)), ["Ctrl+Shift+Z", "+", "←", "Space"])
  assert.deepEqual(keys.map((key) => shown(key, true)), ["⌘⇧Z", "+", "←", "Space"])
})

test("every command has its own name and its own keys", () => {
  const ids = COMMANDS.map(({ id }) => id)
  assert.deepEqual(ids, [...new Set(ids)])
  const keys = COMMANDS.flatMap(({ where = "", keys = [] }) => keys.map((key) => where + key))
  assert.deepEqual(keys, [...new Set(keys)])
})
