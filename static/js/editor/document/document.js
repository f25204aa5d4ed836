// The document: all that is edited, as plain JSON, and undo and redo over it. Every function returns a new document.
// Pure: no DOM.

import { operation } from "editor/document/operations"
import { readStack } from "editor/document/stack"

/** @typedef {{id: string, name: string, width: number, height: number}} Photo  id: of its file in document/images.js */
/** @typedef {{left: number, top: number, right: number, bottom: number}} Frame  margins of outpainting in pixels of the photo, >= 0 */
/** @typedef {import("./operations.js").Operation} Operation */
/** @typedef {import("./stack.js").Stack} Stack */
/** @typedef {{kind: "photo", photo: Photo, parent: string | null, image: number, stack?: Stack}} PhotoEntry
 *  a photo starts with an empty mask and no frame; parent: the generation that it is a result of; image: which of its
 *  results, from 0; stack: the steps that the photo shows together, where they are more than the parent's */
/** @typedef {{kind: "mask", operation: Operation, isJoined?: boolean}} MaskEntry  isJoined: undone and redone with the entry before it */
/** @typedef {{kind: "frame", frame: Frame}} FrameEntry */
/** @typedef {PhotoEntry | MaskEntry | FrameEntry} Entry */
/** @typedef {{photo?: {id: string}, operation?: {image?: string}}} WithImage  an entry, as far as its image matters */
/** @typedef {{generation: string, photo: string}} Left  photo: the id of its file */
/** @typedef {{version: 1, entries: Entry[], cursor: number, settings: object, generation: string | null, image: number, alike: string[],
 *   step: "editing" | "painting" | "result", requests: readonly Request[], left: readonly Left[], begun: Begun | null}} Document
 *  entries: all that can be undone and redone, oldest first; cursor: how many of them are in effect;
 *  settings: the form's values by the API's names; generation: the one that is painted or shown; image: which of its
 *  results is shown, from 0; alike: the generations whose results are shown beside them, oldest first; requests: those whose answers are not known, oldest first; painting without a generation sends the last;
 *  left: the generations that were left to the queue and are not looked at yet, oldest first; begun: what is drawn by clicks and not finished */
/** @typedef {import("job/request").Request} Request */
/** @typedef {{erases: boolean, points: readonly (readonly number[])[]}} Begun  a polygon; points: its corners so far */
/** @typedef {{entries: {kind: string}[], cursor: number, requests?: readonly Request[], left?: readonly Left[]}} PlainDocument  one as plain JSON that is not checked yet */
/** @typedef {{photo: Photo | null, parent: string | null, frame: Frame, operations: readonly Operation[],
 *   stack?: Stack}} View */

const VERSION = 1
const STEPS = ["editing", "painting", "result"]
const MOST_LEFT = 50
/** The state in which nothing is painted and no result is shown, for `withState`. */
export const EDITING = Object.freeze({ generation: null, image: 0, alike: [], step: "editing" })
export const NO_FRAME = Object.freeze({ left: 0, top: 0, right: 0, bottom: 0 })

/** @returns {Document} */
export function emptyDocument() {
  return freeze({ version: VERSION, entries: [], cursor: 0, settings: {}, generation: null, image: 0, alike: [], step: "editing", requests: [], left: [], begun: null })
}

/** A document from plain JSON. Raises RangeError where it is of another version or a value is missing or wrong.
 *  @param {any} json @returns {Document} */
export function readDocument(json) {
  const { version, entries, cursor, settings, generation, image = 0, alike = [], step, request = null, requests = request ? [request] : [], left = [], begun = null } = renamed(json) // request: of earlier versions
  check(version === VERSION, `version ${version} of a document`)
  check(Number.isInteger(cursor) && cursor >= 0 && cursor <= entries.length, `cursor ${cursor}`)
  check(STEPS.includes(step), `step ${step}`)
  check(generation === null || typeof generation === "string", `generation ${generation}`)
  check(Number.isInteger(image) && image >= 0, `result ${image}`)
  check(Array.isArray(alike) && alike.every((id) => typeof id === "string"), "generations that are alike")
  check(Array.isArray(requests) && requests.every(({ key, fields, files }) => typeof key === "string" && fields && files), "requests")
  check(Array.isArray(left) && left.every((one) => typeof one.generation === "string" && typeof one.photo === "string"), "generations that were left")
  check(begun === null || (begun.points.length && begun.points.every((/** @type {number[]} */ point) => point.every(Number.isFinite))), "a polygon")
  return freeze({ version, entries: entries.map(checked), cursor, settings: { ...settings }, generation, image, alike: [...alike], step, requests: [...requests], left: [...left], begun })
}

