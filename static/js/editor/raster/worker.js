// Draws the mask off the page's thread. Messages are handled one after the other, so an answer is that of all before it.
//
// What the page sees of a stroke is drawn at once, its full size between the messages; questions wait for that.
//
// In: {id, type, ...}, the types below; {type: "image", id, blob} answers a question and is handled at once.
// Out: {id, value} or {id, error} to a question; to others {id, coverage, level, patches, bytes, problems}, with id 0 once
// the full size is drawn, after {level, patches} where there are many patches; {needs: id of an image}.

import { boundsOf } from "./bounds.js"
import { specks } from "./components.js"
import { Drawing } from "./drawing.js"
import { photoPixels, readPolarity } from "./images.js"
import { png } from "./png.js"
import { displayTiles, pixels } from "./levels.js"
import { SIDE } from "./tiles.js"

const PATCHES = 4 // in a message: a page that takes the tiles of a whole screen at once reacts to nothing meanwhile
const SLICE_MS = 4 // of drawing at full size, between two messages
const PHOTO_KEPT_MS = 60_000 // its pixels take 4 bytes each

/** @typedef {import("./drawing.js").Growing} Growing */
/** @typedef {import("./images.js").Pixels} Pixels */
/** @typedef {{type: "open", width: number, height: number, photo: Blob, colour: number, snapshotBytes: number}} Open */
/** @typedef {{type: "show", keep: number, added: import("../document/operations.js").Operation[], count: number}
 *   | {type: "begin", operation: Growing} | {type: "extend", points: import("../document/operations.js").Points}
 *   | {type: "end"} | {type: "cancel"} | {type: "view", view: import("./drawing.js").View}} Change  for the drawing's method of that name */
/** @typedef {{type: "png", marked: 0 | 255} | {type: "at", x: number, y: number} | {type: "specks"} | {type: "bounds"} | {type: "thumbnail", side: number}
 *   | {type: "inspect", file: Blob, known: import("./polarity.js").Repaints | null}} Question */
/** @typedef {{id: number} & (Open | Change | Question)} Message */
/** @typedef {{type: "image", id: string, blob: Blob | null}} Answer */
/** @typedef {{promise: Promise<Blob | null>, resolve: (blob: Blob | null) => void}} AwaitedFile */
/** @typedef {{level: number | undefined, patches: import("./drawing.js").Patch[], id?: number, coverage?: number, bytes?: number,
 *   problems?: Error[]}} Report */

/** Null before the first message, which opens a photo. */
let drawing = /** @type {Drawing} */ (/** @type {unknown} */ (null))
let isDone = Promise.resolve()
let isGoingOn = false
/** @type {({id: number} & Question)[]} */
const waiting = [] // questions
const turns = new MessageChannel() // unlike setTimeout, without a pause
/** @type {Map<string, AwaitedFile>} */
const images = new Map() // id -> {promise, resolve} of a file or null

const QUESTIONS = {
  /** @param {{marked: 0 | 255}} message */
  png: ({ marked }) => png(drawing.mask, marked),
  /** @param {{x: number, y: number}} point */
  at: ({ x, y }) => drawing.mask.at(Math.floor(x), Math.floor(y)),
  bounds: () => boundsOf(drawing.mask),
  specks: () => ({ covered: drawing.mask.coverage, ...specks(drawing.mask) }),
  /** @param {{side: number}} message */
  thumbnail: ({ side }) => thumbnail(drawing.mask, side),
  /** @param {{file: Blob, known: import("./polarity.js").Repaints | null}} message */
  inspect: async ({ file, known }) => {
    const bitmap = await createImageBitmap(file)
    try {
      return readPolarity(bitmap, known)
    } finally {
      bitmap.close()
    }
  },
}

addEventListener("message", ({ data }) => {
  if (data.type === "image") answer(data)
  else isDone = isDone.then(() => handle(data)).catch((error) => { postMessage({ id: data.id, error }) })
})

turns.port1.onmessage = () => { isDone = isDone.then(goOn).catch(reportError) }

