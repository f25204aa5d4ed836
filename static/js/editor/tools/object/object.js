// Selects an object by a click on it, a box around it or words for it: the server finds its pixels (editor/tools/object/finder.js).
//
// A further click can belong to the last object: Shift adds what is there to it, Shift and Alt take it away; so does the
// option of the tool. Each click is one step of undo, after which the clicks before it count again. A click while the
// server still looks for the object of the one before takes its place; where both mark the same object, both count.
// The server may find several masks, such as a part and the whole: `resize` puts the next smaller or larger one in place.

import { replaceLast } from "editor/document/document"
import { imageInBox } from "editor/document/operations"
import { put } from "editor/document/images"
import { blobOf, changeBetween } from "editor/tools/object/finder"
import { boxOf, clipped, distance } from "editor/tools/geometry"
import { hovering } from "editor/tools/object/hover"
import { gettext } from "text"

const AROUND_BOX = 0.4
const TO_DRAG = 6 // pixels of the screen: a shorter drag is a click
const NOTHING = gettext("No object was found here. Try a box around it.")

/** @typedef {import("editor/document/operations").Operation} Operation */
/** @typedef {import("editor/document/operations").ImageInBox} ImageInBox */
/** @typedef {import("editor/tools/object/finder").Part} Part */
/** @typedef {import("editor/tools/object/finder").Hints} Hints */
/** @typedef {{part: Part, hints: Hints, mask?: Blob}} Asked  what was asked for an operation, and its mask */
/** @typedef {{masks: Blob[], at: number}} Masks  all that were found, smallest first, and which is in use */
/** @typedef {{mask?: Blob, isMore?: boolean}} Refinable */

