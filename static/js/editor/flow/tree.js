// The edit tree: steps made from generations, each with the step that it continues. Pure: no DOM.

import { best } from "editor/flow/ranking"
import { stepInWords } from "editor/flow/verbs"

/** @typedef {{id: string, parent: string | null, image: number, url: string, thumbnail: string, label: string, at: string}} Step
 *  image: the result that goes on, from 0; url: of that result; at: when it was made, ISO 8601 */
/** @typedef {Step & {number: number, from: number, branches: boolean}} PlacedStep */

/** A step from a generation as the API renders it, with the result `chosen` (from 0), or the best one; null without one.
 *  @param {import("job/follow").Generation} generation @param {number | null} chosen @returns {Step | null} */
export function stepOf({ id, parent, images, metadata, created_at }, chosen = null) {
  if (!images?.length) return null
  const image = chosen !== null && chosen < images.length ? chosen : best(images)
  const { url, copy } = images[image]
  const { verb, prompt, ignored } = metadata
  return {
    id,
    parent,
    image,
    url: copy ? `${url}?format=png` : url, // the lossless one
    thumbnail: `${url}thumbnail/`,
    label: stepInWords({ verb, prompt: ignored.includes("prompt") ? "" : prompt }),
    at: created_at,
  }
}

/** Adds steps, or generations; a known one is replaced. @template {{id: string}} T @param {T[]} steps @param {T[]} others @returns {T[]} */
export function merged(steps, others) {
  const byId = new Map([...steps, ...others].map((step) => [step.id, step]))
  return [...byId.values()]
}

/**
 * The steps in the order of the filmstrip: each after the step that it continues, older ones first, a branch to its end
 * before the next. `number` counts from 1 in the order in which they were made, `from` is the number of the step that it
 * continues (0 = the photo), `branches` says that it is not the first to continue that step.
 * @param {Step[]} steps @returns {PlacedStep[]}
 */
export function inOrder(steps) {
  const made = steps.toSorted((one, other) => one.at.localeCompare(other.at))
  /** @type {Map<string | null, number>} */
  const numbers = new Map(made.map(({ id }, index) => [id, index + 1]))
  /** @param {string | null} id */
  const known = (id) => (numbers.has(id) ? id : null) // a step whose parent was deleted starts at the photo
  const children = Map.groupBy(made, ({ parent }) => known(parent))
  const found = []
  const waiting = (children.get(null) ?? []).toReversed()
  for (let step = waiting.pop(); step; step = waiting.pop()) {
    const from = known(step.parent)
    found.push({ ...step, number: numbers.get(step.id) ?? 0, from: numbers.get(from ?? "") ?? 0, branches: children.get(from)?.[0] !== step })
    waiting.push(...(children.get(step.id) ?? []).toReversed())
  }
  return found
}

/** The ids of a step and of all that it continues, the newest first. @param {Step[]} steps @param {string | null} id @returns {string[]} */
export function pathTo(steps, id) {
  /** @type {Map<string | null, Step>} */
  const byId = new Map(steps.map((step) => [step.id, step]))
  /** @type {string[]} */
  const path = []
  for (let step = byId.get(id); step && !path.includes(step.id); step = byId.get(step.parent ?? "")) path.push(step.id)
  return path
}
