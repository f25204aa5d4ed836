// The steps of a photo in the document: how hiding, keeping and undo change them.

import assert from "node:assert/strict"
import { test } from "node:test"

import * as documents from "editor/document/document"
import { equal, generationsIn, readStack, restored, seenBeneath, stackOf, toggled, withResult } from "editor/document/stack"

const step = (generation, changes = {}) => ({ generation, image: 0, hidden: false, painted_back: null, made_on: [], ...changes })
const served = (generation, changes = {}) => ({ ...step(generation, changes), url: `/${generation}`, changes_size: false, ...changes })
const names = (steps) => steps.map(({ generation, hidden }) => `${generation}${hidden ? "-" : ""}`).join()

test("one step is hidden and seen again, the others stay as they are", () => {
  const steps = [served("a"), served("b"), served("c", { hidden: true })]
  assert.equal(names(toggled(steps, "a")), "a-,b,c-")
  assert.equal(names(toggled(toggled(steps, "a"), "a")), "a,b,c-")
})

test("a step that changes the size is hidden with all after it, and seen with them", () => {
  const steps = [served("a"), served("b", { changes_size: true }), served("c"), served("d")]
  const hidden = toggled(steps, "b")
  assert.equal(names(hidden), "a,b-,c-,d-")
  assert.equal(names(toggled(hidden, "c")), "a,b,c,d-")
  assert.equal(names(toggled(hidden, "b")), "a,b,c-,d-")
})

test("a result is kept on top, or in place of the one that was run again", () => {
  const steps = [step("a"), step("b", { hidden: true })]
  assert.equal(names(withResult(steps, step("c"), undefined)), "a,b-,c")
  assert.equal(names(withResult(steps, step("c"), "a")), "c,b-")
  assert.equal(names(withResult(steps, step("c"), "b")), "a,c-")
  assert.equal(names(withResult(steps, step("c"), "gone")), "a,b-,c")
  assert.equal(names(withResult([...steps, step("c")], step("c"), undefined)), "a,b-,c", "it waited there")
})

test("undo brings steps back and keeps results that have arrived meanwhile", () => {
  const mine = [step("a")]
  const known = generationsIn([{ kind: "photo", stack: { steps: mine } }, { kind: "photo", stack: { steps: [step("a"), step("b")] } }, { kind: "mask" }])
  assert.equal(names(restored(mine, [step("a", { hidden: true }), step("b"), step("new")], known)), "a,new")
})

test("what is seen beneath a step leaves out what is hidden and what waits", () => {
  const stack = { steps: [served("a"), served("b", { hidden: true }), served("w", { url: null }), served("c")], seen: ["a/0", "c/0"] }
  assert.deepEqual(seenBeneath(stack, "c"), ["a/0"])
  assert.deepEqual(seenBeneath(stack, "a"), [])
})

test("a document keeps the stack of a photo, and another one without an entry to undo", () => {
  const stack = stackOf({ id: "s", steps: [served("a")], seen: ["a/0"] }, { paintsBack: "a" })
  const photo = { id: "a".repeat(64), name: "a.png", width: 1, height: 1 }
  const plain = documents.push(documents.emptyDocument(), { kind: "photo", photo, parent: "a", image: 0 })
  assert.equal(documents.view(plain).stack, undefined)
  const document = documents.withStack(documents.push(plain, { kind: "mask", operation: { kind: "invert" } }), stack, plain.entries[0])
  assert.equal(document.entries.length, 2)
  assert.deepEqual(documents.view(document).stack, stack)
  assert.deepEqual(documents.readDocument(JSON.parse(JSON.stringify(document))), document)
  assert.equal(documents.photoEntry(document).parent, "a")
  const another = documents.push(document, { kind: "photo", photo: { ...photo, id: "b".repeat(64) }, parent: "a", image: 0 })
  assert.equal(documents.latest(another, plain.entries[0]), document.entries[0], "it has got a stack meanwhile")
  assert.equal(documents.latest(documents.emptyDocument(), plain.entries[0]), undefined)
  assert.ok(equal(stack.steps, [served("a")]), "what the server adds does not count")
  assert.throws(() => readStack({ id: "s", steps: [{}], seen: [] }), RangeError)
})
