"""Fingers and a pen on a page, by the DevTools protocol: Playwright itself only taps."""

from __future__ import annotations

from itertools import pairwise

from playwright.sync_api import Page

Place = tuple[float, float]
"""CSS pixels of the page."""
REST_MS = 150
"""Fingers that are lifted in motion are a fling, and Chromium takes the next tap as the one that stops it."""


class Touch:
    """Sends touch and pen events; `finger` and `fingers` are trusted and are captured like those of a real screen."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.devtools = page.context.new_cdp_session(page)

    def event(self, kind: str, *fingers: Place) -> None:
        """kind: touchStart, touchMove or touchEnd; `fingers`: all that are down."""
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
        self.devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def drag(self, *places: Place, steps: int = 6) -> None:
        """One finger, from the first place over the others."""
        self.event("touchStart", places[0])
        for (ax, ay), (bx, by) in pairwise(places):
            for step in range(1, steps + 1):
                self.event("touchMove", (ax + (bx - ax) * step / steps, ay + (by - ay) * step / steps))
        self.page.wait_for_timeout(REST_MS)
        self.event("touchEnd")

    def pinch(self, start: tuple[Place, Place], end: tuple[Place, Place], *, steps: int = 4) -> None:
        """Two fingers, one after the other down, together moved and lifted."""
        self.event("touchStart", start[0])
        self.event("touchStart", *start)
        for step in range(1, steps + 1):
            part = step / steps
            moved = [
                (ax + (bx - ax) * part, ay + (by - ay) * part) for (ax, ay), (bx, by) in zip(start, end, strict=True)
            ]
            self.event("touchMove", *moved)
        self.page.wait_for_timeout(REST_MS)
        self.event("touchEnd")

    def pen(self, *places: Place, force: float = 0.5) -> None:
        """A pen, pressed at the first place and lifted at the last."""
        for index, (x, y) in enumerate(places):
            self._pen("mousePressed" if index == 0 else "mouseMoved", x, y, force)
        self._pen("mouseReleased", *places[-1], 0)

    def _pen(self, kind: str, x: float, y: float, force: float) -> None:
        event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "force": force, "clickCount": 1}
        self.devtools.send("Input.dispatchMouseEvent", {**event, "pointerType": "pen"})
