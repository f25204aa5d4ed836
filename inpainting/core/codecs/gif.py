"""GIF from outside: its blocks walked up to the second frame, the first copied out.

https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

from __future__ import annotations

from functools import partial

import numpy as np

from inpainting.core.codecs.anatomy import Anatomy, draw_with_pillow
from inpainting.core.codecs.limits import Door
from inpainting.core.picture import Pixels

SIGNATURES = (b"GIF87a", b"GIF89a")
EXTENSION, IMAGE, TRAILER = 0x21, 0x2C, 0x3B
GRAPHIC_CONTROL = 0xF9


def read_gif(data: bytes, door: Door) -> Anatomy:
    """Take a GIF apart. Raises InvalidPicture."""
    if len(data) < 13:
        raise door.damaged("it ends early")
    walker = _Walker(data, door)
    position = 13 + _table_bytes(data[10])
    drawing = [data[:position]]
    images = 0
    while images < 2:
        introducer = walker.byte(position)
        start = position
        if introducer == TRAILER or (images and introducer not in (EXTENSION, IMAGE)):
            break  # a first frame is all we need: what comes after it may be anything
        if introducer == EXTENSION:
            kind = walker.byte(position + 1)
            position = walker.after_blocks(position + 2)
            if kind == GRAPHIC_CONTROL and not images:
                drawing.append(data[start:position])
        elif introducer == IMAGE:
            images += 1
            if images == 1:
                walker.byte(position + 9)
                position = walker.after_blocks(position + 11 + _table_bytes(data[position + 9]))
                drawing.append(data[start:position])
                left, top, width, height = (_two_bytes(data, start + at) for at in (1, 3, 5, 7))
                door.sized(width, height)
        else:
            raise door.damaged("its blocks are corrupt")
    if not images:
        raise door.damaged("it holds no image data")
    # Like browsers and Pillow: a frame that reaches out of the screen widens it.
    size = door.sized(max(_two_bytes(data, 6), left + width), max(_two_bytes(data, 8), top + height))
    warnings = [f"The {door.noun} has a palette; it is kept in true colour."]
    if images > 1:
        warnings.append(f"The {door.noun} is animated; its first frame is used.")
    return Anatomy(
        size=size,
        draw=partial(_draw, b"".join([*drawing, bytes([TRAILER])])),
        profile_space="RGB ",
        warnings=tuple(warnings),
    )


class _Walker:
    """Steps through a GIF's chains of blocks without reading past the end."""

    def __init__(self, data: bytes, door: Door) -> None:
        self.data, self.door, self.blocks = data, door, 0

    def byte(self, position: int) -> int:
        if position >= len(self.data):
            raise self.door.damaged("it ends early")
        return self.data[position]

    def after_blocks(self, position: int) -> int:
        """Where a chain of blocks ends: each is a length of 1-255 and that many bytes; a length of 0 is the last."""
        while length := self.byte(position):
            position += 1 + length
            self.blocks += 1
            if self.blocks > self.door.limits.max_gif_blocks:
                raise self.door.too_complex("blocks", limit=self.door.limits.max_gif_blocks)
        return position + 1


def _draw(drawing: bytes) -> Pixels:
    image = draw_with_pillow(drawing, "GIF")
    return np.array(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _table_bytes(flags: int) -> int:
    """Size of the colour table that a flags byte announces."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _two_bytes(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")
