// The order in which the editor shows the results of a generation: the best first. Pure: no DOM.

/** The numbers of these results (from 0, the order of the API) by their score, the best first. Those without a score come
 *  last, and equal ones stay in the order of the API. @param {{score?: number | null}[]} images @returns {number[]} */
export const ranked = (images) => images.map((_, index) => index).toSorted((one, other) => (images[other].score ?? -1) - (images[one].score ?? -1))

/** The number of the best of these results. @param {{score?: number | null}[]} images */
export const best = (images) => ranked(images)[0]

/** The first in `order` that is not among `seen`; undefined where all are. @template T @param {T[]} order @param {Set<T>} seen */
export const nextUnseen = (order, seen) => order.find((index) => !seen.has(index))
