// Undo and redo: two stacks of marks. Pure: knows neither what a mark is nor any page.

export class History {
  #done = []
  #undone = []

  /** What is in force, oldest first. */
  get marks() {
    return [...this.#done]
  }

  get canUndo() {
    return this.#done.length > 0
  }

  get canRedo() {
    return this.#undone.length > 0
  }

  /** A new deed; what had been undone is gone for good. */
  push(mark) {
    this.#done.push(mark)
    this.#undone = []
  }

  /** Takes back the last deed. False where there is none. */
  undo() {
    return move(this.#done, this.#undone)
  }

  redo() {
    return move(this.#undone, this.#done)
  }

  forget() {
    this.#done = []
    this.#undone = []
  }
}

function move(from, to) {
  if (!from.length) return false
  to.push(from.pop())
  return true
}
