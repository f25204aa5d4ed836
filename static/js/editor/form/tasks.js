// What the person wants to do with the photo: remove something, replace it, extend the photo or enlarge it. Each task has
// its words.

import { gettext, pgettext } from "text"

/** @typedef {"remove" | "replace" | "extend" | "enlarge"} Task */
/** @typedef {{button: string, placeholder: string, mark: string, markByTouch: string}} Words
 *  button: of the main button; placeholder: of the prompt; mark: what to do where nothing is marked yet */

/** @type {Readonly<Record<Task, Words>>} */
export const TASKS = Object.freeze({
  remove: {
    button: pgettext("an object of a photo", "Remove"),
    placeholder: "",
    mark: gettext("Brush over what should go, or drop a mask."),
    markByTouch: gettext("Brush over what should go."),
  },
  replace: {
    button: gettext("Replace"),
    placeholder: gettext("What should be there?"),
    mark: gettext("Brush over what should be replaced, or drop a mask."),
    markByTouch: gettext("Brush over what should be replaced."),
  },
  extend: {
    button: gettext("Extend"),
    placeholder: gettext("What should the new part show? (may stay empty)"),
    mark: gettext("Drag an edge outward, or choose a size under Options."),
    markByTouch: gettext("Drag an edge outward."),
  },
  enlarge: { button: gettext("Enlarge"), placeholder: gettext("What does the photo show? (may stay empty)"), mark: "", markByTouch: "" },
})

/** The task of a request that does not name it, by what it asks for. @param {Record<string, unknown>} request @returns {Task} */
export function taskOf(request) {
  if (typeof request.task === "string" && Object.hasOwn(TASKS, request.task)) return /** @type {Task} */ (request.task)
  if (Object.keys(request).some((name) => name.startsWith("outpaint_") && request[name])) return "extend"
  if (request.engine === "upscale") return "enlarge"
  return request.prompt ? "replace" : "remove"
}

export class Tasks {
  #list
  #form
  #canReplace
  #detail
  #onChange

  /** `list` holds a radio button for each task, `form` shows the chosen one in data-task; `canReplace`: whether a model is
   *  installed that reads prompts. `onChange(task)` is called when it is another one, `onChoose(task)` when the person has
   *  chosen one.
   *  @param {{list: HTMLElement, form: import("editor/form/settings_form").Form, canReplace: boolean, detail: import("editor/form/detail").Detail}} parts
   *  @param {{onChange: (task: Task) => void, onChoose: (task: Task) => void}} listeners */
  constructor({ list, form, canReplace, detail }, { onChange, onChoose }) {
    this.#list = list
    this.#form = form
    this.#canReplace = canReplace
    this.#detail = detail
    this.#onChange = onChange
    for (const radio of this.#radios) {
      radio.addEventListener("change", () => {
        this.current = /** @type {Task} */ (radio.value)
        if (list.matches(":popover-open")) list.hidePopover()
        onChoose(this.current)
      })
    }
    this.#show("remove")
  }

  get current() {
    return /** @type {Task} */ (this.#form.dataset.task)
  }

  set current(task) {
    if (task === this.current) return
    this.#show(task)
    this.#onChange(task)
  }

  /** Shows the fields of the task again: detail was turned on or off. */
  refresh() {
    this.#show(this.current)
  }

  /** @param {Task} task */
  #show(task) {
    this.#form.dataset.task = task
    for (const radio of this.#radios) radio.checked = radio.value === task
    const { prompt } = this.#form.elements
    prompt.placeholder = TASKS[task].placeholder
    const field = /** @type {HTMLElement} */ (prompt.closest(".field"))
    field.hidden = !this.readsPrompt
    this.#detail.show(task === "enlarge")
    const scale = /** @type {HTMLElement} */ (document.getElementById("scale-field"))
    scale.hidden = task !== "enlarge"
  }

  /** Whether a model is installed that reads prompts. */
  get canReplace() {
    return this.#canReplace
  }

  /** The prompt is read in this task. */
  get readsPrompt() {
    return this.#canReplace && (this.current === "enlarge" ? this.#detail.isOn : this.current !== "remove")
  }

  /** Only a model could do this, and there is none. */
  get lacksModel() {
    return this.current === "replace" && !this.#canReplace
  }

  get words() {
    return TASKS[this.current]
  }

  /** @returns {NodeListOf<HTMLInputElement>} */
  get #radios() {
    return this.#list.querySelectorAll("input[name=task]")
  }
}
