// The form beside the photo: engine, words, strength; and which of them the chosen engine does not read.

const FIELDS = ["prompt", "negative_prompt", "denoising_strength"]

export class Recipe {
  #form
  #engines

  /** `engines` is what the server says of them: [{name, label, ignores}]. */
  constructor(form, engines) {
    this.#form = form
    this.#engines = engines
    form.engine.addEventListener("change", () => this.#grey())
    form.denoising_strength.addEventListener("input", () => this.#showStrength())
    form.prompt.addEventListener("input", () => this.#showCount())
    this.#grey()
    this.#showStrength()
    this.#showCount()
  }

  /** What is sent: also what the engine ignores, so that the history tells the whole story. */
  values() {
    const { prompt, negative_prompt, denoising_strength, engine } = this.#form
    return {
      prompt: prompt.value.trim(),
      negative_prompt: negative_prompt.value.trim(),
      denoising_strength: denoising_strength.value,
      engine: engine.value,
    }
  }

  /** Fills in what an earlier generation was made with: the server's metadata of it. */
  fill({ prompt, negative_prompt, denoising_strength, engine }) {
    this.#form.prompt.value = prompt
    this.#form.negative_prompt.value = negative_prompt
    this.#form.denoising_strength.value = denoising_strength
    if (this.#engines.some(({ name }) => name === engine)) this.#form.engine.value = engine
    this.#grey()
    this.#showStrength()
    this.#showCount()
  }

  #grey() {
    const engine = this.#engines.find(({ name }) => name === this.#form.engine.value)
    const ignores = new Set(engine?.ignores ?? [])
    const ignored = FIELDS.filter((field) => ignores.has(field))
    for (const field of FIELDS) {
      this.#form[field].disabled = ignored.includes(field)
      this.#form[field].closest(".field").classList.toggle("ignored", ignored.includes(field))
    }
    const reason = document.getElementById("ignored-reason")
    reason.hidden = !ignored.length
    reason.textContent = ignored.length ? because(engine, ignored) : ""
  }

  #showStrength() {
    this.#form.strength_shown.value = Number(this.#form.denoising_strength.value).toFixed(2)
  }

  #showCount() {
    const { value, maxLength } = this.#form.prompt
    const left = maxLength - value.length
    const count = document.getElementById("prompt-count")
    count.textContent = left <= 100 ? `${left} left` : ""
  }
}

function because(engine, ignored) {
  const name = engine.name === "auto" ? "The engine" : engine.name
  if (ignored.includes("prompt")) return `${name} paints from the picture itself; it does not read prompts.`
  const words = { negative_prompt: "the negative prompt", denoising_strength: "the strength" }
  return `${name} does not read ${ignored.map((field) => words[field]).join(" or ")}.`
}
