"""Generations of the user whose session a page has, painted through the API."""

from __future__ import annotations

from playwright.sync_api import Page

PAINT = """
async ([count, parent, wait, name, prompt]) => {
    const picture = (draw) => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 })
        draw(canvas.getContext("2d"))
        return new Promise((resolve) => canvas.toBlob(resolve, "image/png"))
    }
    const fill = (colour, ...box) => (context) => { context.fillStyle = colour; context.fillRect(...box) }
    const image = await picture((context) => {
        fill("#3a7", 0, 0, 64, 48)(context)
        fill("#a33", 20, 16, 12, 12)(context)
    })
    const mask = await picture((context) => {
        fill("#fff", 0, 0, 64, 48)(context)
        fill("#000", 18, 14, 16, 16)(context)
    })
    const ids = []
    for (let number = 0; number < count; number++) {
        const body = new FormData()
        body.append("image", image, `${name}-${number}.png`)
        body.append("mask", mask, "mask.png")
        body.append("prompt", prompt)
        if (parent) body.append("parent", parent)
        const headers = { "X-CSRFToken": document.querySelector("input[name=csrfmiddlewaretoken]").value }
        if (!wait) headers.Prefer = "respond-async"
        const answer = await fetch("/api/img2img", { method: "POST", body, headers })
        ids.push((await answer.json()).id)
    }
    return ids
}
"""


def paint(
    page: Page, count: int, *, parent: str = "", wait: bool = True, name: str = "meadow", prompt: str = ""
) -> list[str]:
    """The ids of new generations; wait: painted, else accepted."""
    ids: list[str] = page.evaluate(PAINT, [count, parent, wait, name, prompt])
    return ids
