// The seed's two buttons: a new one, and keeping the one that was used last.

const LARGEST = 2 ** 32 // of those that are made here; the API takes larger ones

export class Seed {
  #field
  #lock
  /** @type {number | null} */
  #last = null

  /** `elements` is {field, lock, dice}. An empty field stands for a new seed each time.
   *  @param {{field: HTMLInputElement, lock: HTMLButtonElement, dice: HTMLButtonElement}} elements */
  constructor({ field, lock, dice }) {
    this.#field = field
    this.#lock = lock
    dice.addEventListener("click", () => this.#set(newSeed()))
    lock.addEventListener("click", () => this.#set(field.value ? "" : (this.#last ?? newSeed())))
    this.refresh()
  }

  /** The seed of a result, for the lock. @param {number} seed */
  used(seed) {
    if (Number.isSafeInteger(seed)) this.#last = seed
  }

  /** Shows whether the seed is locked. Call it when the form changes. */
  refresh() {
    this.#lock.setAttribute("aria-pressed", String(this.#field.value !== ""))
    this.#lock.disabled = this.#field.disabled
  }

  /** @param {number | ""} value */
  #set(value) {
    this.#field.value = String(value)
    this.#field.dispatchEvent(new Event("input", { bubbles: true }))
  }
}

export const newSeed = () => Math.floor(Math.random() * LARGEST)
