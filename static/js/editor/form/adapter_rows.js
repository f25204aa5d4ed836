// The ControlNets and the IP-Adapters of the form: a row of inputs for each, of which the first is always there.
//
// The inputs of the first row have the names of its settings in the API, those of the nth end in _n. The API takes
// several as a list, whose nth entry has the nth image.

import { ConditioningImage } from "editor/form/conditioning_image"

/** List -> the settings of its first entry, by their fields in an entry. */
const LISTS = {
  controls: {
    control: "slug",
    control_strength: "strength",
    control_start: "start",
    control_end: "end",
    control_type: "type",
  },
  ip_adapters: { ip_adapter: "slug", ip_adapter_scale: "scale" },
}
const TEXTS = new Set(["slug", "type"])
const NUMBERS = [1, 2, 3, 4]
const SETTINGS = new Set(Object.values(LISTS).flatMap((fields) => Object.keys(fields)))

const numbered = (name, number) => (number > 1 ? `${name}_${number}` : name)

/** The setting that an input of any row is for: "control" of "control_2"; other names as they are. */
export function settingOf(name) {
  const setting = name.replace(/_\d$/, "")
  return SETTINGS.has(setting) ? setting : name
}

/** The names of the inputs of a setting in all rows. */
export const namesOf = (setting) => (SETTINGS.has(setting) ? NUMBERS.map((number) => numbered(setting, number)) : [setting])

/** A request of the API as values of the inputs: without lists. */
export function inRows(request) {
  const values = { ...request }
  for (const [list, fields] of Object.entries(LISTS)) {
    delete values[list]
    for (const [index, entry] of (request[list] ?? []).entries()) {
      for (const [setting, field] of Object.entries(fields)) values[numbered(setting, index + 1)] = entry[field] ?? undefined
    }
  }
  return values
}

/** Values of the inputs as the fields of a request: with a list, as JSON text, where a row after the first is filled. */
export function inLists(values) {
  const request = { ...values }
  for (const [list, fields] of Object.entries(LISTS)) {
    const rows = NUMBERS.map((number) => entryOf(values, fields, number))
    const isList = rows.slice(1).some(({ slug }) => slug)
    for (const setting of Object.keys(fields)) {
      for (const name of namesOf(setting)) if (isList || name !== setting) delete request[name]
    }
    if (isList) request[list] = JSON.stringify(rows.filter(({ slug }) => slug))
  }
  return request
}

function entryOf(values, fields, number) {
  const entry = {}
  for (const [setting, field] of Object.entries(fields)) {
    const value = values[numbered(setting, number)]
    if (value !== undefined) entry[field] = TEXTS.has(field) ? value : Number(value)
  }
  return entry
}

export class AdapterRows {
  #rows
  #add
  #added = new Set() // rows that were asked for and are still empty

  /** `setting` names the first adapter in the API, `image` its image. `options` are those of ConditioningImage. */
  constructor({ setting, image, id, ...options }) {
    this.#rows = NUMBERS.map((number) => {
      const ids = { id: number > 1 ? `${id}-${number}` : id, image: numbered(image, number) }
      return new ConditioningImage({ ...options, ...ids, setting: numbered(setting, number), first: image })
    })
    this.#add = document.getElementById(`${id}-add`)
    this.#add.addEventListener("click", () => {
      const [row] = this.#hidden
      this.#added.add(row)
      this.show()
      row.focusAdapter()
    })
    for (const row of this.#rows.slice(1)) {
      row.onRemove(() => {
        this.#added.delete(row)
        row.clear() // calls onChange
        this.#add.focus()
      })
    }
  }

  /** The images, a ConditioningImage for each row. */
  get images() {
    return this.#rows
  }

  /** The files to send, by the names of the API: the nth image is that of the nth adapter that is chosen. */
  get files() {
    const chosen = this.#rows.filter(({ isChosen }) => isChosen)
    const files = chosen.map(({ file }, index) => [this.#rows[index].image, file])
    return Object.fromEntries(files.filter(([, file]) => file))
  }

  /** Empty rows are hidden but for the first one and those that were asked for. */
  show() {
    for (const row of this.#rows) row.show(row === this.#rows[0] || row.isChosen || this.#added.has(row))
    this.#add.hidden = !this.#rows[0].isChosen || !this.#hidden.length || this.#rows.some((row) => !row.isHidden && !row.isChosen)
  }

  /** Empties all rows. */
  clear() {
    this.#added.clear()
    for (const row of this.#rows) row.forget()
  }

  get #hidden() {
    return this.#rows.filter(({ isHidden }) => isHidden)
  }
}