/** What is in effect: the newest photo, and the frame and the operations after it.
 *  @param {Document} document @returns {View} */
export function view({ entries, cursor }) {
  const current = entries.slice(0, cursor)
  const start = current.findLastIndex(({ kind }) => kind === "photo")
  const { photo, parent, stack } = /** @type {PhotoEntry | {photo: null, parent: null, stack: undefined}} */ (current[start] ?? { photo: null, parent: null })
  const edits = current.slice(start + 1)
  return Object.freeze({
    photo,
    parent,
    frame: /** @type {FrameEntry | undefined} */ (edits.findLast(({ kind }) => kind === "frame"))?.frame ?? NO_FRAME,
    operations: Object.freeze(/** @type {MaskEntry[]} */ (edits.filter(({ kind }) => kind === "mask")).map(({ operation }) => operation)),
    ...(stack && { stack }),
  })
}

/** Adds an entry; those that were undone are dropped, and a polygon that is not finished. @param {Document} document @param {Entry} entry @returns {Document} */
export function push(document, entry) {
  const entries = [...document.entries.slice(0, document.cursor), checked(entry)]
  return freeze({ ...document, entries, cursor: entries.length, begun: null })
}

/** Replaces the last entry in effect, as one step of undo; entries that were undone are dropped.
 *  @param {Document} document @param {Entry} entry @returns {Document} */
export const replaceLast = (document, entry) => push({ ...document, cursor: document.cursor - 1 }, entry)

/** The document with other settings or another state; what can be undone stays.
 *  @param {Document} document @param {Partial<Pick<Document, "settings" | "generation" | "image" | "alike" | "step" | "begun">>} changes
 *  @returns {Document} */
export const withState = (document, changes) => freeze({ ...document, ...changes })

/** The document with a request whose answer is not known, as the newest of them. @param {Document} document @param {Request} request */
export const withRequest = (document, request) => freeze({ ...document, requests: [...document.requests.filter(({ key }) => key !== request.key), request] })

/** The document without a request that was answered. @param {Document} document @param {string} answered its key @returns {Document} */
export const withoutRequest = (document, answered) => freeze({ ...document, requests: document.requests.filter(({ key }) => key !== answered) })

/** The document with one more generation that was left to the queue. @param {Document} document @param {Left} one */
export const withLeft = (document, one) => freeze({ ...document, left: [...document.left, one].slice(-MOST_LEFT) })

/** The document without generations that were left and have been looked at. @param {Document} document @param {string[]} ids */
export const withoutLeft = (document, ids) => freeze({ ...document, left: document.left.filter(({ generation }) => !ids.includes(generation)) })

/** The entry of the photo that is open; undefined without one. @param {Document} document @returns {PhotoEntry | undefined} */
export const photoEntry = ({ entries, cursor }) => /** @type {PhotoEntry | undefined} */ (entries.slice(0, cursor).findLast(({ kind }) => kind === "photo"))

/** An entry of a photo, which may have got another stack meanwhile; undefined where it is gone.
 *  @param {Document} document @param {PhotoEntry} photo @returns {PhotoEntry | undefined} */
export const latest = ({ entries }, photo) => /** @type {PhotoEntry | undefined} */ (entries.find((entry) => entry === photo) ?? entries.findLast(
  (entry) => entry.kind === "photo" && entry.photo.id === photo.photo.id && entry.parent === photo.parent && entry.image === photo.image,
))

/** The document with a stack at the entry of a photo; nothing more to undo.
 *  @param {Document} document @param {Stack} stack @param {PhotoEntry} photo */
