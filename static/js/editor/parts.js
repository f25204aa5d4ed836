// What a model may paint with beside its own parts: another VAE, and words that were learned. Each for its family alone.

export class Parts {
  #vae
  #words

  /** prompt: where a learned word is put when its button is pressed. */
  constructor(prompt) {
    this.#vae = document.getElementById("vae")
    this.#words = [...document.querySelectorAll("#embeddings [data-slug]")]
    for (const button of this.#words) {
      button.addEventListener("click", () => {
        prompt.value = `${prompt.value.trimEnd()} ${markOf(button)}`.trimStart()
        prompt.dispatchEvent(new Event("input", { bubbles: true }))
        prompt.focus()
      })
    }
  }

  /** Those for models of that family; none where it is empty. A draft brings a VAE of its own. */
  show(family, isDraft) {
    for (const button of this.#words) button.hidden = button.dataset.family !== family
    hideUnless("embeddings", this.#words.some((button) => !button.hidden))
    const own = [...(this.#vae?.options ?? [])].slice(1)
    for (const option of own) option.hidden = option.disabled = option.dataset.family !== family
    if (this.#vae) this.#vae.options[0].textContent = isDraft ? "The draft’s own" : "The model’s own"
    hideUnless("vae-field", own.some((option) => !option.disabled))
    if (this.#vae?.selectedOptions[0]?.disabled) this.#vae.value = ""
  }

  /** What is sent with prompts of these words. */
  values(words) {
    const used = this.#words.filter((button) => !button.hidden && words.toLowerCase().includes(markOf(button)))
    return {
      ...(this.#vae?.value && { vae: this.#vae.value }),
      ...(used.length && { embeddings: JSON.stringify(used.map((button) => button.dataset.slug)) }),
    }
  }

  /** As an earlier generation was made; its learned words stand in its prompts. */
  fill({ vae }) {
    if (!this.#vae) return
    this.#vae.value = vae ?? ""
    if (this.#vae.selectedIndex < 0) this.#vae.value = ""
  }

  clear() {
    if (this.#vae) this.#vae.value = ""
  }

  /** What is chosen, in words. */
  told() {
    return this.#vae?.value ? [`VAE ${this.#vae.selectedOptions[0].text}`] : []
  }
}

const markOf = (button) => `<${button.dataset.slug}>`

function hideUnless(id, isShown) {
  const place = document.getElementById(id)
  if (place) place.hidden = !isShown
}
