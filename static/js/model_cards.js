// Cards of models that show what happens: while a model is on its way, its card is read again from the page of models.

import { getPage } from "api"

const PAUSE_MS = 1500

/** @param {Element} card */
const newsIn = (card) => /** @type {Element} */ (card.querySelector(".model-news"))

/** Keeps the cards below `root` up to date for as long as it is on the page and one of them is on its way.
 *  @param {ParentNode & Node} root @param {string} url of the page that has them @param {() => void} [onChange] a card was replaced */
export function followCards(root, url, onChange = () => {}) {
  setTimeout(async () => {
    const onTheirWay = [.../** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll('.model[data-state="pulling"]'))]
    if (!onTheirWay.length || !root.isConnected) return
    const fresh = await getPage(url).catch(() => null) // the server may be away for a moment
    for (const card of onTheirWay) {
      const next = fresh?.getElementById(card.id)
      if (!next) continue
      if (next.dataset.state === card.dataset.state) {
        newsIn(card).replaceWith(document.adoptNode(newsIn(next)))
      } else {
        card.replaceWith(document.adoptNode(next))
        onChange()
      }
    }
    followCards(root, url, onChange)
  }, PAUSE_MS)
}
