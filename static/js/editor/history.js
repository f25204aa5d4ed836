// Undo and redo: two stacks of marks of any kind. Pure: no DOM.

export class History {
  #done = []
  #undone = []

  /** The marks that are in effect, oldest first. */
  get marks() {
    return [...this.#done]
  }

  get canUndo() {
    return this.#done.length > 0
  }

  get canRedo() {
    return this.#undone.length > 0
  }

  /** Adds a mark; undone marks are dropped. */
  push(mark) {
    this.#done.push(mark)
    this.#undone = []
  }

  /** Undoes the last mark. False where there is none. */
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
