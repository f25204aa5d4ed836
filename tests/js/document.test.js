// The document of the editor, its undo and redo, and its store.

import assert from "node:assert/strict"
import { test } from "node:test"

import * as documents from "editor/document/document"
import { chosen, merged } from "editor/document/merge"
import { Store } from "editor/document/store"

import { randomNumbers } from "./random.js"

const PHOTO = { kind: "photo", photo: { id: "a".repeat(64), name: "a.png", width: 1, height: 1 } }
const INVERT = { kind: "mask", operation: { kind: "invert" } }

/** A random entry with a number that tells it from others. */
function entryOf(number, { random, from }) {
  const kind = from(["photo", "mask", "mask", "mask", "frame"])
  if (kind === "photo") {
    const photo = { id: String(number).padStart(64, "0"), name: "a.png", width: 9, height: 7 }
    return { kind, photo, parent: random() < 0.5 ? null : String(number) }
  }
  if (kind === "frame") return { kind, frame: { left: number, top: 0, right: 1, bottom: 2 } }
  return { kind, operation: { kind: "grow", pixels: number } }
}

/** The view of a stack of entries. */
function viewOf(entries) {
  let view = { photo: null, parent: null, frame: documents.NO_FRAME, operations: [] }
  for (const { kind, photo, parent, frame, operation } of entries) {
    if (kind === "photo") view = { photo, parent, frame: documents.NO_FRAME, operations: [] }
    if (kind === "frame") view = { ...view, frame }
    if (kind === "mask") view = { ...view, operations: [...view.operations, operation] }
  }
  return view
}

for (let seed = 0; seed < 20; seed++) {
  test(`undo and redo of random entries equal a stack (seed ${seed})`, () => {
    const numbers = randomNumbers(seed)
    let document = documents.emptyDocument()
    let done = []
    let undone = []
    const mayUndo = () => done.length > (done[0]?.kind === "photo" ? 1 : 0) // the first photo stays
    for (let number = 0; number < 200; number++) {
      const old = document
      const before = JSON.stringify(old)
      const action = numbers.whole(5)
      if (action < 2) {
        if (mayUndo()) undone.push(done.pop())
        document = documents.undo(document)
      } else if (action === 2) {
        if (undone.length) done.push(undone.pop())
        document = documents.redo(document)
      } else {
        const entry = entryOf(number, numbers)
        document = documents.push(document, entry)
        done.push(entry)
        undone = []
      }
      assert.equal(JSON.stringify(old), before, "the old document changed")
      assert.deepEqual(documents.view(document), viewOf(done))
      assert.equal(documents.canUndo(document), mayUndo())
      assert.equal(documents.canRedo(document), undone.length > 0)
      assert.deepEqual(documents.readDocument(JSON.parse(JSON.stringify(document))), document)
    }
  })
}

test("a document names the images of undone entries too", () => {
  const file = { kind: "mask", operation: { kind: "file", image: "b".repeat(64), name: "m.png", repaints: "dark" } }
  const document = [PHOTO, INVERT, file].reduce(documents.push, documents.emptyDocument())
  assert.deepEqual([...documents.imageIds(documents.undo(document))], ["a".repeat(64), "b".repeat(64)])
})

test("a damaged document is refused", () => {
  const changes = [
    { version: 2 },
    { cursor: 1 },
    { cursor: -1 },
    { step: "away" },
    { generation: 3 },
    { alike: "no list" },
    { alike: [3] },
    { entries: [{ kind: "text" }] },
    { entries: [{ kind: "frame", frame: { left: -1, top: 0, right: 0, bottom: 0 } }] },
    { entries: [{ kind: "mask", operation: { kind: "grow" } }] },
  ]
  for (const change of changes) {
    assert.throws(() => documents.readDocument({ ...documents.emptyDocument(), ...change }), RangeError, JSON.stringify(change))
  }
})

test("a document keeps which generations are shown together, and one of an earlier version has none", () => {
  const { alike, ...earlier } = documents.emptyDocument()
  assert.deepEqual(documents.readDocument(earlier).alike, alike)
  const shown = documents.withState(documents.emptyDocument(), { generation: "b", alike: ["a", "b"], step: "result" })
  assert.deepEqual(documents.readDocument(JSON.parse(JSON.stringify(shown))).alike, ["a", "b"])
  assert.deepEqual(documents.withState(shown, documents.EDITING).alike, [])
})

test("a document of a development version, which called its images pictures, has the names of today", () => {
  const [id, other, third] = ["a", "b", "c"].map((letter) => letter.repeat(64))
  const found = { kind: "mask", operation: { kind: "picture", erases: true, picture: id, box: [0, 0, 2, 3] } }
  const file = { kind: "mask", operation: { kind: "file", picture: other, name: "picture", repaints: "dark" } }
  const settings = { prompt: "picture", control_image: { picture: third, name: "pose.png" } }
  const request = { key: "k", fields: { prompt: "picture" }, files: { image: { picture: id, name: "a.png" } } }
  const { requests, ...earlier } = documents.emptyDocument()
  const read = documents.readDocument({ ...earlier, entries: [PHOTO, found, file], cursor: 3, settings, request })
  assert.deepEqual(documents.view(read).operations, [
    { kind: "image", erases: true, image: id, box: [0, 0, 2, 3] },
    { kind: "file", image: other, name: "picture", repaints: "dark" },
  ])
  assert.deepEqual(read.settings, { prompt: "picture", control_image: { image: third, name: "pose.png" } })
  assert.deepEqual([...requests, ...read.requests], [{ ...request, files: { image: { image: id, name: "a.png" } } }])
  assert.deepEqual([...documents.imageIds(read)].sort(), [id, other, third])
})

