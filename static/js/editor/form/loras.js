// LoRAs that fit the model: a weight each; an empty one leaves the LoRA out.

/** @typedef {{slug: string, weight: number}} Lora */

export class Loras {
  #root
  /** @type {HTMLElement[]} */
  #rows

  /** `root` has a row for each; null where none is installed. @param {HTMLElement | null} root */
  constructor(root) {
    this.#root = root
    this.#rows = [.../** @type {NodeListOf<HTMLElement>} */ (root?.querySelectorAll("[data-slug]") ?? [])]
  }

  /** Offers those with these slugs. @param {string[]} slugs */
  offer(slugs) {
    for (const row of this.#rows) row.hidden = !slugs.includes(slugOf(row))
    if (this.#root) this.#root.hidden = this.#rows.every((row) => row.hidden)
  }

  /** The offered ones that have a weight. @returns {Lora[]} */
  get chosen() {
    return this.#withWeight.map((row) => ({ slug: slugOf(row), weight: Number(inputOf(row).value) }))
  }

  /** For people: "Ink 0.5". */
  get labels() {
    return this.#withWeight.map((row) => `${row.dataset.label} ${Number(inputOf(row).value)}`)
  }

  /** The first weight that is out of range, or undefined. */
  get invalid() {
    return this.#rows.filter((row) => !row.hidden).map(inputOf).find((input) => !input.checkValidity())
  }

  /** Sets these weights and clears all others. @param {Lora[]} loras */
  fill(loras) {
    for (const row of this.#rows) {
      const weight = loras.find(({ slug }) => slug === row.dataset.slug)?.weight
      inputOf(row).value = weight === undefined ? "" : String(weight)
      inputOf(row).removeAttribute("aria-invalid")
    }
  }

  get #withWeight() {
    return this.#rows.filter((row) => !row.hidden && inputOf(row).value.trim() !== "")
  }
}

/** @param {HTMLElement} row */
const slugOf = (row) => /** @type {string} */ (row.dataset.slug)

/** @param {HTMLElement} row */
const inputOf = (row) => /** @type {HTMLInputElement} */ (row.querySelector("input"))
