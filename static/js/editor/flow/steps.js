// The steps of the photo: the button of their panel, and the bar while one of them is painted back or run again. What is done
// with them is loaded when it is first needed (step_edits.js).

import { photoEntry } from "editor/document/document"
import { reportErrors } from "editor/form/messages"
import { gettext } from "text"

/** @typedef {{store: import("editor/document/store").Store, photos: import("editor/flow/photos").Photos,
 *   mask: import("editor/flow/photos").MaskView, filmstrip: import("editor/flow/filmstrip").Filmstrip,
 *   settingsForm: import("editor/flow/painting").SettingsForm, job: import("job/job").Job,
 *   chooseBrush: () => void}} Parts  of the editor */
/** @typedef {{button: HTMLElement, panel: HTMLElement, list: HTMLElement, photo: HTMLElement, template: HTMLTemplateElement,
 *   download: HTMLAnchorElement, share: HTMLButtonElement, show: HTMLButtonElement, bar: HTMLElement, text: HTMLElement, done: HTMLButtonElement, back: HTMLButtonElement}} Elements */

export class Steps {
  #elements
  #parts
  /** @type {Promise<import("editor/flow/step_edits").StepEdits> | null} */
  #loaded = null
  /** @type {import("../document/stack.js").Stack | undefined} */
  #stack // whose steps the server has

  /** @param {Elements} elements @param {Parts} parts */
  constructor(elements, parts) {
    this.#elements = elements
    this.#parts = parts
    elements.panel.addEventListener("beforetoggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "open") this.#do((edits) => edits.showPanel())
    })
    elements.share.addEventListener("click", () => this.#do((edits) => edits.share()))
    elements.show.addEventListener("click", () => this.#do((edits) => edits.showNewest()))
    elements.done.addEventListener("click", () => this.#do((edits) => edits.finishPaintingBack()))
    elements.back.addEventListener("click", () => this.#do((edits) => edits.showNewest()))
  }

  /** Shows what is there of them. @param {{isSignedIn: boolean}} page */
  refresh({ isSignedIn }) {
    const { button, bar, text, done } = this.#elements
    const { store, photos } = this.#parts
    const { parent, stack } = store.view
    button.hidden = !isSignedIn || !(parent || stack || photos.state === "done")
    bar.hidden = photos.state !== "editing" || !(stack?.paintsBack || stack?.replaces)
    text.textContent = stack?.paintsBack ? gettext("Paint over what should be as it was before this step.") : gettext("This step again, on what lies beneath it.")
    done.hidden = !stack?.paintsBack
    if (stack === this.#stack) return
    this.#stack = stack
    if (stack) this.#do((edits) => edits.restore(stack))
  }

  /** Goes on from the result that is shown: it becomes a step of the stack. */
  keep() {
    return this.#do((edits) => edits.keep())
  }

  /** A generation was left to the queue: it becomes a step of the photo that is open now, once it is painted.
   *  @param {string} generation */
  left(generation) {
    const photo = /** @type {import("editor/document/document").PhotoEntry} */ (photoEntry(this.#parts.store.document))
    return this.#do((edits) => edits.join(generation, photo))
  }

  /** A generation has ended that was left. */
  ended() {
    if (this.#parts.store.view.stack) this.#do((edits) => edits.arrived())
  }

  /** @param {(edits: import("editor/flow/step_edits").StepEdits) => Promise<unknown>} action */
  #do(action) {
    return reportErrors("photo", async () => {
      this.#loaded ??= import("editor/flow/step_edits").then(({ StepEdits }) => new StepEdits(this.#elements, this.#parts))
      await action(await this.#loaded)
    })
  }
}
