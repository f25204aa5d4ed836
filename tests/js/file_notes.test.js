// What a file says of itself before it is sent.

import assert from "node:assert/strict"
import { test } from "node:test"
import { notesOn } from "editor/document/file_notes"

/** A PNG's head. @param {number} depth bits a channel @param {string} more chunks after IHDR */
const png = (depth, more = "") => new Blob([bytesOf(`\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01${String.fromCharCode(depth)}\x02\0\0\0crc.${more}`)])
/** @param {string} text one character for each byte */
const bytesOf = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0))
/** @param {string} text */
const blob = (text) => new Blob([bytesOf(text)])

test("16 bits and animations are named, others are not", async () => {
  assert.deepEqual(await notesOn(png(8), png(8)), [])
  assert.deepEqual(await notesOn(png(16), png(16)), ["16 bits kept"])
  assert.deepEqual(await notesOn(blob("II*\0"), png(16)), ["16 bits kept"]) // a TIFF, shown as the server's PNG
  assert.deepEqual(await notesOn(png(8, "\0\0\0\x08acTL"), png(8)), ["first frame only"])
  const webp = (/** @type {string} */ flags) => blob(`RIFF....WEBPVP8X....${flags}`)
  assert.deepEqual(await notesOn(webp("\x02"), webp("\x02")), ["first frame only"])
  assert.deepEqual(await notesOn(webp("\x10"), webp("\x10")), [])
  const gif = blob("GIF89a......\x21\xff\x0bNETSCAPE2.0")
  assert.deepEqual(await notesOn(gif, gif), ["first frame only"])
})
