// Shows what a click would select while the mouse rests: asks the server for the outlines in a small image, one request
// at a time; a move drops the answer. Where the server is too slow, it is asked no more for this photo.

const REST_MS = 150
const SIDE = 384
const SLOW_MS = 2000
const MOST_SLOW = 2

/** @param {{finder: import("./finder.js").Finder, redraw: () => void}} options */
export function hovering({ finder, redraw }) {
  let timer = 0, isAsking = false
  /** @type {number[] | null} */
  let wanted = null
  /** @type {number[][][]} */
  let rings = []
  let slow = { photo: "", count: 0 }

  function drop() {
    clearTimeout(timer)
    wanted = null
    if (rings.length) redraw()
    rings = []
  }

  /** @param {number[]} point */
  async function ask(point) {
    const part = await finder.visiblePart(SIDE)
    if (!part) return
    const begun = performance.now()
    const answer = /** @type {{mask: {path: string}}} */ (/** @type {unknown} */ (await finder.find(part, { points: [part.inPart(point)] }, { format: "svg" })))
    if (performance.now() - begun > SLOW_MS) slow.count += 1
    if (wanted !== point) return // the mouse has moved
    rings = ringsOf(answer.mask.path).map((ring) => ring.map(part.inPhoto))
    redraw()
  }

  /** Asks for the point where the mouse rests, after the request that the server still computes. */
  async function askInTurn() {
    if (isAsking) return
    isAsking = true
    for (let point = /** @type {number[] | null} */ (null); wanted && wanted !== point && slow.count < MOST_SLOW; ) {
      point = wanted
      await ask(point).catch(() => {}) // only a hint: no message
    }
    isAsking = false
  }

  return {
    /** The mouse is at a point of the photo. @param {{x: number, y: number}} point */
    at({ x, y }) {
      drop()
      const photo = finder.photo()
      if (!photo || x < 0 || y < 0 || x >= photo.width || y >= photo.height) return
      if (slow.photo !== photo.id) slow = { photo: photo.id, count: 0 }
      timer = setTimeout(() => { wanted = [x, y]; askInTurn() }, REST_MS)
    },
    drop,
    /** @returns {import("editor/tools/guides").Guide[]} */
    guides: () => (rings.length ? [{ kind: "outlines", rings }] : []),
  }
}

/** The corners of each outline of an SVG path as the server writes it: M x y L x y … Z. @param {string} path */
const ringsOf = (path) =>
  path.split("Z").filter((ring) => ring.trim()).map((ring) => ring.trim().slice(1).split("L").map((corner) => corner.split(" ").map(Number)))
