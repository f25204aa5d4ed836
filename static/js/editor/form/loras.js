// LoRAs that fit the model: a weight each; an empty one leaves the LoRA out.

export class Loras {
  #rows

  constructor() {
    this.#rows = [...document.querySelectorAll("#loras [data-slug]")]
  }

  /** Offers those with these slugs. */
  offer(slugs) {
    for (const row of this.#rows) row.hidden = !slugs.includes(row.dataset.slug)
    const list = document.getElementById("loras")
    if (list) list.hidden = this.#rows.every((row) => row.hidden)
  }

  /** [{slug, weight}] of the offered ones that have a weight. */
  get chosen() {
    return this.#withWeight.map((row) => ({ slug: row.dataset.slug, weight: Number(inputOf(row).value) }))
  }

  /** For people: "Ink 0.5". */
  get labels() {
    return this.#withWeight.map((row) => `${row.dataset.label} ${Number(inputOf(row).value)}`)
  }

  /** The first weight that is out of range, or undefined. */
  get invalid() {
    return this.#rows.filter((row) => !row.hidden).map(inputOf).find((input) => !input.checkValidity())
  }

  /** Sets these weights, [{slug, weight}], and clears all others. */
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

const inputOf = (row) => row.querySelector("input")
