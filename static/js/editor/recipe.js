// The form beside the photo: engine, model, words, settings; and which of them the chosen engine does not read.

import { Parts } from "editor/parts"
import { Reference } from "editor/references"

const AUTO = "auto"
/** What people call the settings that an engine may not read. */
const LABELS = {
  prompt: "Prompt",
  negative_prompt: "Negative prompt",
  denoising_strength: "Denoising strength",
  num_images: "Images",
  seed: "Seed",
  mask_grow: "Grow mask",
  mask_blur: "Fade mask",
  steps: "Steps",
  guidance_scale: "Guidance scale",
  guidance_start: "Guided from",
  guidance_end: "Guided until",
  scheduler: "Scheduler",
  use_karras_sigmas: "Karras sigmas",
  algorithm_type: "Algorithm type",
  clip_skip: "Clip skip",
  width: "Work width",
  height: "Work height",
  only_masked_padding: "Padding",
  step_down: "Where memory is short",
  control: "Guide",
  control_strength: "Guide strength",
  control_start: "Guide start",
  control_end: "Guide end",
  ip_adapter: "Look at",
  ip_adapter_scale: "Scale of the look",
  preset: "Quality",
}
const FIELDS = Object.keys(LABELS)
const STRENGTH = "0.75"
/** What a guidance scale of 1, which is none, leaves idle. */
const GUIDED = ["negative_prompt", "guidance_start", "guidance_end"]
const UNSAID = { num_images: 1, mask_grow: 0, mask_blur: 0, control_strength: 1, control_start: 0, control_end: 1, ip_adapter_scale: 1 }
/** What a field holds where nothing is said. */
const blank = (name) => (name === "denoising_strength" ? STRENGTH : "")
const KINDS = { control: "controlnet", ip_adapter: "ip-adapter" }

export class Recipe {
  #form
  #engines
  #models
  #loras
  #parts
  #extras
  #references

  /**
   * What the server says: `engines` [{name, label, ignores, missing}], `models` [{slug, label, family, most_guidance,
   * schedulers, ignores, steps, …}], best first, `loras` [{slug, label, family, usual}], `parts` [{slug, label, family,
   * kind, control, is_computed}].
   */
  constructor(form, engines, models, loras, parts, limitBytes) {
    this.#form = form
    this.#engines = engines
    this.#models = models
    this.#loras = loras.map((lora) => ({ ...lora, row: document.querySelector(`#loras [data-slug="${lora.slug}"]`) }))
    this.#extras = new Parts(form.elements.prompt)
    this.#parts = parts
    const onChange = () => form.dispatchEvent(new Event("input"))
    this.#references = [
      new Reference({ field: "control", picture: "control_image", id: "control", limitBytes, onChange }),
      new Reference({ field: "ip_adapter", picture: "ip_adapter_image", id: "ip-adapter", limitBytes, onChange }),
    ]
    form.addEventListener("input", ({ target }) => {
      target.removeAttribute("aria-invalid")
      this.#refresh()
    })
    document.getElementById("more-clear").addEventListener("click", () => this.#clear())
    this.#refresh()
  }

