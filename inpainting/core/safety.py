"""What holds of the safety checker for one request, and which parts of a painted picture it looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from inpainting.core.geometry import Box, Size
from inpainting.core.masks import marked
from inpainting.core.picture import Mask
from inpainting.core.request import PaintSettings

OFF = "off"
UNAVAILABLE = "safety_checker_unavailable"
"""The code of every error that says that it is to look and cannot."""
USUAL_TYPE = "sensitive_content_text"
"""Where somebody turns it on and says no more."""
STRICTNESS = {"blur": 1, "pixelate": 2, "black": 3, "sensitive_content_text": 3}
"""How little of the picture is left: soft colours and shapes, a few squares of colour, nothing."""
STAYS_ON = "The safety checker stays on: whoever runs this site has turned it on for everybody."
SURROUNDINGS, LEAST_SURROUNDINGS = 0.5, 32
"""Around what was painted: a share of its longer side, and pixels."""
MOST_ISLANDS = 8
SMALL = 2
"""An island that is shown at half the size is seen well enough: it is looked at alone where it would be smaller."""


def settled(settings: PaintSettings, instance: str) -> tuple[PaintSettings, tuple[str, ...]]:
    """The settings with what holds in the end, and warnings where that is stricter than asked.

    instance: OFF or the type that holds for everybody here. A request may turn the checker on or choose a type that
    leaves less; never off, and never a type that leaves more. `safety_checker_type` is None where it is off.
    """
    asked = settings.safety_checker_type
    if instance == OFF:
        if settings.safety_checker:
            return replace(settings, safety_checker_type=asked or USUAL_TYPE), ()
        unread = ("safety_checker_type changes nothing while the safety checker is off.",) if asked else ()
        return replace(settings, safety_checker_type=None), unread
    warnings = [STAYS_ON] if settings.safety_checker is False else []
    chosen = asked or instance
    if STRICTNESS[chosen] < STRICTNESS[instance]:
        warnings.append(f"The safety_checker_type “{chosen}” hides less than this site wants; “{instance}” is used.")
        chosen = instance
    return replace(settings, safety_checker=True, safety_checker_type=chosen), tuple(warnings)


def views(mask: Mask) -> list[Box]:
    """Squares that together show all that was painted, each with what is around it.

    Of everything at once, and of each island of the mask that is small in that: a far dot in the mask must not make the
    rest too small to be seen. Squares, because of what it is given the checker sees the middle square and nothing else.
    """
    height, width = mask.shape
    picture = Size(width, height)
    everything = widened(marked(mask), picture)
    alone = [widened(box, picture) for box in islands(mask)]
    small = [box for box in alone if box.size.shorter * SMALL < everything.size.shorter]
    return list(dict.fromkeys(square for box in (everything, *small) for square in squares(box)))


def islands(mask: Mask) -> list[Box]:
    """The bounds of the mask's largest connected parts, MOST_ISLANDS at most."""
    _, _, found, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8), connectivity=8)
    by_size = sorted(found[1:].tolist(), key=lambda part: -part[cv2.CC_STAT_AREA])
    return [Box(left, top, left + width, top + height) for left, top, width, height, _ in by_size[:MOST_ISLANDS]]


def widened(box: Box, picture: Size) -> Box:
    """With its surroundings, and as nearly a square as the picture has room for."""
    side = box.size.longer + 2 * max(LEAST_SURROUNDINGS, round(box.size.longer * SURROUNDINGS))
    left, right = spread(box.left, box.right, side, picture.width)
    top, bottom = spread(box.top, box.bottom, side, picture.height)
    return Box(left, top, right, bottom)


def spread(start: int, end: int, length: int, most: int) -> tuple[int, int]:
    """A stretch of `length` with start..end in its middle, moved and cut where it leaves 0..most."""
    length = min(length, most)
    begin = min(max(0, (start + end - length) // 2), most - length)
    return begin, begin + length


def squares(box: Box) -> Iterator[Box]:
    """As few squares of the box's shorter side as cover it."""
    side, long = box.size.shorter, box.size.longer
    count = -(-long // side)
    for number in range(count):
        at = (long - side) * number // max(1, count - 1)
        left, top = (box.left + at, box.top) if box.size.width == long else (box.left, box.top + at)
        yield Box(left, top, left + side, top + side)
