// The models page: while a model is being pulled, its cards are refreshed; a machine that was chosen is shown at once.

const PAUSE_MS = 1500

/** @param {Element} card */
const newsIn = (card) => /** @type {Element} */ (card.querySelector(".model-news"))

async function look() {
  const onTheirWay = [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.model[data-state="pulling"]'))]
  if (!onTheirWay.length) return
  try {
    const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } })
    if (answer.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html")
      for (const card of onTheirWay) {
        const next = fresh.getElementById(card.id)
        if (!next) continue
        if (next.dataset.state === card.dataset.state) {
          newsIn(card).replaceWith(document.adoptNode(newsIn(next)))
        } else {
          card.replaceWith(document.adoptNode(next))
        }
      }
    }
  } catch {
    // The server may be unreachable for a moment; the next poll tries again.
  }
  setTimeout(look, PAUSE_MS)
}

setTimeout(look, PAUSE_MS)

const machine = /** @type {HTMLFormElement | null} */ (document.querySelector("form.machine"))
if (machine) {
  const button = /** @type {HTMLButtonElement} */ (machine.querySelector("button"))
  button.hidden = true
  machine.addEventListener("change", () => machine.submit())
}
