// Finding and making elements.

/** Finds an element of the page by its id; `Elements`: those that are more than an HTMLElement, by their ids.
 *  @template [Elements={}]
 *  @typedef {<Id extends string>(id: Id) => Id extends keyof Elements ? Elements[Id] : HTMLElement} ById */

/** `document.getElementById`, to be cast to the `ById` of a page. */
export const byId = /** @type {unknown} */ ((/** @type {string} */ id) => document.getElementById(id))

/** @template {keyof HTMLElementTagNameMap} Name @param {Name} name @param {object} properties
 *  @param {...(Node | string)} children @returns {HTMLElementTagNameMap[Name]} */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}
