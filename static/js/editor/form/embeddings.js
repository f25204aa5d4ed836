// Embeddings (textual inversion) that fit the model: a button each, which adds the embedding to the prompt.

export class Embeddings {
  #buttons

  /** `prompt` is the field that a word is put into. */
  constructor(prompt) {
    this.#buttons = [...document.querySelectorAll("#embeddings [data-slug]")]
    for (const button of this.#buttons) {
      button.addEventListener("click", () => {
        prompt.value = `${prompt.value.trimEnd()} ${wordOf(button)}`.trimStart()
        prompt.dispatchEvent(new Event("input", { bubbles: true }))
        prompt.focus()
      })
    }
  }

  /** Offers those with these slugs. */
  offer(slugs) {
    for (const button of this.#buttons) button.hidden = !slugs.includes(button.dataset.slug)
    const group = document.getElementById("embeddings")
    if (group) group.hidden = this.#buttons.every((button) => button.hidden)
  }

  /** The slugs of the offered ones that stand in a text. */
  usedIn(text) {
    const used = this.#buttons.filter((button) => !button.hidden && text.toLowerCase().includes(wordOf(button)))
    return used.map((button) => button.dataset.slug)
  }
}

const wordOf = (button) => `<${button.dataset.slug}>`
