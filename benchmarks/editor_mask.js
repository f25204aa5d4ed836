// The measurements of editor_mask.py: the editor's mask, and the plain way: one canvas for the whole mask, all operations
// redrawn for each change, and its pixels read back for the coverage.

import { feather, grow, stroke } from "editor/document/operations"
import { MaskView } from "editor/view/mask_view"

const PREPARED = 40 // strokes before the measurement
const MOVES = 60
const ROUNDS = 6
const now = () => performance.now()
const frame = () => new Promise((resolve) => { requestAnimationFrame(() => { resolve() }) })
const idle = async () => { for (let i = 0; i < 6; i++) await frame() }

let busy = 0 // milliseconds that the page's thread has worked in frames and messages

/** Counts the time of frames and of the worker's messages, of both ways. */
export function countThread() {
  const timed = (callback) => (...values) => {
    const start = now()
    try {
      return callback(...values)
    } finally {
      busy += now() - start
    }
  }
  const request = window.requestAnimationFrame.bind(window)
  window.requestAnimationFrame = (callback) => request(timed(callback))
  const listen = Worker.prototype.addEventListener
  Worker.prototype.addEventListener = function (type, callback) { listen.call(this, type, timed(callback)) }
}

async function photoFile(width, height) {
  const canvas = new OffscreenCanvas(width, height)
  const context = canvas.getContext("2d")
  for (let i = 0; i < 400; i++) {
    context.fillStyle = `hsl(${(i * 47) % 360} 60% 50%)`
    context.fillRect((i * 971) % width, (i * 617) % height, width / 8, height / 8)
  }
  return canvas.convertToBlob({ type: "image/jpeg" })
}

/** A zigzag across the photo. */
function zigzag(width, height, count, turn = 0) {
  return Array.from({ length: count }, (_, i) => [
    width * (0.05 + (0.9 * i) / count), height * (0.5 + 0.35 * Math.sin(i / 5 + turn)), 1,
  ])
}

function strokes(width, height, size, hardness) {
  return Array.from({ length: PREPARED }, (_, i) => stroke({ size, hardness, points: zigzag(width, height, 40, i), erases: i % 4 === 3 }))
}

/** @returns {Promise<Record<string, {thread: number[], drawn: number[]}>>} milliseconds for each move, lift, undo and redo */
export async function measure({ width, height, size, hardness, way }) {
  const file = await photoFile(width, height)
  const prepared = strokes(width, height, size, hardness)
  const subject = way === "tiles" ? new Tiles(width, height) : new Plain(width, height)
  await subject.open(file)
  await subject.show(prepared)
  await idle()
  const results = { move: [], lift: [], undo: [], redo: [] }
  const step = async (name, action) => {
    await frame()
    await new Promise((resolve) => { setTimeout(resolve) }) // an event of its own, outside of a frame
    const [start, busyBefore] = [now(), busy]
    action()
    const handled = now()
    await subject.answered()
    const answered = now()
    const frameStart = busy
    await subject.painted()
    results[name].push({ handler: handled - start, thread: handled - start + busy - busyBefore, drawn: answered - start + busy - frameStart })
  }
  const [first, ...points] = zigzag(width, height, MOVES, 0.7)
  const operation = stroke({ size, hardness, points: [first, ...points] })
  subject.begin({ ...operation, points: [first] })
  await subject.answered()
  for (const point of points) await step("move", () => subject.extend([point]))
  await step("lift", () => subject.end([...prepared, operation]))
  const lifted = now()
  await subject.whole()
  const whole = now() - lifted
  for (let round = 0; round < ROUNDS; round++) {
    await step("undo", () => subject.show(prepared))
    await step("redo", () => subject.show([...prepared, operation]))
  }
  for (let round = 0; round < ROUNDS; round++) {
    subject.begin({ ...operation, points: [first] })
    subject.extend(points)
    await subject.answered()
    await idle()
    await step("lift", () => subject.end([...prepared, operation]))
    await subject.whole()
    subject.show(prepared)
    await idle()
  }
  const start = now()
  const png = await subject.png()
  const written = { milliseconds: now() - start, bytes: png.size }
  return { results, whole, png: written, bytes: subject.bytes ?? 0, adjustments: subject.adjusts ? await adjustments(subject, prepared) : {} }
}

