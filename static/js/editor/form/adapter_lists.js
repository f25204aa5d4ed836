// The settings that list adapters, as rows of inputs and as the fields of a request. Pure: no DOM.
//
// The inputs of the first row have the names of its settings in the API, those of the nth end in _n. The API takes
// several as a list, whose nth entry has the nth image.

/** @typedef {{setting: string, id: string, images: string[], first: Record<string, string>, numbers: string[]}} AdapterList
 *  setting: the name of the list; id: the prefix of its elements' ids; images: the file of each entry, by its name in the API;
 *  first: the settings of the first entry, that of the adapter before the others -> the field of an entry; numbers: the fields
 *  that are numbers */

/** @typedef {import("editor/form/settings_form").Settings} Settings */
/** @typedef {Record<string, string | undefined>} Texts  by the names of the inputs */
/** @typedef {Record<string, string | number>} ListEntry  an adapter in a list of the API */

/** @param {string} name @param {number} number */
export const numbered = (name, number) => (number > 1 ? `${name}_${number}` : name)

/** The setting that names the first adapter of a list. @param {AdapterList} list */
export const adapterOf = ({ first }) => Object.keys(first)[0]

export class AdapterLists {
  #lists
  /** @type {Map<string, string[]>} */
  #rowsOf = new Map() // setting of a first entry -> the names of its inputs in all rows

  /** @param {AdapterList[]} lists */
  constructor(lists) {
    this.#lists = lists
    for (const { first, images } of lists) {
      for (const setting of Object.keys(first)) this.#rowsOf.set(setting, images.map((_, index) => numbered(setting, index + 1)))
    }
  }

  /** The names of the inputs that choose an adapter. */
  get adapters() {
    return this.#lists.flatMap((list) => this.namesOf(adapterOf(list)))
  }

  /** The setting that an input of any row is for: "control" of "control_2"; other names as they are. @param {string} name */
  settingOf(name) {
    const setting = name.replace(/_\d+$/, "")
    return this.#rowsOf.has(setting) ? setting : name
  }

  /** The names of the inputs of a setting in all rows. @param {string} setting */
  namesOf(setting) {
    return this.#rowsOf.get(setting) ?? [setting]
  }

  /** A request of the API as values of the inputs: without lists.
   *  @param {Settings} request @returns {Settings} */
  inRows(request) {
    /** @type {Settings} */
    const values = { ...request }
    for (const { setting: list, first } of this.#lists) {
      delete values[list]
      for (const [index, entry] of /** @type {ListEntry[]} */ (request[list] ?? []).entries()) {
        for (const [setting, field] of Object.entries(first)) values[numbered(setting, index + 1)] = entry[field] ?? undefined
      }
    }
    return values
  }

  /** Values of the inputs as the fields of a request: with a list, as JSON text, where a row after the first is filled.
   *  @param {Texts} values @returns {Record<string, string>} */
  inLists(values) {
    const request = /** @type {Record<string, string>} */ ({ ...values })
    for (const list of this.#lists) {
      const rows = list.images.map((_, index) => entryOf(values, list, index + 1))
      const isList = rows.slice(1).some(({ slug }) => slug)
      for (const setting of Object.keys(list.first)) {
        for (const name of this.namesOf(setting)) if (isList || name !== setting) delete request[name]
      }
      if (isList) request[list.setting] = JSON.stringify(rows.filter(({ slug }) => slug))
    }
    return request
  }
}

/** @param {Texts} values @param {AdapterList} list @param {number} number */
function entryOf(values, { first, numbers }, number) {
  /** @type {ListEntry} */
  const entry = {}
  for (const [setting, field] of Object.entries(first)) {
    const value = values[numbered(setting, number)]
    if (value !== undefined) entry[field] = numbers.includes(field) ? Number(value) : value
  }
  return entry
}
