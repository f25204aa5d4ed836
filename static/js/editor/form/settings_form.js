// The form beside the photo: reading it, filling it, and showing what the server's plan says of it.
//
// Every input of a setting has the attribute data-setting, its name is that of the API and data-label is for people.
// Which engine `auto` takes, what is used where a field is empty and what has no effect is in the plan's answer.

import { fetchFile } from "api"
import { byId } from "dom"
import { AdapterLists } from "editor/form/adapter_lists"
import { AdapterRows } from "editor/form/adapter_rows"
import { ImageZone } from "editor/form/image_zone"
import { Embeddings } from "editor/form/embeddings"
import { Insert } from "editor/form/insert"
import { Loras } from "editor/form/loras"
import { Plan } from "editor/form/plan"
import { ReferenceImages } from "editor/form/reference_images"
import { Regions } from "editor/form/regions"
import { taskOf } from "editor/form/tasks"
import { gettext, ngettext, number } from "text"

/** @typedef {import("editor/form/conditioning_image").Adapter} Adapter */
/** @typedef {import("editor/form/conditioning_image").Generation} Generation */
/** @typedef {import("editor/form/conditioning_image").ConditioningImage | import("editor/form/reference_images").ReferenceImage | Insert} FormImage */
/** @typedef {import("editor/form/plan").FormPlan} FormPlan */
/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Input */
/** @typedef {{name: string, label: string, missing: string | boolean, reads_prompt: boolean}} Engine */
/** What is entered, by the names of the API; images as {image: id, name}.
 *  @typedef {{task?: import("editor/form/tasks").Task, engine?: string, model?: string | null, prompt?: string, loras?: import("editor/form/loras").Lora[], regions?: import("editor/form/regions").Region[],
 *    safety_checker?: boolean, safety_checker_type?: string} & Record<string, unknown>} Settings */
/** The form by the names of its inputs; `safety_checker_type`: where a checker is installed.
 *  @typedef {HTMLFormElement & {engine: HTMLSelectElement, prompt: HTMLTextAreaElement, denoising_strength: HTMLInputElement,
 *    strength_shown: HTMLOutputElement, safety_checker_type?: HTMLSelectElement,
 *    elements: HTMLFormControlsCollection & Record<string, Input> & {prompt: HTMLTextAreaElement}}} Form */

const $ = /** @type {import("dom").ById<{more: HTMLDetailsElement}>} */ (byId)

export class SettingsForm {
  #form
  /** @type {Input[]} */
  #inputs
  #tasks
  #detail
  #engines
  #adapters
  #plan
  #loras = new Loras(document.getElementById("loras"))
  #embeddings
  #adapterLists
  #adapterRows
  #references
  #regions
  /** @type {import("editor/view/window_outline").Marked | null} */
  #marked = null
  #isFilling = false
  #onChange = () => {}

