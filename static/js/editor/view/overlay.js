// Draws the mask over the photo in one of three ways, or an unfinished image in its place. Pure: takes a 2D context.

/** @typedef {"overlay" | "outline" | "alone"} Mode */
/** @typedef {(context: CanvasRenderingContext2D) => void} DrawMask  draws the mask, opaque where it repaints */
/** @typedef {{left: number, top: number, width: number, height: number}} Place */

/** @type {Mode[]} */
export const MODES = ["overlay", "outline", "alone"]
export const COLOUR = Object.freeze({ red: 255, green: 45, blue: 70 }) // as --mask in the style sheet

const OPACITY = 0.55
const OUTSIDE = 0.3 // of what an insert covers beside the mask
const LINE_WIDTH = 1.5 // device pixels
export const OUTLINE_WIDTH = 3 // with the dark line around it
const AROUND = [[1, 0], [-1, 0], [0, 1], [0, -1], [0.7, 0.7], [0.7, -0.7], [-0.7, 0.7], [-0.7, -0.7]]

/**
 * @param {CanvasRenderingContext2D} context clipped to what is to be drawn, and clear there
 * @param {Mode} mode
 * @param {DrawMask} drawMask
 * @param {Place} photo the place of the photo
 * @param {{image: CanvasImageSource, place: number[]} | null} preview shown in the mask instead; place: left, top, width, height
 * @param {((context: CanvasRenderingContext2D) => void) | null} drawInsert draws the image to insert where it lies
 */
export function drawOverlay(context, mode, drawMask, photo, preview = null, drawInsert = null) {
  if (preview) {
    drawMask(context)
    context.globalCompositeOperation = "source-in" // only where the mask is
    context.drawImage(preview.image, .../** @type {[number, number, number, number]} */ (preview.place))
  } else if (mode === "outline") {
    drawOutline(context, drawMask)
  } else if (mode === "alone") {
    drawMask(context)
    fill(context, "source-in", "black", photo)
    fill(context, "destination-over", "white", photo)
  } else if (drawInsert) {
    drawWithInsert(context, drawMask, drawInsert)
  } else {
    context.globalAlpha = OPACITY
    drawMask(context)
  }
}

/** An image to insert, in the mask as it will be and dimmed around it; where it does not cover the mask, that is red.
 *  @param {CanvasRenderingContext2D} context @param {DrawMask} drawMask @param {(context: CanvasRenderingContext2D) => void} drawInsert */
function drawWithInsert(context, drawMask, drawInsert) {
  drawMask(context)
  context.globalCompositeOperation = "source-in" // only where the mask is
  drawInsert(context)
  context.globalCompositeOperation = "destination-over" // beneath that
  context.globalAlpha = OPACITY
  drawMask(context)
  context.globalAlpha = OUTSIDE
  drawInsert(context)
}

/** A line of the mask's colour around it, with a dark one around that: one of them shows on any photo.
 *  @param {CanvasRenderingContext2D} context @param {DrawMask} drawMask */
function drawOutline(context, drawMask) {
  /** @param {number} width @param {GlobalCompositeOperation} operation */
  const around = (width, operation) => {
    context.globalCompositeOperation = operation
    for (const [x, y] of width ? AROUND : [[0, 0]]) {
      context.setTransform(1, 0, 0, 1, x * width, y * width)
      drawMask(context)
    }
    context.resetTransform()
  }
  around(OUTLINE_WIDTH, "source-over")
  const { width, height } = context.canvas
  fill(context, "source-in", "black", { left: 0, top: 0, width, height })
  around(LINE_WIDTH, "destination-out")
  around(LINE_WIDTH, "destination-over")
  around(0, "destination-out")
}

/** @param {CanvasRenderingContext2D} context @param {GlobalCompositeOperation} operation @param {string} colour @param {Place} place */
function fill(context, operation, colour, { left, top, width, height }) {
  context.globalCompositeOperation = operation
  context.fillStyle = colour
  context.fillRect(left, top, width, height)
  context.globalCompositeOperation = "source-over"
}
