// Writes a mask as a PNG (RFC 2083) of 8-bit grey, one row of tiles at a time.

import { SIDE } from "./tiles.js"

const GREY = 0
const FILTER_UP = 2 // rows of a mask are mostly equal to those above

/** @param {import("./tiles.js").Mask} mask @param {0 | 255} marked  the grey of what is repainted; 0 as the API takes a mask
 *  @returns {Promise<Blob>} */
export async function png(mask, marked = 0) {
  const header = new DataView(new ArrayBuffer(13))
  header.setUint32(0, mask.width)
  header.setUint32(4, mask.height)
  header.setUint8(8, 8) // bits for each pixel
  header.setUint8(9, GREY)
  const parts = [Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), ...chunk("IHDR", new Uint8Array(header.buffer))]
  const stream = new CompressionStream("deflate")
  const isWritten = write(mask, stream.writable.getWriter(), marked)
  const reader = stream.readable.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    parts.push(...chunk("IDAT", value))
  }
  await isWritten
  return new Blob([...parts, ...chunk("IEND", new Uint8Array())], { type: "image/png" })
}

/** @param {import("./tiles.js").Mask} mask @param {WritableStreamDefaultWriter<BufferSource>} writer @param {0 | 255} marked */
async function write(mask, writer, marked) {
  const { width, height, columns, tiles } = mask
  const sign = marked ? -1 : 1
  const above = new Uint8Array(width).fill(255 - marked) // of the mask: 0 in the file
  const row = new Uint8Array(width)
  for (let top = 0; top < height; top += SIDE) {
    const rows = Math.min(SIDE, height - top)
    const bytes = new Uint8Array(rows * (width + 1)) // each pixel less the one above: 0 in tiles of one value
    for (let y = 0; y < rows; y++) bytes[y * (width + 1)] = FILTER_UP
    mask.readRow(top, row, 0)
    for (let x = 0; x < width; x++) bytes[1 + x] = sign * (above[x] - row[x]) // (255 - row) - (255 - above), or row - above
    for (let column = 0; column < columns; column++) {
      const { alpha } = tiles[(top / SIDE) * columns + column]
      if (!alpha) continue
      const across = Math.min(SIDE, width - column * SIDE)
      for (let y = 1; y < rows; y++) {
        const to = y * (width + 1) + 1 + column * SIDE
        for (let x = 0, i = y * SIDE; x < across; x++, i++) bytes[to + x] = sign * (alpha[i - SIDE] - alpha[i])
      }
    }
    mask.readRow(top + rows - 1, above, 0)
    await writer.write(bytes)
  }
  await writer.close()
}

/** A chunk of a PNG: length, type, data, CRC-32 of type and data.
 *  @param {string} type @param {Uint8Array<ArrayBuffer>} data */
function chunk(type, data) {
  const head = new Uint8Array(8)
  new DataView(head.buffer).setUint32(0, data.length)
  for (let i = 0; i < 4; i++) head[4 + i] = type.charCodeAt(i)
  const check = new Uint8Array(4)
  new DataView(check.buffer).setUint32(0, ~crc(crc(-1, head.subarray(4)), data))
  return [head, data, check]
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1
  return n
})

/** @param {number} value @param {Uint8Array} bytes */
function crc(value, bytes) {
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255] ^ (value >>> 8)
  return value
}
