// Draws the mask off the page's thread. Messages are handled one after the other, so an answer is that of all before it.
//
// In: {id, type, ...}, the types below; {type: "picture", picture, blob} answers a question and is handled at once.
// Out: {id, value} or {id, error} to a question; to others {id, coverage, level, patches, bytes, problems}; {needs: id of a picture}.

import { specks } from "./components.js"
import { Drawing } from "./drawing.js"
import { photoPixels, readPolarity } from "./pictures.js"
import { png } from "./png.js"
import { displayTiles, pixels } from "./levels.js"
import { SIDE } from "./tiles.js"

const PHOTO_KEPT_MS = 60_000 // its pixels take 4 bytes each
let drawing = null
let isDone = Promise.resolve()
const pictures = new Map() // id -> {promise, resolve} of a file or null

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
  if (data.type === "picture") answer(data)
  else isDone = isDone.then(() => handle(data)).catch((error) => { postMessage({ id: data.id, error }) })
})

async function handle(message) {
  const { id, type } = message
  if (type in QUESTIONS) {
    postMessage({ id, value: await QUESTIONS[type](message) })
    return
  }
  if (type === "open") drawing = new Drawing(message.width, message.height, sources(message), message)
  else await drawing[type](message)
  const { mask, bytes, level } = drawing
  const { patches, problems } = drawing.takeChanges()
  postMessage({ id, coverage: mask.coverage, level, patches, bytes, problems }, patches.flatMap(({ rgba }) => rgba?.buffer ?? []))
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
    async picture(id) {
      const blob = await picture(id)
      if (!blob) throw new Error(`The picture ${id} of the mask is missing.`)
      return createImageBitmap(blob)
    },
  }
}

function answer({ picture, blob }) {
  pictures.get(picture)?.resolve(blob)
  if (!blob) pictures.delete(picture) // it may be there later
}

function picture(id) {
  if (!pictures.has(id)) {
    const waiting = {}
    waiting.promise = new Promise((resolve) => { waiting.resolve = resolve })
    pictures.set(id, waiting)
    postMessage({ needs: id })
  }
  return pictures.get(id).promise
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
