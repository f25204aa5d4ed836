// Draws marks as pixels, and reads a mask file's polarity from its pixels. Pure: takes a 2D context or bytes, no DOM.
//
// In the drawn mask alpha 255 = repaint and 0 = keep, as in the masks that the server stores.

/** Draws the whole mask anew in image pixels (the context's transform says how large those are). */
export function draw(context, marks, { width, height }, colour) {
  context.clearRect(0, 0, width, height)
  for (const mark of marks) drawMark(context, mark, { width, height }, colour)
}

/** Draws one more mark on top of the others. */
export function drawMark(context, mark, { width, height }, colour) {
  context.save()
  context.fillStyle = context.strokeStyle = colour
  if (mark.kind === "stroke") {
    context.globalCompositeOperation = mark.erases ? "destination-out" : "source-over"
    drawLine(context, mark.points, mark.size)
  } else if (mark.kind === "invert") {
    context.globalCompositeOperation = "xor" // opaque over alpha a leaves 1 - a
    context.fillRect(0, 0, width, height)
  } else {
    context.clearRect(0, 0, width, height)
    if (mark.kind === "file") {
      context.imageSmoothingQuality = "high"
      context.drawImage(mark.picture, 0, 0, width, height)
      context.globalCompositeOperation = "source-in" // the same alpha in this colour
      context.fillRect(0, 0, width, height)
    }
  }
  context.restore()
}

/** A round brush of `size` along `points`; one point is a dot. */
export function drawLine(context, points, size) {
  const [first, ...rest] = points
  context.beginPath()
  if (!rest.length) {
    context.arc(first.x, first.y, size / 2, 0, 2 * Math.PI)
    context.fill()
    return
  }
  context.lineWidth = size
  context.lineCap = context.lineJoin = "round"
  context.moveTo(first.x, first.y)
  for (const point of rest) context.lineTo(point.x, point.y)
  context.stroke()
}

/** Draws the mask as the API takes it: white is kept, black is repainted, nothing is transparent. */
export function drawForServer(context, marks, size) {
  draw(context, marks, size, "black")
  context.save()
  context.globalCompositeOperation = "destination-over"
  context.fillStyle = "white"
  context.fillRect(0, 0, size.width, size.height)
  context.restore()
}

/** The share of pixels that are repainted, 0 to 1, of RGBA bytes as `draw` makes them. */
export function coverage(rgba) {
  let sum = 0
  for (let i = 3; i < rgba.length; i += 4) sum += rgba[i]
  return rgba.length ? sum / (255 * (rgba.length / 4)) : 0
}

/**
 * The polarity of a mask file. Programs do not agree on the colour that is repainted, so the smaller part is taken,
 * unless `known` names it ("dark" or "light"); one button swaps the two. A file with transparency is read by its
 * colours over white, and by its alpha channel only where it has a single colour.
 *
 * Turns `rgba` itself into black of alpha 255 = repaint. Returns which part is repainted ("dark", "light",
 * "transparent" or "opaque"), and `flat`: the file has one colour only, so nothing is.
 */
export function readMask(rgba, known = null) {
  const seen = contrast(rgba)
  const byAlpha = !known && seen.clear > 0 && (seen.dark === 0 || seen.light === 0)
  const valueAt = byAlpha ? (i) => rgba[i + 3] : (i) => brightnessOverWhite(rgba, i)
  const count = rgba.length / 4
  let high = 0
  for (let i = 0; i < rgba.length; i += 4) if (valueAt(i) >= 128) high++
  const repaintsHigh = known ? known === "light" : high < count - high
  for (let i = 0; i < rgba.length; i += 4) {
    const value = valueAt(i)
    rgba[i] = rgba[i + 1] = rgba[i + 2] = 0
    rgba[i + 3] = repaintsHigh ? value : 255 - value
  }
  const [low, top] = byAlpha ? ["transparent", "opaque"] : ["dark", "light"]
  return { repaints: repaintsHigh ? top : low, flat: high === 0 || high === count }
}

/** How many pixels are see-through, and how many of the others are dark and light. */
function contrast(rgba) {
  const seen = { clear: 0, dark: 0, light: 0 }
  for (let i = 0; i < rgba.length; i += 4) {
    if (rgba[i + 3] < 128) seen.clear++
    else if (luma(rgba, i) < 128) seen.dark++
    else seen.light++
  }
  return seen
}

/** ITU-R BT.601 luma, as Pillow's mode L: 0 to 255. */
const luma = (rgba, i) => Math.round((rgba[i] * 299 + rgba[i + 1] * 587 + rgba[i + 2] * 114) / 1000)

function brightnessOverWhite(rgba, i) {
  const opacity = rgba[i + 3] / 255
  return Math.round(luma(rgba, i) * opacity + 255 * (1 - opacity))
}
