// Embeddings (textual inversion) that fit the model: a button each, which adds the embedding to the prompt.

export class Embeddings {
  /** @type {HTMLButtonElement[]} */
  #buttons

  /** `prompt` is the field that a word is put into. @param {HTMLTextAreaElement} prompt */
  constructor(prompt) {
    this.#buttons = [.../** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("#embeddings [data-slug]"))]
    for (const button of this.#buttons) {
      button.addEventListener("click", () => {
        prompt.value = `${prompt.value.trimEnd()} ${wordOf(button)}`.trimStart()
        prompt.dispatchEvent(new Event("input", { bubbles: true }))
        prompt.focus()
      })
    }
  }

  /** Offers those with these slugs. @param {string[]} slugs */
  offer(slugs) {
    for (const button of this.#buttons) button.hidden = !slugs.includes(slugOf(button))
    const group = document.getElementById("embeddings")
    if (group) group.hidden = this.#buttons.every((button) => button.hidden)
  }

  /** The slugs of the offered ones that stand in a text. @param {string} text */
  usedIn(text) {
    const used = this.#buttons.filter((button) => !button.hidden && text.toLowerCase().includes(wordOf(button)))
    return used.map(slugOf)
  }
}

/** @param {HTMLButtonElement} button */
const slugOf = (button) => /** @type {string} */ (button.dataset.slug)

/** @param {HTMLButtonElement} button */
const wordOf = (button) => `<${slugOf(button)}>`