  /** What is sent: the prompt always, for it names the generation in the history; of the rest what is read and not empty. */
  values() {
    const { engine, prompt } = this.#form
    const values = { prompt: prompt.value.trim(), engine: engine.value }
    const painter = this.#painter()
    if (painter === "diffusion") values.model = this.#model().slug
    if (painter === "erase" && this.#form.erase_model) values.model = this.#form.erase_model.value
    for (const name of FIELDS.slice(1)) {
      const { value, disabled } = this.#input(name)
      if (!disabled && value.trim()) values[name] = value.trim()
    }
    const safety = this.#form.safety_checker_type?.value
    if (safety) Object.assign(values, { safety_checker: "true", safety_checker_type: safety })
    const worn = this.#worn()
    if (worn.length) values.loras = JSON.stringify(worn.map(({ slug, weight }) => ({ slug, weight })))
    if (painter === "diffusion") Object.assign(values, this.#extras.values(`${values.prompt} ${values.negative_prompt ?? ""}`))
    return values
  }

  /** The files that go along, by the names of the API. */
  pictures() {
    const wanted = this.#references.filter(({ file }) => file)
    return Object.fromEntries(wanted.map(({ picture, file }) => [picture, file]))
  }

  /** Why this cannot be sent, in a sentence, and shows where; nothing where it can. */
  problem() {
    const wrong = FIELDS.filter((name) => !this.#input(name).checkValidity())
    const heavy = this.#shownLoras().map(({ row }) => row.querySelector("input")).find((input) => !input.checkValidity())
    if (!wrong.length && heavy) {
      heavy.setAttribute("aria-invalid", "true")
      document.getElementById("more").open = true
      heavy.focus()
      return `The weight of a LoRA must be a number from ${heavy.min} to ${heavy.max}.`
    }
    const lacking = this.#references.find((reference) => reference.problem)
    if (!wrong.length && lacking) {
      document.getElementById("more").open = true
      lacking.focus()
      return lacking.problem
    }
    if (!wrong.length) return ""
    for (const name of wrong) this.#input(name).setAttribute("aria-invalid", "true")
    const input = this.#input(wrong[0])
    if (input.closest("#more")) document.getElementById("more").open = true
    input.focus()
    if (input.maxLength > 0) return `${LABELS[wrong[0]]} has ${input.value.length} characters; at most ${input.maxLength} are allowed.`
    const kind = input.step === "any" ? "a number" : "a whole number"
    return `${LABELS[wrong[0]]} must be ${kind} from ${input.min} to ${input.max}.`
  }

  /** Fills in what an earlier generation was asked for: engine and settings under the API's names. */
  fill(recipe) {
    const { engine, model, erase_model } = this.#form
    if (this.#engines.some(({ name, missing }) => name === recipe.engine && !missing)) engine.value = recipe.engine
    if (this.#models.some(({ slug }) => slug === recipe.model)) model.value = recipe.model
    const erasers = [...(erase_model?.options ?? [])]
    if (erasers.some(({ value }) => value === recipe.model)) erase_model.value = recipe.model
    for (const { slug, row } of this.#loras) {
      const weight = (recipe.loras ?? []).find((use) => use.slug === slug)?.weight
      row.querySelector("input").value = weight === undefined ? "" : String(weight)
    }
    this.#chooseSafety(recipe)
    this.#extras.show(this.#partsFamily())
    this.#extras.fill(recipe)
    this.#offerParts()
    this.#form.preset.value = recipe.preset ?? "" // what is usual is its to say
    const { steps, guidance_scale, scheduler } = this.#usual() ?? {}
    const unsaid = { ...UNSAID, steps, guidance_scale, scheduler }
    for (const name of FIELDS) {
      const value = recipe[name] ?? blank(name)
      this.#input(name).value = value === unsaid[name] || isBlurred(value) ? "" : String(value)
    }
    this.#refresh()
  }

  /** Fills in the pictures of an earlier generation: the server's answer about it. */
  async takePictures(generation) {
    for (const reference of this.#references) await reference.takeFrom(generation)
  }

  /** Who painted, as people call it: "Diffusion · Tiny". */
  nameOf({ engine, model }) {
    const painter = this.#engines.find(({ name }) => name === engine)?.label ?? engine
    if (!model || this.#ignores(engine).has("model")) return painter
    const label = this.#models.find(({ slug }) => slug === model)?.label
    const eraser = [...(this.#form.erase_model?.options ?? [])].find(({ value }) => value === model)?.text
    return `${painter} · ${label ?? eraser ?? model}`
  }

  #input(name) {
    return this.#form.elements[name]
  }

  #model() {
    return this.#models.find(({ slug }) => slug === this.#form.model?.value) ?? this.#models[0]
  }

  /** Those for the chosen model; none where an engine paints that reads no LoRAs. */
  #shownLoras() {
    const family = this.#model()?.family
    return this.#reads("loras") ? this.#loras.filter((lora) => lora.family === family) : []
  }

  /** Of which family parts are offered; none where an engine paints that has no use for them. */
  #partsFamily() {
    return (this.#reads("vae") && this.#model()?.family) || ""
  }

  #reads(name) {
    const isOpen = this.#form.engine.value === AUTO && this.#models.length > 0
    return isOpen || !this.#ignores(this.#painter()).has(name)
  }

  /** [{slug, label, weight, usual}], of those that have a weight. */
  #worn() {
    return this.#shownLoras()
      .map((lora) => ({ ...lora, weight: lora.row.querySelector("input").value.trim() }))
      .filter(({ weight }) => weight !== "")
      .map((lora) => ({ ...lora, weight: Number(lora.weight) }))
  }

  /** What is used where nothing is said: the model's own, or what the first LoRA for few steps wants, or a draft. */
  #usual() {
    if (this.#form.preset.value) return { ...this.#model(), ...this.#model().draft }
    const quick = this.#worn().find(({ weight, usual }) => weight && usual.steps)
    return this.#model() && { ...this.#model(), ...quick?.usual }
  }

  /** The engine that would paint now: auto dreams where there is a prompt and a model, else erases, else fills. */
  #painter() {
    const { engine, prompt } = this.#form
    if (engine.value !== AUTO) return engine.value
    const hasWishes = prompt.value.trim() || this.#hasLoras() || this.#references.some(({ part }) => part) || this.#extras.told().length || this.#form.preset.value
    return hasWishes && this.#models.length ? "diffusion" : this.#closer()
  }

  #hasLoras() {
    const family = this.#model()?.family
    return this.#loras.some((lora) => lora.family === family && lora.row.querySelector("input").value.trim())
  }

  /** The engine that closes gaps without words. */
  #closer() {
    return this.#engines.some(({ name, missing }) => name === "erase" && !missing) ? "erase" : "quick-fill"
  }

  #ignores(engine) {
    return new Set(this.#engines.find(({ name }) => name === engine)?.ignores)
  }

  /** How what is found is hidden; the site's own way where nothing is said, or what is said is not to choose from. */
  #chooseSafety({ safety_checker, safety_checker_type } = {}) {
    const { safety_checker_type: select } = this.#form
    if (!select) return // no checker is installed
    select.value = safety_checker_type ?? (safety_checker ? select.dataset.turnedOn : "")
    if (select.selectedIndex < 0) select.value = ""
  }