/** @param {import("../toolbox.js").Tooling} tooling @returns {import("editor/tools/toolbox").Tool} */
export function object({ add, finder, options, photo, redraw, refresh, showMessage, scale, store, words }) {
  const hover = hovering({ finder, redraw })
  /** @type {WeakMap<Operation, Asked>} */
  const found = new WeakMap()
  /** @type {WeakMap<Operation, Masks & {part: Part}>} */
  const alternatives = new WeakMap()
  /** @type {{from: number[], to: number[], belongs: import("editor/tools/options").Values["belongs"], erases: boolean} | null} */
  let live = null
  let resizing = Promise.resolve()
  /** @type {{part: Part, hints: Hints, controller: AbortController, refinable: Refinable | null} | null} */
  let asked = null // the request that is not answered yet

  /** Asks for masks in place of what is asked; null where nothing is found or something else is asked meanwhile.
   *  masks: smallest first; at: which fits best.
   *  refinable: {mask, isMore} of the click that refines, {} of a first one, null where further clicks refine something else.
   *  @param {Part} part @param {Hints} hints @param {{fields?: Record<string, string>, refinable?: Refinable | null}} options
   *  @returns {Promise<Masks | null>} */
  async function find(part, hints, { fields = {}, refinable = null } = {}) {
    asked?.controller.abort()
    const request = asked = { part, hints, controller: new AbortController(), refinable }
    const { signal } = request.controller
    showMessage(gettext("Looking for the object…"))
    try {
      const answer = await finder.find(part, hints, { soft_edges: String(options.values.softEdges), ...fields }, signal)
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

  /** What a further click refines: what is asked, where it fits, or else the last operation.
   *  @param {boolean} isMore @returns {Asked | undefined} */
  function refined(isMore) {
    const { part, hints, refinable } = /** @type {Partial<NonNullable<typeof asked>>} */ (asked ?? {})
    const fits = refinable && /** @type {Part} */ (part).photo === photo()?.id && (!refinable.mask || refinable.isMore === isMore)
    return fits
      ? { part: /** @type {Part} */ (part), hints: /** @type {Hints} */ (hints), mask: refinable.mask }
      : found.get(/** @type {Operation} */ (store.view.operations.at(-1)))
  }

  /** @param {Part} part @param {Blob} mask @param {boolean} erases */
  const operationOf = async (part, mask, erases) => imageInBox({ erases, image: await put(mask), box: part.box })
  /** @param {Part} part @param {Blob} mask */
  const keep = async (part, mask, erases = false) => add(await operationOf(part, mask, erases))

  /** Adds what fits best; the others can take its place.
   *  @param {Part} part @param {Masks} found @param {boolean} erases */
  async function keepBest(part, { masks, at }, erases) {
    await keep(part, masks[at], erases)
    alternatives.set(/** @type {Operation} */ (store.view.operations.at(-1)), { part, masks, at })
  }

  /** Further clicks belong to the operation that was added.
   *  @param {Part} part @param {Hints} hints @param {Blob} mask */
  const remember = (part, hints, mask) => found.set(/** @type {Operation} */ (store.view.operations.at(-1)), { part, hints, mask })

  /** The last step of undo, where it is an operation of this tool.
   *  @returns {ImageInBox} */
  const lastOperation = () => {
    const { entries, cursor } = store.document
    return /** @type {{operation: ImageInBox}} */ (/** @type {unknown} */ (entries[cursor - 1]))?.operation
  }

  /** Puts the next smaller (-1) or larger (1) mask in place of the last operation, as the same step of undo. @param {number} step */
  async function resize(step) {
    const operation = lastOperation()
    const { part, masks, at } = /** @type {Masks & {part: Part}} */ (alternatives.get(operation) ?? { masks: [] })
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

  /** @param {NonNullable<typeof live>} selection */
  async function select({ from, to, erases, belongs }) {
    const isClick = distance(from, to) * scale() < TO_DRAG
    const box = isClick ? null : clipped(boxOf(from, to), photo())
    if (isClick ? !isInside(from) : !box) return
    const last = belongs !== "new" && isClick && refined(belongs === "more")
    if (last) return refine(last, from, belongs === "more")
    const part = /** @type {Part} */ (await (isClick ? finder.visiblePart() : finder.partAround(/** @type {number[]} */ (box), AROUND_BOX)))
    const hints = isClick ? { points: [[...part.inPart(from), 1]] } : { box: [...part.inPart(/** @type {number[]} */ (box).slice(0, 2)), ...part.inPart(/** @type {number[]} */ (box).slice(2))] }
    const answer = await find(part, hints, { refinable: erases ? null : {} })
    if (!answer) return
    await keepBest(part, answer, erases)
    if (!erases) remember(part, hints, answer.masks[answer.at])
    refresh()
  }

  /** One more click on the last object, or beside it. before: its mask; none where its first request is not answered.
   *  @param {Asked} last @param {number[]} point @param {boolean} isMore */
  async function refine({ part, hints, mask: before }, point, isMore) {
    const { box: [left, top, right, bottom] } = part
    if (point[0] < left || point[0] >= right || point[1] < top || point[1] >= bottom) return showMessage(gettext("This is too far from the last object."))
    const more = { ...hints, points: [...(hints.points ?? []), [...part.inPart(point), Number(isMore)]] }
    const answer = await find(part, more, { refinable: { mask: before, isMore } })
    if (!answer) return
    const mask = answer.masks[answer.at]
    const erases = !isMore && Boolean(before)
    const change = before ? await changeBetween(before, mask, erases) : mask
    if (!change) return showMessage(erases ? gettext("Nothing was taken away here.") : gettext("Nothing was added here."))
    await keep(part, change, erases)
    remember(part, more, mask)
  }

  /** @param {string} text */
  async function selectWords(text) {
    const part = await finder.visiblePart()
    if (!part) return
    const answer = await find(part, { words: text }, { fields: { segmenter: words } })
    if (!answer) return
    await keepBest(part, answer, options.values.erases)
    refresh()
  }

  /** @param {number[]} point */
  const isInside = ([x, y]) => Boolean(clipped([x, y, x + 0.01, y + 0.01], photo()))
  /** @param {import("../toolbox.js").Point} point */
  const belonging = ({ shift, alt }) => (shift ? (alt ? "less" : "more") : options.values.belongs)
  /** @param {Promise<void>} work */
  const reportErrors = (work) => work.catch((error) => showMessage(/** @type {Error} */ (error).message))

  return {
    name: "object",
    byKeys: "click",
    words: (text) => reportErrors(selectWords(text)),
    /** Whether there is a smaller (-1) or a larger (1) mask for the last operation, or (0) any other. */
    canResize(step) {
      const { masks, at } = /** @type {Masks} */ (alternatives.get(lastOperation()) ?? { masks: [] })
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
      live.to = [/** @type {import("../toolbox.js").Point} */ (points.at(-1)).x, /** @type {import("../toolbox.js").Point} */ (points.at(-1)).y]
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

/** The masks of an answer, smallest first, and the place of the best one among them.
 *  @param {import("editor/tools/object/finder").Answer} answer @returns {Masks} */
function bySize(answer) {
  const sorted = [answer, ...answer.candidates].sort((one, other) => one.area - other.area)
  return { masks: sorted.map(({ mask }) => blobOf(mask)), at: sorted.indexOf(answer) }
}