export const withStack = (document, stack, photo) =>
  freeze({ ...document, entries: document.entries.map((entry) => (entry === photo ? checked({ ...photo, stack }) : entry)) })

/** Which result of a generation was painted on last, from 0; null where none was. @param {Document} document @param {string | null} id */
export function keptImage({ entries }, id) {
  const photo = entries.findLast((entry) => entry.kind === "photo" && entry.parent === id)
  return photo?.kind === "photo" ? photo.image : null
}

/** The first photo stays: there is nothing to show before it. @param {Document} document */
export const canUndo = ({ entries, cursor }) => cursor > (entries[0]?.kind === "photo" ? 1 : 0)
/** @param {Document} document */
export const canRedo = ({ entries, cursor }) => cursor < entries.length

/** @param {Entry | undefined} entry */
const isJoined = (entry) => entry?.kind === "mask" && Boolean(entry.isJoined)

/** The document before its last entry, and before that which it is joined to; itself where there is none.
 *  @param {Document} document @returns {Document} */
export function undo(document) {
  if (!canUndo(document)) return document
  const before = freeze({ ...document, cursor: document.cursor - 1 })
  return isJoined(document.entries[before.cursor]) ? undo(before) : before
}

/** @param {Document} document @returns {Document} */
export function redo(document) {
  if (!canRedo(document)) return document
  const after = freeze({ ...document, cursor: document.cursor + 1 })
  return isJoined(document.entries[after.cursor]) ? redo(after) : after
}

/** The ids of all images that the document needs, those of undone entries and of the settings too; not those of
 *  requests, which this browser alone keeps. @param {Document} document @returns {Set<string>} */
export function imageIds({ entries, settings }) {
  const ofSettings = Object.values(settings).map((value) => value?.image)
  return new Set([.../** @type {WithImage[]} */ (entries).map(({ photo, operation }) => photo?.id ?? operation?.image), ...ofSettings].filter(Boolean))
}

const CHECKED = {
  /** @param {PhotoEntry} entry @returns {PhotoEntry} */
  photo({ photo: { id, name, width, height }, parent = null, image = 0, stack }) {
    check(typeof id === "string" && [width, height].every((side) => Number.isInteger(side) && side > 0), "a photo")
    return { kind: "photo", photo: Object.freeze({ id, name: String(name), width, height }), parent, image, ...(stack && { stack: readStack(stack) }) }
  },
  /** @param {MaskEntry} entry @returns {MaskEntry} */
  mask: (entry) => ({ kind: "mask", operation: operation(entry.operation), ...(entry.isJoined && { isJoined: true }) }),
  /** @param {FrameEntry} entry @returns {FrameEntry} */
  frame({ frame: { left, top, right, bottom } }) {
    check([left, top, right, bottom].every((margin) => margin >= 0 && Number.isFinite(margin)), "a frame")
    return { kind: "frame", frame: Object.freeze({ left, top, right, bottom }) }
  },
}

/** Plain JSON with the names of today: pages of development versions called an image of a document a picture.
 *  @param {any} json @returns {any} */
function renamed(json) {
  if (Array.isArray(json)) return json.map(renamed)
  if (!json || typeof json !== "object") return json
  const values = Object.entries(json).map(([name, value]) => [name === "picture" ? "image" : name, renamed(value)])
  return Object.fromEntries(json.kind === "picture" ? [...values, ["kind", "image"]] : values)
}

/** @param {Entry} entry of plain JSON, perhaps @returns {Entry} */
function checked(entry) {
  check(Object.hasOwn(CHECKED, entry.kind), `an entry of the kind ${entry.kind}`)
  return Object.freeze(/** @type {(entry: Entry) => Entry} */ (CHECKED[entry.kind])(entry))
}

/** @param {Document} document @returns {Document} */
function freeze(document) {
  Object.freeze(document.entries)
  Object.freeze(document.settings)
  return Object.freeze(document)
}

/** @param {unknown} isRight @param {string} subject */
function check(isRight, subject) {
  if (!isRight) throw new RangeError(`This is not valid in a document: ${subject}.`)
}