  #clear() {
    this.#chooseSafety()
    for (const name of FIELDS.slice(1)) {
      this.#input(name).value = blank(name)
      this.#input(name).removeAttribute("aria-invalid")
    }
    for (const { row } of this.#loras) {
      row.querySelector("input").value = ""
      row.querySelector("input").removeAttribute("aria-invalid")
    }
    this.#extras.clear()
    for (const reference of this.#references) reference.forget()
    this.#form.dispatchEvent(new Event("input"))
  }

  #refresh() {
    const { engine, strength_shown, denoising_strength } = this.#form
    const isOpen = engine.value === AUTO && this.#models.length > 0 // a prompt away from reading everything
    const mayDream = isOpen || engine.value === "diffusion"
    const canDraft = mayDream && this.#model()?.draft
    document.getElementById("preset-field").hidden = !canDraft
    if (!canDraft) this.#form.preset.value = "" // first: who paints, and how, hangs on it
    const painter = this.#painter()
    if (mayDream) this.#grey(new Set(this.#model()?.ignores), this.#model()?.label, this.#isGuided())
    else this.#grey(this.#ignores(painter), this.#labelOf(painter))
    this.#showLoras()
    this.#extras.show(this.#partsFamily(), Boolean(this.#form.preset.value))
    const readsWeights = this.#partsFamily() && this.#model().reads_prompt_weights
    say("weights-help", readsWeights ? "(words:1.3) count more, (words:0.7) less." : "")
    this.#offerParts()
    this.#showModel(mayDream)
    const eraseModel = document.getElementById("erase-model-field")
    if (eraseModel) eraseModel.hidden = painter !== "erase"
    engine.options[0].textContent = `Auto (${this.#labelOf(painter)})`
    say("engine-help", isOpen ? `Without a prompt ${this.#labelOf(this.#closer())} closes the gap from the photo itself; with one, ${this.#model().label} paints what it says.` : "")
    strength_shown.value = Number(denoising_strength.value).toFixed(2)
    this.#showCount()
    this.#showWhatIsSet()
  }

  #labelOf(engine) {
    return this.#engines.find(({ name }) => name === engine).label
  }

  /** Whether anything is guided: by the scale that is said, else by the usual one. */
  #isGuided() {
    return Number(this.#input("guidance_scale").value.trim() || this.#usual()?.guidance_scale) !== 1
  }

  #grey(ignores, label, isGuided = true) {
    const idle = new Set(isGuided ? [] : GUIDED.filter((name) => !ignores.has(name)))
    for (const name of FIELDS) {
      const isGrey = ignores.has(name) || idle.has(name)
      this.#input(name).disabled = isGrey
      this.#input(name).closest(".field").classList.toggle("ignored", isGrey)
    }
    say("ignored-reason", ignores.has("prompt") ? `${label} paints from the picture itself; it does not read prompts.` : "")
    const reasons = []
    if (FIELDS.slice(1).some((name) => ignores.has(name))) reasons.push(`${label} does not read what is grey here.`)
    if (idle.size) reasons.push("With a guidance scale of 1, as drafts and LoRAs for few steps have it, what is grey here changes nothing.")
    say("more-reason", reasons.join(" "))
  }

  #showModel(isRead) {
    const field = document.getElementById("model-field")
    if (!field) return
    field.hidden = !isRead
    const model = this.#usual()
    for (const name of ["steps", "guidance_scale", "width", "height"]) this.#input(name).placeholder = model[name]
    this.#input("guidance_scale").max = model.most_guidance
    const scheduler = this.#input("scheduler")
    for (const option of [...scheduler.options].slice(1)) option.hidden = !model.schedulers.includes(option.value)
    if (scheduler.selectedOptions[0]?.hidden) scheduler.value = ""
    scheduler.options[0].textContent = `Default: ${model.scheduler.replace(/Scheduler$/, "")}`
  }

  /** A control is there only where the chosen model can do it. */
  #showLoras() {
    const shown = new Set(this.#shownLoras().map(({ slug }) => slug))
    for (const { slug, row } of this.#loras) row.hidden = !shown.has(slug)
    const list = document.getElementById("loras")
    if (list) list.hidden = !shown.size
  }

  #offerParts() {
    const family = this.#model()?.family
    for (const reference of this.#references) {
      const fitting = this.#parts.filter((part) => part.family === family && part.kind === KINDS[reference.field])
      reference.offer(this.#reads(reference.field) ? fitting : [])
    }
  }

  #showCount() {
    const { value, maxLength } = this.#form.prompt
    const left = maxLength - value.length
    document.getElementById("prompt-count").textContent = left <= 100 ? `${left} left` : ""
  }

  /** Beside the heading, so that nothing that was set goes unseen while the settings are folded away. */
  #showWhatIsSet() {
    const set = FIELDS.slice(1).map((name) => [name, this.#input(name)]).filter(([name, { value, disabled }]) =>
      !disabled && value.trim() && !(name === "denoising_strength" && value === STRENGTH))
    const words = ([name, { value, selectedOptions }]) =>
      name === "negative_prompt" ? LABELS[name] : `${LABELS[name]} ${selectedOptions?.[0].text ?? value}`
    const worn = this.#worn().map(({ label, weight }) => `${label} ${weight}`)
    const safety = this.#form.safety_checker_type?.value ? ["Safety checker"] : []
    document.getElementById("more-set").textContent = [...set.map(words), ...worn, ...this.#extras.told(), ...safety].join(" · ")
  }
}

function say(id, sentence) {
  const place = document.getElementById(id)
  place.textContent = sentence
  place.hidden = !sentence
}

/** A number that is too long for this page to know it to the last digit, as a seed may be. */
const isBlurred = (value) => typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER
