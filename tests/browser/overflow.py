"""What does not fit on a page: texts outside the window or their button, and controls that others cover."""

from __future__ import annotations

from playwright.sync_api import Page

OVERFLOW = """
(width) => {
    const ROUNDING = 1.5
    const SCROLLERS = "nav, pre, textarea, .sections, .table-scroll, .choice-list, .filmstrip, .results"
    const TEXT_FRAMES = "button, a, summary, label, th, td, h1, h2, h3, .badge"
    const FRAMES = ":popover-open, dialog, .panel, .sheet, .dock, .card"
    const found = new Set()
    const around = (element) => (element ? [element, ...around(element.parentElement)] : [])
    const style = (element) => getComputedStyle(element)
    const isForScreenReaders = (element) => style(element).clipPath !== "none" && element.offsetWidth <= 1
    const isShown = (element) => !around(element).some(isForScreenReaders)
        && element.checkVisibility({ visibilityProperty: true, opacityProperty: true })
    const isShortened = (element) => around(element)
        .some((one) => style(one).textOverflow === "ellipsis" || style(one).webkitLineClamp !== "none")
    const isCutOff = (line, element) =>
        style(element).overflowY === "hidden" && line.top > element.getBoundingClientRect().bottom - ROUNDING
    const sticksOut = (box, frame) => box.left < frame.left - ROUNDING || box.right > frame.right + ROUNDING
    const note = (what, { localName, id }, text) =>
        found.add(`${what}: ${localName}#${id} "${text.trim().replace(/\\s+/g, " ").slice(0, 60)}"`)

    const wide = Math.max(innerWidth, document.documentElement.scrollWidth) // a phone shows a wide page smaller
    if (wide > width) found.add(`the page is ${wide} pixels wide`)
    for (const element of document.querySelectorAll("body *")) {
        const scrolls = /auto|scroll/.test(style(element).overflowX) && !element.matches(SCROLLERS)
        if (scrolls && element.scrollWidth > element.clientWidth + ROUNDING && isShown(element)) {
            note("scrolls sideways", element, element.className)
        }
    }

    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (texts.nextNode()) {
        const { data, parentElement: element } = texts.currentNode
        if (!data.trim() || element.closest("script, style, option, textarea")) continue
        if (!isShown(element) || isShortened(element)) continue
        const range = document.createRange()
        range.selectNodeContents(texts.currentNode)
        const frame = element.closest(TEXT_FRAMES)
        const box = frame && style(frame).display !== "inline" ? frame.getBoundingClientRect() : null
        for (const line of range.getClientRects()) {
            if (around(element).some((one) => isCutOff(line, one))) continue
            const isInWindow = element.closest(SCROLLERS) || !sticksOut(line, { left: 0, right: width })
            if (!isInWindow) note("outside the window", element, data)
            if (box && sticksOut(line, box)) note("wider than its frame", frame, data)
            const isTooHigh = box && (line.top < box.top - 4 || line.bottom > box.bottom + 4)
            if (isTooHigh && frame.matches("button, .button, .badge")) note("higher than its frame", frame, data)
        }
    }

    const isOpen = document.querySelector(":popover-open, dialog[open], #more[open]") // and may cover what is below
    for (const control of document.querySelectorAll("button, a.button, select, input, summary")) {
        const box = control.getBoundingClientRect()
        if (!box.width || !isShown(control) || control.closest(SCROLLERS)) continue
        const frame = control.closest(FRAMES)?.getBoundingClientRect()
        if (frame && sticksOut(box, frame)) note("beside its frame", control, control.textContent)
        for (const across of isOpen ? [] : [0.15, 0.85]) {
            const top = document.elementFromPoint(box.left + box.width * across, box.top + box.height / 2)
            const isOfIt = !top || control.contains(top) || top.contains(control)
            if (isOfIt || top.closest("label")?.control === control) continue
            note(`covered by ${top.localName}.${top.className}`, control, control.textContent)
        }
    }
    return [...found]
}
"""


def overflow(page: Page) -> list[str]:
    """What of the page in its present state does not fit; empty where all does."""
    assert page.viewport_size
    found: list[str] = page.evaluate(OVERFLOW, page.viewport_size["width"])
    return found
