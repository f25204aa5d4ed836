"""Parses the structure of a GIF: walks its blocks up to the second frame and copies out the first.

https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

from __future__ import annotations

from functools import partial

import numpy as np

from inpainting.core.codecs.decoders import decode_with_pillow
from inpainting.core.codecs.intake import Intake
from inpainting.core.codecs.parsed_file import ParsedFile
from inpainting.core.image import Pixels
from inpainting.core.sentences import sentence

SIGNATURES = (b"GIF87a", b"GIF89a")
EXTENSION, IMAGE, TRAILER = 0x21, 0x2C, 0x3B
GRAPHIC_CONTROL = 0xF9


def parse_gif(data: bytes, intake: Intake) -> ParsedFile:
    """Parse a GIF up to its second frame. Raises InvalidImage."""
    if len(data) < 13:
        raise intake.damage_error("it ends early")
    reader = _BlockReader(data, intake)
    position = 13 + _table_bytes(data[10])
    essential = [data[:position]]
    images = 0
    while images < 2:
        introducer = reader.byte(position)
        start = position
        if introducer == TRAILER or (images and introducer not in (EXTENSION, IMAGE)):
            break  # the first frame is complete: any bytes may follow
        if introducer == EXTENSION:
            kind = reader.byte(position + 1)
            position = reader.after_blocks(position + 2)
            if kind == GRAPHIC_CONTROL and not images:
                essential.append(data[start:position])
        elif introducer == IMAGE:
            images += 1
            if images == 1:
                position = reader.after_frame(position)
                essential.append(data[start:position])
                left, top, width, height = (_two_bytes(data, start + at) for at in (1, 3, 5, 7))
                intake.check_size(width, height)
        else:
            raise intake.damage_error("its blocks are corrupt")
    if not images:
        raise intake.damage_error("it holds no image data")
    # As in browsers and Pillow, a frame larger than the logical screen enlarges it.
    size = intake.check_size(max(_two_bytes(data, 6), left + width), max(_two_bytes(data, 8), top + height))
    warnings = [sentence("The {noun} has a palette; it is kept in true colour.", noun=intake.noun)]
    if images > 1:
        warnings.append(sentence("The {noun} is animated; its first frame is used.", noun=intake.noun))
    return ParsedFile(
        size=size,
        decode=partial(_decode, b"".join([*essential, bytes([TRAILER])])),
        profile_space="RGB ",
        warnings=tuple(warnings),
    )


class _BlockReader:
    """Walks a GIF's chains of data blocks without reading past the end."""

    def __init__(self, data: bytes, intake: Intake) -> None:
        self.data, self.intake, self.blocks = data, intake, 0

    def byte(self, position: int) -> int:
        if position >= len(self.data):
            raise self.intake.damage_error("it ends early")
        return self.data[position]

    def after_frame(self, position: int) -> int:
        """Return the position after an image descriptor, its colour table and its data blocks."""
        return self.after_blocks(position + 11 + _table_bytes(self.byte(position + 9)))

    def after_blocks(self, position: int) -> int:
        """Return the position after a chain of blocks: each a length of 1-255 and that many bytes; a length of 0 ends
        it."""
        while length := self.byte(position):
            position += 1 + length
            self.blocks += 1
            if self.blocks > self.intake.limits.max_gif_blocks:
                raise self.intake.too_complex("blocks", limit=self.intake.limits.max_gif_blocks)
        return position + 1


def _decode(data: bytes) -> Pixels:
    image = decode_with_pillow(data, "GIF")
    return np.array(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _table_bytes(flags: int) -> int:
    """Return size of the colour table that a flags byte declares."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _two_bytes(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")
