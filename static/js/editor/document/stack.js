// The steps that a photo shows together, as the document keeps them: undo and redo bring them back. Pure: no DOM.

/** @typedef {{generation: string, image: number, hidden: boolean, painted_back: string | null, made_on: string[]}} Step
 *  image: which of its results, from 0; painted_back: the mask where it shows what lies beneath; made_on: the `seen` of what
 *  it was made on */
/** @typedef {Step & {made_on_hidden: boolean, changes_size: boolean, verb: import("job/follow").Verb, status: string, engine: string, prompt: string,
 *   window: number[] | null, width: number, height: number, url: string | null, thumbnail: string | null}} ServedStep
 *  url: null while it is not painted */
/** @typedef {{id: string | null, revision: number, photo: {url: string, thumbnail: string, name: string},
 *   steps: ServedStep[], seen: string[], image: {url: string | null, is_flattened: boolean}}} ServedStack
 *  a stack as the API renders it */
/** @typedef {{id: string, steps: readonly Step[], seen: readonly string[], replaces?: string, paintsBack?: string}} Stack
 *  steps: the lowest first; seen: keys of those that the photo shows; replaces: the generation of the step that is run again
 *  on this photo; paintsBack: that of the step whose mask is painted on it */

/** A stack from plain JSON. Raises RangeError where a value is missing or wrong. @param {Stack} json @returns {Stack} */
export function readStack({ id, steps, seen, replaces, paintsBack }) {
  const isRight = typeof id === "string" && [steps, seen].every(Array.isArray) && steps.every(({ generation }) => typeof generation === "string")
  if (!isRight) throw new RangeError("This is not valid in a document: a stack.")
  return Object.freeze({
    id, steps: Object.freeze(steps.map(plain)), seen: Object.freeze([...seen]), ...(replaces && { replaces }), ...(paintsBack && { paintsBack }),
  })
}

/** The stack of the document for what the server has. @param {ServedStack} served @param {Partial<Stack>} [what] is done with it
 *  @returns {Stack} */
export const stackOf = ({ id, steps, seen }, what = {}) => readStack({ id: /** @type {string} */ (id), steps, seen, ...what })

/** What is sent of a step. @param {Step} step @returns {Step} */
export const plain = ({ generation, image = 0, hidden = false, painted_back = null, made_on = [] }) => Object.freeze({ generation, image, hidden, painted_back, made_on })

/** Whether two lists of steps are the same. @param {readonly Step[]} one @param {readonly Step[]} other */
export const equal = (one, other) => JSON.stringify(one.map(plain)) === JSON.stringify(other.map(plain))

/** The steps with one hidden, or seen again. One that changes the size is hidden together with all after it, and those are seen
 *  together with it. @param {readonly ServedStep[]} steps @param {string} generation @returns {ServedStep[]} */
export function toggled(steps, generation) {
  const place = steps.findIndex((step) => step.generation === generation)
  const hidden = !steps[place]?.hidden
  return steps.map((step, index) => {
    const goesAlong = hidden ? steps[place]?.changes_size && index > place : step.changes_size && index < place
    return index === place || goesAlong ? { ...step, hidden } : step
  })
}

/** The steps with a result that was kept: on top, or in the place of the one that it replaces.
 *  @param {readonly Step[]} steps @param {Step} kept @param {string | undefined} replaces @returns {Step[]} */
export function withResult(steps, kept, replaces) {
  const others = steps.filter(({ generation }) => generation !== kept.generation)
  if (!others.some(({ generation }) => generation === replaces)) return [...others, kept]
  return others.map((step) => (step.generation === replaces ? { ...kept, hidden: step.hidden } : step))
}

/** The steps of a document after undo or redo, and above them those of the server that the document does not know.
 *  @param {readonly Step[]} mine @param {readonly Step[]} served @param {Set<string>} known generations @returns {Step[]} */
export const restored = (mine, served, known) => [...mine, ...served.filter(({ generation }) => !known.has(generation))]

/** The keys of what is seen beneath a step. @param {ServedStack} stack @param {string} generation */
export function seenBeneath({ steps, seen }, generation) {
  const beneath = steps.slice(0, steps.findIndex((step) => step.generation === generation))
  return seen.slice(0, beneath.filter(({ url, hidden }) => url && !hidden).length)
}

/** The generations that the stacks of these entries have. @param {readonly {kind: string, stack?: Stack}[]} entries */
export const generationsIn = (entries) => new Set(entries.flatMap(({ stack }) => stack?.steps.map(({ generation }) => generation) ?? []))
