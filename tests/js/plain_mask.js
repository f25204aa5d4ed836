// What each operation means for a mask that is one array of pixels: by its definition and without any tricks.

export const width = 300
export const height = 270
const rgba = Uint8Array.from({ length: 4 * width * height }, (_, i) => 60 * Math.floor(((i / 4) % width) / 50) + (i % 3))
/** The photo of the mask: stripes of six colours, 50 pixels wide. */
export const photo = { width, height, rgba }

/** The array of value(x, y) of every pixel. */
export const each = (value) => Uint8Array.from({ length: width * height }, (_, i) => value(i % width, Math.floor(i / width)))

/** The largest difference of two arrays. */
export const largestDifference = (a, b) => a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0)

/** By the kind of the operation: (mask, operation) -> mask. */
export const PLAIN = {
  stroke: (mask, operation) => painted(mask, coverOfStroke(operation), operation.erases),
  shape: (mask, { erases, points: [[ax, ay], [bx, by]] }) =>
    painted(mask, each((x, y) => (x >= ax && x < bx && y >= ay && y < by ? 255 : 0)), erases),
  wand: (mask, { erases, x, y, tolerance, contiguous }) => {
    const at = (a, b, channel) => rgba[4 * (b * width + a) + channel]
    const isLike = (a, b) => [0, 1, 2, 3].every((channel) => Math.abs(at(a, b, channel) - at(x, y, channel)) <= tolerance)
    const found = contiguous ? flooded([[x, y]], isLike) : each((a, b) => Number(isLike(a, b)))
    return painted(mask, found.map((value) => 255 * value), erases)
  },
  grow: (mask, { pixels }) => {
    const isInDisc = (dx, dy) => dx * dx + dy * dy <= pixels * pixels
    if (pixels >= 0) return maximum(mask, pixels, isInDisc)
    return maximum(mask.map((value) => 255 - value), -pixels, isInDisc).map((value) => 255 - value)
  },
  "fill-holes": (mask) => {
    const outside = flooded(BORDER, (x, y) => mask[y * width + x] < 128)
    const hole = mask.map((value, i) => (value < 128 && !outside[i] ? 255 : 0))
    return painted(mask, maximum(hole, 1, () => true), false)
  },
  invert: (mask) => mask.map((value) => 255 - value),
  clear: () => each(() => 0),
}

const BORDER = [...each(() => 0).keys()]
  .map((i) => [i % width, Math.floor(i / width)])
  .filter(([x, y]) => x === 0 || y === 0 || x === width - 1 || y === height - 1)

function painted(mask, cover, erases) {
  return mask.map((value, i) => Math.round((erases ? 0 : cover[i]) + (value * (255 - cover[i])) / 255))
}

function coverOfStroke({ size, hardness, points }) {
  const [outer, inner] = [size / 2 + 0.5, Math.max(0, Math.min((size / 2) * hardness, size / 2 - 0.5))]
  return each((x, y) => {
    const distances = points.map((point, i) => distanceToLine(x + 0.5, y + 0.5, points[Math.max(0, i - 1)], point))
    const t = Math.max(0, Math.min(1, (outer - Math.min(...distances)) / (outer - inner)))
    return Math.round(255 * t * t * (3 - 2 * t))
  })
}

function distanceToLine(x, y, [ax, ay], [bx, by]) {
  const length = (bx - ax) ** 2 + (by - ay) ** 2
  const t = length ? Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length)) : 0
  return Math.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay))
}

function flooded(starts, isOpen) {
  const found = new Uint8Array(width * height)
  const waiting = starts.filter(([x, y]) => isOpen(x, y))
  while (waiting.length) {
    const [x, y] = waiting.pop()
    if (found[y * width + x]) continue
    found[y * width + x] = 1
    const neighbours = [[x - 1, y], [x + 1, y], [x, y - 1], [x, y + 1]]
    waiting.push(...neighbours.filter(([a, b]) => isInside(a, b) && isOpen(a, b)))
  }
  return found
}

/** The largest value around each pixel, as far as `reach`, where isNear(dx, dy). */
function maximum(mask, reach, isNear) {
  const near = []
  for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) if (isNear(dx, dy)) near.push([dx, dy])
  return each((x, y) => {
    let most = 0
    for (const [dx, dy] of near) if (isInside(x + dx, y + dy)) most = Math.max(most, mask[(y + dy) * width + x + dx])
    return most
  })
}

const isInside = (x, y) => x >= 0 && y >= 0 && x < width && y < height
