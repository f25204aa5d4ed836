// Selects an object by a click on it, a box around it or words for it: the server finds its pixels (editor/tools/object/finder.js).
//
// A further click can belong to the last object: Shift adds what is there to it, Shift and Alt take it away; so does the
// option of the tool. Each click is one step of undo, after which the clicks before it count again. A click while the
// server still looks for the object of the one before takes its place; where both mark the same object, both count.
// The server may find several masks, such as a part and the whole: `resize` puts the next smaller or larger one in place.

import { replaceLast } from "editor/document/document"
import { picture } from "editor/document/operations"
import { put } from "editor/document/images"
import { blobOf, difference } from "editor/tools/object/finder"
import { boxOf, clipped, distance } from "editor/tools/geometry"
import { hovering } from "editor/tools/object/hover"

const AROUND_BOX = 0.4
const TO_DRAG = 6 // pixels of the screen: a shorter drag is a click
const NOTHING = "No object was found here. Try a box around it."

/** @param {import("../toolbox.js").Tooling} tooling */
export function object({ add, finder, options, photo, redraw, refresh, showMessage, scale, store, words }) {
  const hover = hovering({ finder, redraw })
  const found = new WeakMap() // operation -> {part, hints, mask}: what was asked for it
  const alternatives = new WeakMap() // operation -> {part, masks, at}: all that were found, smallest first, and which is in use
  let live = null
  let resizing = Promise.resolve()
  let asked = null // {part, hints, controller, refinable}: the request that is not answered yet

  /** Asks for masks in place of what is asked; null where nothing is found or something else is asked meanwhile.
   *  masks: smallest first; at: which fits best.
   *  refinable: {mask, isMore} of the click that refines, {} of a first one, null where further clicks refine something else. */
  async function find(part, hints, { fields = {}, refinable = null } = {}) {
    asked?.controller.abort()
    const request = asked = { part, hints, controller: new AbortController(), refinable }
    const { signal } = request.controller
    showMessage("Looking for the object…")
    try {
      const answer = await finder.find(part, hints, fields, signal)
      if (signal.aborted || photo()?.id !== part.photo) return null
      showMessage(answer.box ? "" : NOTHING)
      return answer.box ? bySize(answer) : null
    } catch (error) {
      if (signal.aborted) return null
      throw error
    } finally {
      if (asked === request) asked = null
    }
  }

  /** What a further click refines: what is asked, where it fits, or else the last operation. */
  function refined(isMore) {
    const { part, hints, refinable } = asked ?? {}
    const fits = refinable && part.photo === photo()?.id && (!refinable.mask || refinable.isMore === isMore)
    return fits ? { part, hints, mask: refinable.mask } : found.get(store.view.operations.at(-1))
  }

  const operationOf = async (part, mask, erases) => picture({ erases, picture: await put(mask), box: part.box })
  const keep = async (part, mask, erases = false) => add(await operationOf(part, mask, erases))

  /** Adds what fits best; the others can take its place. */
  async function keepBest(part, { masks, at }, erases) {
    await keep(part, masks[at], erases)
    alternatives.set(store.view.operations.at(-1), { part, masks, at })
  }

  /** Further clicks belong to the operation that was added. */
  const remember = (part, hints, mask) => found.set(store.view.operations.at(-1), { part, hints, mask })

  /** The last step of undo, where it is an operation of this tool. */
  const lastOperation = () => {
    const { entries, cursor } = store.document
    return entries[cursor - 1]?.operation
  }

  /** Puts the next smaller (-1) or larger (1) mask in place of the last operation, as the same step of undo. */
  async function resize(step) {
    const operation = lastOperation()
    const { part, masks, at } = alternatives.get(operation) ?? { masks: [] }
    const mask = masks[at + step]
    if (!mask) return
    const next = await operationOf(part, mask, operation.erases)
    if (lastOperation() !== operation) return
    const request = found.get(operation)
    store.update((document) => replaceLast(document, { kind: "mask", operation: next }))
    alternatives.set(lastOperation(), { part, masks, at: at + step })
    if (request) found.set(lastOperation(), { ...request, mask })
    refresh()
  }

  async function select({ from, to, erases, belongs }) {
    const isClick = distance(from, to) * scale() < TO_DRAG
    const box = isClick ? null : clipped(boxOf(from, to), photo())
    if (isClick ? !isInside(from) : !box) return
    const last = belongs !== "new" && isClick && refined(belongs === "more")
    if (last) return refine(last, from, belongs === "more")
    const part = await (isClick ? finder.visiblePart() : finder.partAround(box, AROUND_BOX))
    const hints = isClick ? { points: [[...part.inPart(from), 1]] } : { box: [...part.inPart(box.slice(0, 2)), ...part.inPart(box.slice(2))] }
    const answer = await find(part, hints, { refinable: erases ? null : {} })
    if (!answer) return
    await keepBest(part, answer, erases)
    if (!erases) remember(part, hints, answer.masks[answer.at])
    refresh()
  }

  /** One more click on the last object, or beside it. before: its mask; none where its first request is not answered. */
  async function refine({ part, hints, mask: before }, point, isMore) {
    const { box: [left, top, right, bottom] } = part
    if (point[0] < left || point[0] >= right || point[1] < top || point[1] >= bottom) return showMessage("This is too far from the last object.")
    const more = { ...hints, points: [...(hints.points ?? []), [...part.inPart(point), Number(isMore)]] }
    const answer = await find(part, more, { refinable: { mask: before, isMore } })
    if (!answer) return
    const mask = answer.masks[answer.at]
    const adds = isMore || !before
    const change = adds ? mask : await difference(before, mask)
    if (!change) return showMessage("Nothing was taken away here.")
    await keep(part, change, !adds)
    remember(part, more, mask)
  }

  async function selectWords(text) {
    const part = await finder.visiblePart()
    if (!part) return
    const answer = await find(part, { words: text }, { fields: { segmenter: words } })
    if (!answer) return
    await keepBest(part, answer, options.values.erases)
    refresh()
  }

  const isInside = ([x, y]) => Boolean(clipped([x, y, x + 0.01, y + 0.01], photo()))
  const belonging = ({ shift, alt }) => (shift ? (alt ? "less" : "more") : options.values.belongs)
  const reportErrors = (work) => work.catch((error) => showMessage(error.message))

  return {
    name: "object",
    byKeys: "click",
    words: (text) => reportErrors(selectWords(text)),
    /** Whether there is a smaller (-1) or a larger (1) mask for the last operation, or (0) any other. */
    canResize(step) {
      const { masks, at } = alternatives.get(lastOperation()) ?? { masks: [] }
      return step ? Boolean(masks[at + step]) : masks.length > 1
    },
    resize: (step) => (resizing = resizing.then(() => reportErrors(resize(step)))),
    down(point) {
      hover.drop()
      const belongs = belonging(point)
      live = { from: [point.x, point.y], to: [point.x, point.y], belongs, erases: options.values.erases !== (point.alt || point.erases) }
    },
    move(points) {
      if (!live) return
      live.to = [points.at(-1).x, points.at(-1).y]
      redraw()
    },
    up() {
      if (!live) return
      const selection = live
      live = null
      redraw()
      reportErrors(select(selection))
    },
    cancel() {
      live = null
      hover.drop()
      redraw()
    },
    hover(point) {
      if (!live) hover.at(point)
    },
    leave: () => { hover.drop() },
    get isDrawing() {
      return live !== null
    },
    guides: () => (live && distance(live.from, live.to) * scale() >= TO_DRAG ? [{ kind: "rectangle", box: boxOf(live.from, live.to) }] : hover.guides()),
  }
}

/** The masks of an answer, smallest first, and the place of the best one among them. */
function bySize(answer) {
  const sorted = [answer, ...answer.candidates].sort((one, other) => one.area - other.area)
  return { masks: sorted.map(({ mask }) => blobOf(mask)), at: sorted.indexOf(answer) }
}