/** Milliseconds until the whole mask is grown or feathered. */
async function adjustments(subject, prepared) {
  const taken = {}
  for (const [name, change] of [["grow", grow], ["feather", feather]]) {
    for (const pixels of [16, 200]) {
      const start = now()
      await subject.show([...prepared, change(pixels)])
      taken[`${name} by ${pixels}`] = now() - start
    }
  }
  return taken
}

const canvases = () =>
  Object.fromEntries(["surface", "photo", "overlay"].map((id) => [id, document.getElementById(id)]))

class Tiles {
  adjusts = true

  constructor(width, height) {
    this.size = { width, height }
    this.mask = new MaskView(canvases(), { onDrawn: ({ bytes }) => { this.bytes = bytes } })
  }

  async open(file) {
    this.mask.open(await createImageBitmap(file), { ...this.size, file })
    await this.mask.drawn()
  }

  async show(operations) {
    this.mask.show(operations)
    await this.mask.drawn()
  }

  begin(operation) { this.mask.begin(operation) }
  extend(points) { this.mask.extend(points) }
  end(operations) {
    this.mask.end()
    this.mask.show(operations)
  }

  whole() { return this.mask.at(0, 0) }
  answered() { return this.mask.drawn() }
  painted() { return frame() }
  png() { return this.mask.png() }
}

const LARGEST_SIDE = 4096 // of the canvas
const SAMPLE_SIDE = 2048 // of the copy whose pixels are counted

class Plain {
  constructor(width, height) {
    this.width = width
    this.height = height
    this.scale = Math.min(1, LARGEST_SIDE / Math.max(width, height))
    this.canvas = Object.assign(document.createElement("canvas"), { width: width * this.scale, height: height * this.scale })
    this.context = this.canvas.getContext("2d")
    this.context.scale(this.scale, this.scale)
  }

  async open(file) {
    const { photo, overlay, surface } = canvases()
    const [across, down] = [surface.clientWidth, surface.clientHeight]
    for (const canvas of [photo, overlay]) Object.assign(canvas, { width: across, height: down })
    this.overlay = overlay.getContext("2d")
    this.fit = Math.min(across / this.width, down / this.height)
    photo.getContext("2d").drawImage(await createImageBitmap(file), 0, 0, this.width * this.fit, this.height * this.fit)
  }

  async show(operations) {
    this.context.clearRect(0, 0, this.width, this.height)
    for (const operation of operations) this.#draw(operation, operation.points)
    this.#redraw()
    this.#count()
  }

  begin(operation) {
    this.live = { ...operation, points: [...operation.points] }
    this.#draw(this.live, this.live.points)
    this.#redraw()
  }

  extend(points) {
    this.live.points.push(...points)
    this.#draw(this.live, this.live.points.slice(-points.length - 1))
    this.#redraw()
  }

  end(operations) { this.show(operations) }
  async whole() {}
  async answered() {}
  painted() { return frame() }
  png() { return new Promise((resolve) => { this.canvas.toBlob(resolve) }) }

  #draw({ size, erases }, points) {
    const { context } = this
    context.globalCompositeOperation = erases ? "destination-out" : "source-over"
    Object.assign(context, { lineWidth: size, lineCap: "round", lineJoin: "round", strokeStyle: "#ff2d46" })
    context.beginPath()
    for (const [x, y] of points) context.lineTo(x, y)
    if (points.length === 1) context.lineTo(...points[0].slice(0, 2))
    context.stroke()
  }

  #redraw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0
      const { overlay } = this
      overlay.clearRect(0, 0, overlay.canvas.width, overlay.canvas.height)
      Object.assign(overlay, { globalAlpha: 0.55, imageSmoothingQuality: "high" })
      overlay.drawImage(this.canvas, 0, 0, this.width * this.fit, this.height * this.fit)
    })
  }

  #count() {
    const scale = Math.min(1, SAMPLE_SIDE / Math.max(this.canvas.width, this.canvas.height))
    const sample = Object.assign(document.createElement("canvas"), { width: this.canvas.width * scale, height: this.canvas.height * scale })
    const context = sample.getContext("2d", { willReadFrequently: true })
    context.drawImage(this.canvas, 0, 0, sample.width, sample.height)
    const { data } = context.getImageData(0, 0, sample.width, sample.height)
    let sum = 0
    for (let i = 3; i < data.length; i += 4) sum += data[i]
    this.coverage = sum / (255 * (data.length / 4))
  }
}