  /**
   * `engines` [{name, label, missing, reads_prompt}] and `adapters` [{slug, label, kind, …}, …] are all that are installed, `plan` is
   * the server's answer for the empty form, `limits` what an image may have, `constants` {adapter_lists, computed_controls, references, region_masks}.
   * `currentMask` makes a file of the mask, see `Regions`; `mayInsert`: whether an image can be inserted into the photo as it is; `onInsertMove` and `onInsertChosen` see `Insert`. `tasks`: which task is chosen; `detail`: of the enlarged photo. `onChange` is called when the form or what the plan says of it has changed.
   * @param {Form} form
   * @param {{tasks: import("editor/form/tasks").Tasks, detail: import("editor/form/detail").Detail, engines: Engine[], adapters: Adapter[], plan: import("editor/form/plan").Answer,
   *   limits: import("editor/form/conditioning_image").Options["limits"], onChange: () => void, onInsertMove: () => void, onInsertChosen: () => void,
   *   currentMask: () => Promise<Blob | null>, mayInsert: () => boolean,
   *   constants: {adapter_lists: import("editor/form/adapter_lists").AdapterList[], computed_controls: string[], references: string[], region_masks: string[]}}} options
   */
  constructor(form, { tasks, detail, engines, adapters, plan, limits, constants, currentMask, mayInsert, onInsertMove, onInsertChosen, onChange }) {
    this.#form = form
    this.#tasks = tasks
    this.#detail = detail
    this.#inputs = [.../** @type {NodeListOf<Input>} */ (form.querySelectorAll("[data-setting]"))]
    this.#engines = engines
    this.#adapters = adapters
    this.#plan = new Plan(/** @type {string} */ (form.dataset.planUrl), plan, () => this.#show())
    this.#embeddings = new Embeddings(form.elements.prompt)
    const options = { adapters, limits, computed: constants.computed_controls, onChange: () => form.dispatchEvent(new Event("input")) }
    this.#adapterLists = new AdapterLists(constants.adapter_lists)
    this.#adapterRows = constants.adapter_lists.map((list) => new AdapterRows(list, options))
    this.#references = new ReferenceImages(constants.references, options)
    this.#regions = new Regions(constants.region_masks, { currentMask, onChange: options.onChange })
    this.insert = new Insert({ ...options, form, isWanted: () => tasks.current === "replace" && mayInsert(), onMove: onInsertMove, onChosen: onInsertChosen })
    form.addEventListener("input", ({ target }) => {
      /** @type {Element} */ (target).removeAttribute("aria-invalid")
      this.#showChoices()
      this.#plan.askSoon(() => this.#question())
    })
    $("more-clear").addEventListener("click", () => this.#clear())
    this.#show()
    this.#onChange = onChange
  }

  /** The settings that can be changed now, by their labels; `show()` leads to one. */
  fields() {
    const shown = this.#inputs.filter((input) => input.name !== "prompt" && !input.disabled && !isHidden(input))
    return shown.map((input) => ({
      label: /** @type {string} */ (input.dataset.label),
      show: () => {
        openSections(input)
        input.focus()
      },
    }))
  }

  /** The fields to send. The prompt always, for it names the generation in the history; of the rest what has an effect.
   *  @param {{engine?: string}} options @returns {Record<string, string>} */
  values({ engine = this.#form.engine.value } = {}) {
    const model = this.#modelOf(engine === "auto" ? this.#plan.latest.engine : engine)
    return { prompt: this.#prompt, engine, ...(model && { model }), ...this.#sent() }
  }

  /** The fields to send where no image is inserted. */
  get valuesWithoutInsert() {
    return Object.fromEntries(Object.entries(this.values()).filter(([name]) => !(name in this.insert.entered)))
  }

  /** What the mask marks, for the window of the plan. @returns {import("editor/view/window_outline").Marked | null} */
  get marked() {
    return this.#marked
  }

  set marked(marked) {
    this.insert.marked = marked
    if (JSON.stringify(marked) === JSON.stringify(this.#marked)) return
    this.#marked = marked
    this.#plan.askSoon(() => this.#question())
  }

  /** The part of the photo that a model would get; null where the engine has no size of its own, or nothing is marked. */
  get window() {
    const { window, work_size } = this.#plan.latest
    return this.reads("only_masked_padding") ? { window, work_size } : { window: null, work_size: null }
  }

  /** Whether the planned engine reads a setting. @param {string} name */
  reads(name) {
    return !(name in this.#plan.latest.ignored)
  }

  /** The other engine without a prompt, where `auto` takes one and both can paint; undefined elsewhere. */
  get otherEngine() {
    const canErase = this.#engines.filter(({ reads_prompt, missing }) => !reads_prompt && !missing).map(({ name }) => name)
    const { engine } = this.#plan.latest
    if (this.#form.engine.value !== "auto" || !canErase.includes(engine)) return undefined
    return canErase.find((name) => name !== engine)
  }

  /** All that is entered, as `fill` takes it: also what has no effect now. Images are {image: id, name}. @returns {Settings} */
  entered() {
    const filled = this.#inputs.filter((input) => input.value.trim() && !isDefault(input)).map(({ name, value }) => [name, value])
    const moderation = this.#form.safety_checker_type?.value
    return {
      ...Object.fromEntries(filled),
      ...this.#detail.fields,
      task: this.#tasks.current,
      engine: this.#form.engine.value,
      model: this.#modelOf(this.#plan.latest.engine) ?? null,
      loras: this.#loras.chosen,
      ...(moderation && { safety_checker: true, safety_checker_type: moderation }),
      ...(this.#regions.entered.length && { regions: this.#regions.entered }),
      ...this.#keptImages,
    }
  }

  /** The masks of regions with their colours. */
  get regionLayers() {
    return this.#regions.layers
  }

  /** What can be kept for another time: all but the prompts and the images, as `fill` takes it. @returns {Settings} */
  get reusable() {
    const others = Object.entries(this.entered()).filter(([name]) => !["prompt", "regions"].includes(name) && !(name in this.#keptImages) && !(name in this.insert.entered))
    return Object.fromEntries(others)
  }

  /** Fills in what `reusable` gave; the prompts and the images stay. @param {object} settings Settings */
  async reuse(settings) {
    await this.fill({ task: this.#tasks.current, ...settings, ...this.#keptImages, ...this.insert.entered, regions: this.#regions.entered, prompt: this.#form.elements.prompt.value })
  }

  /** @returns {(FormImage | import("editor/form/regions").MaskPlace)[]} */
  get #images() {
    return this.#imageRows.flatMap(({ images }) => /** @type {FormImage[]} */ (images))
  }

  get #imageRows() {
    return [...this.#adapterRows, this.#references, this.#regions, this.insert]
  }

  get #keptImages() {
    const chosen = this.#images.filter(({ kept }) => kept)
    return Object.fromEntries(chosen.map(({ image, kept }) => [image, kept]))
  }

  /** Resolves when the plan answers the form as it stands: what is valid and what is sent depends on it. */
  async whenPlanned() {
    await this.#plan.whenAnswered()
  }

  /** The files to send, by the names of the API. @returns {Record<string, File>} */
  files() {
    return Object.assign({}, ...this.#imageRows.map(({ files }) => files))
  }

  /** The files to send for the same as an earlier generation, given as the API returns it; by the names of the API.
   *  @param {Generation} generation @returns {Promise<Record<string, File>>} */
  async filesOf(generation) {
    const names = this.#images.map(({ image }) => image).filter((name) => generation[name])
    const fetched = names.map(async (name) => [name, await fetchFile(/** @type {string} */ (generation[name]), `${name}.png`)])
    return Object.fromEntries(await Promise.all(fetched))
  }

  /** Why this cannot be sent, in a sentence, and puts the focus there; empty where it can. */
  problem() {
    /** @type {Input[]} */
    const wrong = this.#inputs.filter((input) => !input.checkValidity())
    for (const input of [this.#loras.invalid, this.#regions.invalid]) if (input) wrong.push(input)
    for (const input of wrong) input.setAttribute("aria-invalid", "true")
    const place = /** @type {Input | FormImage | undefined} */ (wrong[0] ?? this.#images.find((image) => image instanceof ImageZone && image.problem))
    if (!place) return ""
    openSections(place instanceof ImageZone ? place.root : place)
    place.focus()
    return place instanceof ImageZone ? place.problem : whatIsWrong(place)
  }

  /** Fills in what an earlier generation requested: engine and settings under the API's names.
   *  @param {object} request with Settings, and what else a generation has */
  async fill(request) {
    const requested = this.#adapterLists.inRows(/** @type {Settings} */ (request))
    this.#detail.fill(/** @type {import("editor/form/detail").Fields} */ (requested))
    this.#tasks.current = taskOf(requested)
    this.#tasks.refresh()
    this.#isFilling = true // the form is not whole yet
    this.#regions.fill(requested.regions ?? [])
    try {
      for (const image of this.#images) await image.fill(/** @type {import("editor/form/conditioning_image").Kept | undefined} */ (requested[image.image]))
    } finally {
      this.#isFilling = false
    }
    const { engine } = this.#form
    if (this.#engines.some(({ name, missing }) => name === requested.engine && !missing)) engine.value = /** @type {string} */ (requested.engine)
    for (const select of this.#modelSelects) {
      if ([...select.options].some(({ value }) => value === requested.model)) select.value = /** @type {string} */ (requested.model)
    }
    for (const input of this.#inputs) input.value = shortEnough(requested[input.name]) ?? input.dataset.default ?? ""
    this.#loras.fill(requested.loras ?? [])
    this.#chooseModeration(requested)
    for (const name of ["vae", ...this.#adapterLists.adapters]) {
      const slugs = requested[name] ? [/** @type {string} */ (requested[name])] : []
      this.#offer(name, slugs) // until the plan says which fit
      if (this.#form.elements[name]) this.#form.elements[name].value = slugs[0] ?? ""
    }
    this.#showChoices()
    await this.#plan.ask({ ...this.#question(), loras: requested.loras ?? [] })
  }

  /** Loads the conditioning images of an earlier generation, given as the API returns it. @param {Generation} generation */
  async takeImages(generation) {
    for (const { images } of this.#imageRows) {
      const needed = images.map((image) => image.neededKind(generation)).filter((kind) => kind !== null)
      for (const image of images) await image.takeFrom(generation, needed)
    }
    if (this.insert.chosen) this.#tasks.current = "replace"
  }

  /** Another photo is opened: removes the images that belong to the one before, of which a further step keeps all but the
   *  place of the image to insert. @param {{isStep: boolean}} options */
  forgetPhoto({ isStep }) {
    const belonging = this.#images.filter(({ image }) => /^(control_image|region_mask|insert_image)/.test(image))
    if (!belonging.some(({ kept }) => kept)) return
    if (isStep) return this.insert.resetPlacement()
    for (const image of belonging) if (image instanceof ImageZone) image.forget()
    this.#regions.clear()
    this.insert.clear()
    this.#form.dispatchEvent(new Event("input"))
  }

  /** The prompt, where the task reads one. */
  get #prompt() {
    return this.#tasks.readsPrompt ? this.#form.prompt.value.trim() : ""
  }

  /** Whether the form asks for something to be painted, rather than only removed. */
  get paints() {
    return !this.#form.prompt.disabled && this.#prompt !== ""
  }

  /** Why something cannot be replaced by what is entered, in a sentence; empty where it can. */
  get missingWords() {
    if (this.insert.isSent) return ""
    const isRead = this.#engines.find(({ name }) => name === this.#plan.latest.engine)?.reads_prompt
    if (this.#form.prompt.disabled) return gettext("The chosen engine reads no prompt. Choose another one in the settings, or Remove.")
    return this.#prompt || isRead ? "" : gettext("Say what should be there.")
  }

  /** Whether what is entered is an instruction about the whole photo, which needs no mask. */
  get edits() {
    return this.paints && this.#plan.latest.form.edits
  }

  /** The engine and the model of a generation, for people: "Diffusion · Tiny".
   *  @param {{engine: string, model?: string | null, ignored: string[]}} metadata */
  nameOf({ engine, model, ignored }) {
    const label = this.#engines.find(({ name }) => name === engine)?.label ?? engine
    if (!model || ignored.includes("model")) return label
    const option = this.#modelSelects.flatMap((select) => [...select.options]).find(({ value }) => value === model)
    return `${label} · ${option?.text ?? model}`
  }

  /** @returns {HTMLSelectElement[]} */
  get #modelSelects() {
    return [.../** @type {NodeListOf<HTMLSelectElement>} */ (this.#form.querySelectorAll("select[data-models-of]"))]
  }

  /** @param {string | undefined} engine */
  #modelOf(engine) {
    return this.#modelSelects.find((select) => select.dataset.modelsOf === engine)?.value
  }

  /** The form for the server's plan: as it would be sent, and the model that is chosen for each engine. */
  #question() {
    const models = Object.fromEntries(this.#modelSelects.map((select) => [select.dataset.modelsOf, select.value]))
    const images = Object.keys({ ...this.files(), ...this.insert.wanted })
    return { prompt: this.#prompt, engine: this.#form.engine.value, models, ...this.#sent(), loras: this.#loras.chosen, ...(images.length && { images }), ...this.#marked }
  }

  /** @returns {Record<string, string>} */
  #sent() {
    /** @type {Record<string, string>} */
    const values = {}
    for (const input of this.#inputs) {
      const { name, value, disabled } = input
      const isOfInsert = this.insert.inputs.includes(input)
      if (name !== "prompt" && !disabled && value.trim() && !isDefault(input) && (!isOfInsert || this.insert.isSent)) values[name] = value.trim()
    }
    const moderation = this.#form.safety_checker_type?.value
    if (moderation) Object.assign(values, { safety_checker: "true", safety_checker_type: moderation })
    if (this.#regions.chosen.length) values.regions = JSON.stringify(this.#regions.chosen)
    if (this.#loras.chosen.length) values.loras = JSON.stringify(this.#loras.chosen)
    const embeddings = this.#embeddings.usedIn(`${this.#prompt} ${values.negative_prompt ?? ""}`)
    if (embeddings.length) values.embeddings = JSON.stringify(embeddings)
    return this.#adapterLists.inLists(values)
  }

  /** How findings are hidden; the site's own way where nothing was requested, or nothing that can be chosen here.
   *  @param {{safety_checker?: boolean, safety_checker_type?: string}} request */
  #chooseModeration({ safety_checker, safety_checker_type } = {}) {
    const { safety_checker_type: select } = this.#form
    if (!select) return // no checker is installed
    select.value = safety_checker_type ?? (safety_checker ? /** @type {string} */ (select.dataset.turnedOn) : "")
    if (select.selectedIndex < 0) select.value = ""
  }

  #clear() {
    const { prompt } = this.#form
    for (const input of this.#inputs) {
      if (input !== prompt) input.value = input.dataset.default ?? ""
      input.removeAttribute("aria-invalid")
    }
    this.#chooseModeration()
    this.#loras.fill([])
    for (const rows of this.#imageRows) rows.clear()
    this.#form.dispatchEvent(new Event("input"))
  }

  // What the plan says

  #show() {
    const { engine_label, form } = this.#plan.latest
    this.#form.engine.options[0].textContent = gettext("Auto ({engine})", { engine: engine_label })
    showText("engine-help", form.hint)
    showText("weights-help", form.reads_prompt_weights ? gettext("(words:1.3) count more, (words:0.7) less.") : "")
    for (const select of this.#modelSelects) {
      fieldOf(select).hidden = select.dataset.modelsOf !== form.engine || select.options.length < Number(select.dataset.shownFrom)
    }
    for (const [setting, slugs] of Object.entries(form.adapters)) for (const name of this.#adapterLists.namesOf(setting)) this.#offer(name, slugs)
    for (const input of this.#inputs) this.#showLimits(input, form)
    this.#grey(form.ignored)
    this.#references.offered = form.reference_images
    this.insert.ignored = form.ignored
    this.#showChoices()
  }

  /** Greys out the settings that have no effect, and says why. @param {FormPlan["ignored"]} ignored */
  #grey(ignored) {
    for (const input of this.#inputs) {
      const isIgnored = this.#adapterLists.settingOf(input.name) in ignored
      input.disabled = isIgnored
      fieldOf(input).classList.toggle("ignored", isIgnored)
    }
    for (const section of /** @type {NodeListOf<HTMLDetailsElement>} */ (this.#form.querySelectorAll(".section .section"))) {
      const unread = [.../** @type {NodeListOf<Input>} */ (section.querySelectorAll("[data-setting]"))].every((input) => input.disabled)
      if (unread !== section.classList.contains("unread")) section.open = !unread
      section.classList.toggle("unread", unread)
    }
    showText("ignored-reason", ignored.prompt ?? "")
    this.#regions.ignored = ignored.regions ?? ""
    /** @param {string} place */
    const reasonsAt = (place) => {
      const greyed = this.#inputs.filter((input) => input.disabled && input.getAttribute("aria-describedby") === place && !isHidden(input))
      const reasons = new Set(greyed.map(({ name }) => ignored[this.#adapterLists.settingOf(name)]))
      return reasons.size ? gettext("Greyed out: {reasons}", { reasons: [...reasons].join(" ") }) : ""
    }
    for (const place of ["basic-reason", "more-reason"]) showText(place, reasonsAt(place))
  }

  /** What is used where the field is empty, and what it may hold for the planned model.
   *  @param {Input} input @param {Pick<FormPlan, "defaults" | "limits" | "choices">} form */
  #showLimits(input, { defaults, limits, choices }) {
    const name = this.#adapterLists.settingOf(input.name)
    const usual = defaults[name] ?? null
    if (input.type === "number") {
      const field = /** @type {HTMLInputElement} */ (input)
      field.placeholder = usual ?? field.dataset.placeholder ?? ""
      if (limits[name]) [field.min, field.max] = limits[name]
    }
    if (input.type === "range" && usual !== null) {
      if (!input.dataset.default || isDefault(input)) input.value = usual
      input.dataset.default = usual
    }
    if (!(input instanceof HTMLSelectElement)) return
    const [first, ...others] = input.options
    if (choices[name]) for (const option of others) option.hidden = !choices[name].includes(option.value)
    if (choices[name]) fieldOf(input).hidden = !choices[name].length
    if (input.selectedOptions[0]?.hidden) input.value = ""
    first.dataset.text ??= /** @type {string} */ (first.textContent)
    const label = others.find(({ value }) => value === usual)?.text
    first.textContent = label ? gettext("Default: {label}", { label }) : first.dataset.text
  }

  /** Offers the adapters with these slugs for a setting. @param {string} name @param {string[]} slugs */
  #offer(name, slugs) {
    if (name === "loras") {
      this.#regions.offer(slugs)
      return this.#loras.offer(slugs)
    }
    if (name === "embeddings") return this.#embeddings.offer(slugs)
    const select = /** @type {HTMLSelectElement | undefined} */ (this.#form.elements[name])
    if (!select) return
    const chosen = select.value
    const offered = this.#adapters.filter(({ slug }) => slugs.includes(slug))
    select.replaceChildren(select.options[0], ...offered.map(({ slug, label }) => new Option(label, slug)))
    select.value = slugs.includes(chosen) ? chosen : ""
    fieldOf(select).hidden = !offered.length
  }

  /** What follows from the form alone: the images that are needed, the strength, the counts, what is set. */
  #showChoices() {
    const { strength_shown, denoising_strength, prompt } = this.#form
    for (const rows of this.#imageRows) rows.show()
    strength_shown.value = number(Number(denoising_strength.value), 2)
    const left = prompt.maxLength - prompt.value.length
    $("prompt-count").textContent = left <= 100 ? ngettext("{count} left", "{count} left", left) : ""
    // Beside the heading, so that no setting goes unseen while the settings are folded away.
    /** @param {Input} input */
    const isSet = (input) => input.name !== "prompt" && !this.insert.inputs.includes(input) && !input.disabled && input.value.trim() && !isDefault(input)
    const moderation = this.#form.safety_checker_type?.value ? [gettext("Safety checker")] : []
    const labels = [...this.#inputs.filter(isSet).map(inWords), ...this.#loras.labels, ...this.#regions.labels, ...moderation]
    $("more-set").textContent = labels.join(" · ")
    if (!this.#isFilling) this.#onChange()
  }
}

/** @param {Element} input */
const fieldOf = (input) => /** @type {HTMLElement} */ (input.closest(".field"))

/** @param {string} id @param {string} sentence */
function showText(id, sentence) {
  const place = $(id)
  place.textContent = sentence
  place.hidden = !sentence
}

/** @param {Input} field */
function whatIsWrong(field) {
  const input = /** @type {HTMLInputElement} */ (field)
  const { label = "" } = input.dataset
  if (input.maxLength > 0) {
    return gettext("{label} has {length} characters; at most {most} are allowed.", { label, length: input.value.length, most: input.maxLength })
  }
  const values = { label, lowest: input.min, highest: input.max }
  return input.step === "any"
    ? gettext("{label} must be a number from {lowest} to {highest}.", values)
    : gettext("{label} must be a whole number from {lowest} to {highest}.", values)
}

/** A setting that is set: "Steps 20"; of a long text only the label. @param {Input} input */
function inWords(input) {
  const { dataset, value, selectedOptions, tagName } = /** @type {HTMLSelectElement} */ (input)
  return tagName === "TEXTAREA" ? dataset.label : `${dataset.label} ${selectedOptions?.[0].text ?? value}`
}

/** Whether a slider, which is never empty, stands where it does for a request without this setting. @param {Input} input */
const isDefault = ({ value, dataset }) => value === dataset.default

/** @param {Element} input */
const isHidden = (input) => Boolean(input.closest("[hidden]"))

/** Opens the folded sections around an element. @param {Element} element */
function openSections(element) {
  for (let parent = element.parentElement; parent; parent = parent.parentElement) {
    if (parent instanceof HTMLDetailsElement) parent.open = true
    else if (parent.popover && !parent.matches(":popover-open")) parent.showPopover()
  }
}

/** As text; undefined for numbers that JavaScript does not know to the last digit, as a seed may be. @param {unknown} value */
function shortEnough(value) {
  if (value === undefined || value === null) return undefined
  if (typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER) return undefined
  return String(value)
}