test("a joined entry is undone and redone with the one before it", () => {
  const joined = { ...INVERT, isJoined: true }
  const opened = [PHOTO, INVERT, PHOTO, joined, INVERT].reduce(documents.push, documents.emptyDocument())
  const cursors = []
  for (let document = opened; documents.canUndo(document);) cursors.push((document = documents.undo(document)).cursor)
  assert.deepEqual(cursors, [4, 2, 1])
  assert.equal(documents.redo(documents.redo({ ...opened, cursor: 1 })).cursor, 4)
  assert.deepEqual(documents.readDocument(JSON.parse(JSON.stringify(opened))), opened)
  const first = [PHOTO, joined].reduce(documents.push, documents.emptyDocument())
  assert.equal(documents.undo(first).cursor, 1, "the first photo stays")
})

test("requests without an answer are kept in their order, each once, also where two documents are joined", () => {
  const [one, other, third] = ["1", "2", "3"].map((key) => ({ key, fields: {}, files: {} }))
  const kept = [one, other, one].reduce(documents.withRequest, documents.emptyDocument())
  assert.deepEqual(documents.readDocument(JSON.parse(JSON.stringify(kept))).requests, [other, one])
  assert.deepEqual(documents.withoutRequest(kept, "2").requests, [one])
  const mine = { entries: [PHOTO], cursor: 1, requests: [other, third] }
  assert.deepEqual(merged({ entries: [], cursor: 0, requests: [one, other] }, mine).requests, [one, other, third])
  const { requests, ...former } = JSON.parse(JSON.stringify(kept))
  assert.deepEqual(documents.readDocument({ ...former, request: one }).requests, [one], "as an earlier version wrote it")
  assert.throws(() => documents.readDocument({ ...kept, requests: [{ key: 1 }] }), RangeError)
})

test("a polygon that is not finished is kept until another entry comes", () => {
  const begun = { erases: false, points: [[1, 2], [3, 4]] }
  const open = documents.withState(documents.push(documents.emptyDocument(), PHOTO), { begun })
  assert.deepEqual(documents.readDocument(JSON.parse(JSON.stringify(open))).begun, begun)
  assert.equal(documents.push(open, INVERT).begun, null)
  for (const points of [[], [[1, "2"]]]) assert.throws(() => documents.readDocument({ ...open, begun: { points } }), RangeError)
})

test("what was left to the queue is kept until it is looked at, also where two devices' documents are joined", () => {
  const [one, other, third] = ["1", "2", "3"].map((generation) => ({ generation, photo: "a" }))
  const left = [one, other].reduce(documents.withLeft, documents.emptyDocument())
  assert.deepEqual(documents.readDocument(JSON.parse(JSON.stringify(left))).left, [one, other])
  assert.deepEqual(documents.withoutLeft(left, ["1"]).left, [other])
  const mine = { entries: [PHOTO], cursor: 1, left: [other, third] }
  assert.deepEqual(merged({ entries: [], cursor: 0, left: [one, other] }, mine).left, [one, other, third])
  assert.throws(() => documents.readDocument({ ...left, left: [{ generation: 1 }] }), RangeError)
})

test("the store calls its listeners with the document before and after", () => {
  const store = new Store()
  const seen = []
  const end = store.subscribe((after, before) => seen.push([before.step, after.step]))
  const { view } = store
  store.update((document) => document)
  store.update((document) => ({ ...document, step: "painting" }))
  end()
  store.update((document) => ({ ...document, step: "result" }))
  assert.deepEqual(seen, [["editing", "painting"]])
  assert.equal(store.document.step, "result")
  assert.equal(store.view, view)
})

test("another device's entries come before this one's from the photo on at which they part", () => {
  const frame = { kind: "frame", frame: { left: 1, top: 0, right: 0, bottom: 0 } }
  const theirs = { entries: [PHOTO, frame, INVERT], cursor: 2, step: "editing" }
  const mine = { entries: [PHOTO, INVERT, PHOTO, frame, INVERT], cursor: 4, step: "painting" }
  const both = merged(theirs, mine)
  assert.deepEqual(both, { entries: [PHOTO, frame, PHOTO, INVERT, PHOTO, frame, INVERT], cursor: 6, step: "painting" })
  assert.equal(merged(theirs, both).entries, both.entries, "nothing is in the other alone")
  assert.deepEqual(merged(theirs, { ...mine, cursor: 1 }).entries, [PHOTO, frame, ...mine.entries])
  assert.equal(merged(theirs, { entries: [], cursor: 0 }), theirs)
})

test("a page opens the server's document, unless this browser has changes that the server has not", () => {
  const [local, remote] = [{ entries: [PHOTO], cursor: 1 }, { entries: [PHOTO, INVERT], cursor: 2 }]
  const server = { revision: 5, document: remote }
  assert.deepEqual(chosen(null, server), { document: remote, isChanged: false })
  assert.deepEqual(chosen({ document: local, revision: 5, isSynced: true }, server), { document: remote, isChanged: false })
  assert.deepEqual(chosen({ document: local, revision: 5, isSynced: false }, server), { document: local, isChanged: true })
  assert.deepEqual(chosen({ document: local, revision: 4, isSynced: false }, server).document.entries, [PHOTO, INVERT, PHOTO])
  assert.deepEqual(chosen({ document: local, revision: 9, isSynced: true }, server).document.entries, [PHOTO, INVERT, PHOTO])
  assert.deepEqual(chosen({ document: local, revision: 5, isSynced: true }, null), { document: local, isChanged: false })
  assert.deepEqual(chosen(null, null), { document: null, isChanged: false })
})