/** @param {Message} message */
async function handle(message) {
  const { id, type } = message
  if (type in QUESTIONS) waiting.push(/** @type {{id: number} & Question} */ (message))
  else {
    if (type === "open") {
      drawing?.catchUp()
      await answerQuestions()
      drawing = new Drawing(message.width, message.height, sources(message), message)
    } else await /** @type {(message: Message) => unknown} */ (drawing[/** @type {Change["type"]} */ (type)])(message)
    report(id, { isWhole: type === "view" })
  }
  await afterwards()
}

/** Draws at full size for a while. */
async function goOn() {
  isGoingOn = false
  drawing.catchUp(SLICE_MS)
  if (!drawing.isBehind) report(0)
  await afterwards()
}

async function afterwards() {
  if (!drawing?.isBehind) await answerQuestions()
  else if (!isGoingOn) {
    isGoingOn = true
    turns.port2.postMessage(null)
  }
}

/** `isWhole`: in one message, so that the page does not show a part of another level.
 *  @param {number} id @param {{isWhole?: boolean}} options */
function report(id, { isWhole = false } = {}) {
  const { coverage, bytes, level } = drawing
  const { patches, problems } = drawing.takeChanges()
  while (!isWhole && patches.length > PATCHES) post({ level, patches: patches.splice(0, PATCHES) })
  post({ id, coverage, level, patches, bytes, problems })
}

/** @param {Report} message */
const post = (message) => /** @type {(message: Report, transfer: object[]) => void} */ (postMessage)(message, message.patches.flatMap(({ rgba }) => rgba?.buffer ?? []))

async function answerQuestions() {
  for (const message of waiting.splice(0)) {
    const { id, type } = message
    try {
      postMessage({ id, value: await /** @type {(message: Question) => unknown} */ (QUESTIONS[type])(message) })
    } catch (error) {
      postMessage({ id, error })
    }
  }
}

/** @param {Open} message @returns {import("./draw.js").Sources} */
function sources({ photo, width, height }) {
  /** @type {Pixels | null} */
  let pixels = null
  let timer = 0
  return {
    async photo() {
      clearTimeout(timer)
      timer = setTimeout(() => { pixels = null }, PHOTO_KEPT_MS)
      if (pixels) return pixels
      const bitmap = await createImageBitmap(photo)
      pixels = photoPixels(bitmap, width, height)
      bitmap.close()
      return pixels
    },
    async image(id) {
      const blob = await fileOf(id)
      if (!blob) throw new Error(`The image ${id} of the mask is missing.`)
      return createImageBitmap(blob)
    },
  }
}

/** @param {Answer} message */
function answer({ id, blob }) {
  images.get(id)?.resolve(blob)
  if (!blob) images.delete(id) // it may be there later
}

/** @param {string} id */
function fileOf(id) {
  if (!images.has(id)) {
    const waiting = /** @type {AwaitedFile} */ ({})
    waiting.promise = new Promise((resolve) => { waiting.resolve = resolve })
    images.set(id, waiting)
    postMessage({ needs: id })
  }
  return /** @type {AwaitedFile} */ (images.get(id)).promise
}

/** The mask, black on clear, of at least half and at most `side` pixels. @param {import("./tiles.js").Mask} mask @param {number} side */
function thumbnail(mask, side) {
  let level = 0
  while (Math.max(mask.width, mask.height) >> level > side) level++
  const [width, height] = [Math.max(1, mask.width >> level), Math.max(1, mask.height >> level)]
  const rgba = new Uint8ClampedArray(4 * width * height)
  const tiles = displayTiles({ left: 0, top: 0, right: mask.width, bottom: mask.height }, level)
  for (let row = 0; row < tiles.bottom; row++) {
    for (let column = 0; column < tiles.right; column++) {
      const [left, top] = [column * SIDE, row * SIDE]
      const box = { left: 0, top: 0, right: Math.min(SIDE, width - left), bottom: Math.min(SIDE, height - top) }
      const part = pixels(mask, level, column, row, box, 0)
      for (let y = 0; y < box.bottom; y++) {
        rgba.set(part.subarray(4 * y * box.right, 4 * (y + 1) * box.right), 4 * ((top + y) * width + left))
      }
    }
  }
  return { width, height, rgba }
}
