// Draws the mask off the page's thread. Messages are handled one after the other, so an answer is that of all before it.
//
// What the page sees of a stroke is drawn at once, its full size between the messages; questions wait for that.
//
// In: {id, type, ...}, the types below; {type: "image", id, blob} answers a question and is handled at once.
// Out: {id, value} or {id, error} to a question; to others {id, coverage, level, patches, bytes, problems}, with id 0 once
// the full size is drawn, after {level, patches} where there are many patches; {needs: id of an image}.

import { specks } from "./components.js"
import { Drawing } from "./drawing.js"
import { photoPixels, readPolarity } from "./images.js"
import { png } from "./png.js"
import { displayTiles, pixels } from "./levels.js"
import { SIDE } from "./tiles.js"

const PATCHES = 4 // in a message: a page that takes the tiles of a whole screen at once reacts to nothing meanwhile
const SLICE_MS = 4 // of drawing at full size, between two messages
const PHOTO_KEPT_MS = 60_000 // its pixels take 4 bytes each
let drawing = null
let isDone = Promise.resolve()
let isGoingOn = false
const waiting = [] // questions
const turns = new MessageChannel() // unlike setTimeout, without a pause
const images = new Map() // id -> {promise, resolve} of a file or null

const QUESTIONS = {
  png: () => png(drawing.mask),
  at: ({ x, y }) => drawing.mask.at(Math.floor(x), Math.floor(y)),
  specks: () => ({ covered: drawing.mask.coverage, ...specks(drawing.mask) }),
  thumbnail: ({ side }) => thumbnail(drawing.mask, side),
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

async function handle(message) {
  const { id, type } = message
  if (type in QUESTIONS) waiting.push(message)
  else {
    if (type === "open") {
      drawing?.catchUp()
      await answerQuestions()
      drawing = new Drawing(message.width, message.height, sources(message), message)
    } else await drawing[type](message)
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

/** `isWhole`: in one message, so that the page does not show a part of another level. */
function report(id, { isWhole = false } = {}) {
  const { coverage, bytes, level } = drawing
  const { patches, problems } = drawing.takeChanges()
  while (!isWhole && patches.length > PATCHES) post({ level, patches: patches.splice(0, PATCHES) })
  post({ id, coverage, level, patches, bytes, problems })
}

const post = (message) => postMessage(message, message.patches.flatMap(({ rgba }) => rgba?.buffer ?? []))

async function answerQuestions() {
  for (const message of waiting.splice(0)) {
    const { id, type } = message
    try {
      postMessage({ id, value: await QUESTIONS[type](message) })
    } catch (error) {
      postMessage({ id, error })
    }
  }
}

function sources({ photo, width, height }) {
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

function answer({ id, blob }) {
  images.get(id)?.resolve(blob)
  if (!blob) images.delete(id) // it may be there later
}

function fileOf(id) {
  if (!images.has(id)) {
    const waiting = {}
    waiting.promise = new Promise((resolve) => { waiting.resolve = resolve })
    images.set(id, waiting)
    postMessage({ needs: id })
  }
  return images.get(id).promise
}

/** The mask, black on clear, of at least half and at most `side` pixels. @returns {{width, height, rgba}} */
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
