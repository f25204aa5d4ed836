"""JPEG from outside: its segments walked, its scans counted, the segments that draw copied out.

ITU-T T.81 (https://www.w3.org/Graphics/JPEG/itu-t81.pdf), annex B: markers and segments.
"""

from __future__ import annotations

import re
from functools import partial

import numpy as np

from inpainting.core.codecs.anatomy import Anatomy, draw_with_opencv, draw_with_pillow, orientation_in
from inpainting.core.codecs.colour import cmyk_to_rgb, fits
from inpainting.core.codecs.limits import Door
from inpainting.core.picture import Pixels

SIGNATURE = b"\xff\xd8\xff"
SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
DQT, DHT, DRI = 0xDB, 0xC4, 0xDD
APP0, APP1, APP2, APP14 = 0xE0, 0xE1, 0xE2, 0xEE
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
OTHER_FRAMES = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
DRAWING = frozenset({APP0, APP14, DQT, DHT, DRI, BASELINE, EXTENDED, PROGRESSIVE, SOS})  # JFIF and Adobe: which colours
MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")  # neither a stuffed byte, nor filling, nor a restart
BLOCK = 8
"""Side of the square of samples that is coded together."""


def read_jpeg(data: bytes, door: Door) -> Anatomy:
    """Take a JPEG apart, up to the end of its first picture. Raises InvalidPicture."""
    limits = door.limits
    drawing = [b"\xff\xd8"]
    exif, profile_parts, warnings = b"", {}, []
    frame: bytes | None = None
    segments = scans = samples = coded_bytes = 0
    position = 2
    while True:
        found = MARKER.search(data, position)
        if found is None:
            raise door.damaged("it ends early")
        marker, start = data[found.start() + 1], found.end()
        if marker == EOI:
            break
        length = int.from_bytes(data[start : start + 2])
        position = start + length
        segments += 1
        if length < 2 or marker == SOI or position > len(data):
            raise door.damaged("its segments are corrupt, or it ends early")
        if segments > limits.max_jpeg_segments:
            raise door.too_complex("segments", limit=limits.max_jpeg_segments)
        body = data[start + 2 : position]
        if marker in OTHER_FRAMES:
            raise door.refusal(
                "type_unsupported",
                "is a lossless, hierarchical or arithmetic-coded JPEG; send a baseline or progressive one.",
            )
        if marker in (BASELINE, EXTENDED, PROGRESSIVE):
            if frame is not None or len(body) < 6:
                raise door.damaged("its header is corrupt")
            frame, coding = body, marker
            width, height = int.from_bytes(body[3:5]), int.from_bytes(body[1:3])
            if body[5] == 4:
                size = door.sized(width, height, most_pixels=limits.max_pixels_cmyk, kind=" in CMYK")
            else:
                size = door.sized(width, height)
        elif marker == SOS:
            scans += 1
            if frame is None:
                raise door.damaged("it has no header before its image data")
            if scans > limits.max_jpeg_scans:
                raise door.too_complex("scans", limit=limits.max_jpeg_scans)
            samples += size.area * (body[0] if body else 0)  # colours in this scan (T.81 B.2.3)
            if samples > limits.max_jpeg_scan_samples:
                raise door.refusal(
                    "too_complex",
                    f"has {scans} or more scans at {size}, {samples / 1e6:.0f} million samples to read; "
                    f"at most {limits.max_jpeg_scan_samples / 1e6:g} million are allowed.",
                    limit=limits.max_jpeg_scan_samples,
                    actual=samples,
                )
            after = MARKER.search(data, position)
            if after is None:
                raise door.damaged("it ends early")
            coded_bytes += after.start() - position
            position = after.start()
        elif marker == APP1 and body.startswith(b"Exif\0\0"):
            exif = exif or body[6:]
        elif marker == APP2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile_parts[body[12]] = body[14:]  # ICC.1 annex B.4: number of this part, number of parts, part
        elif marker == APP2 and body.startswith(b"MPF\0"):
            warnings.append(f"The {door.noun} file holds several pictures; the first is used.")
        if marker in DRAWING:
            drawing.append(data[found.start() : position])
    if frame is None or not scans:
        raise door.damaged("it holds no image data")
    components = _components(frame, door)
    if coded_bytes * 8 < _least_bits(size.width, size.height, components, coding):
        raise door.damaged("it holds far too little image data for its size")
    profile = b"".join(profile_parts[number] for number in sorted(profile_parts)) or None
    drawing.append(b"\xff\xd9")
    space = {1: "GRAY", 3: "RGB ", 4: ""}[len(components)]
    draw = partial(draw_with_opencv, b"".join(drawing))
    if len(components) == 4:
        usable = profile if fits(profile, "CMYK") else None
        draw = partial(_draw_cmyk, b"".join(drawing), usable)
        how = "by its colour profile" if usable else "without a colour profile, so colours are approximate"
        warnings.append(f"The {door.noun} is CMYK; it is kept as sRGB, converted {how}.")
        profile = None
    return Anatomy(
        size=size,
        draw=draw,
        profile_space=space,
        icc_profile=profile,
        orientation=orientation_in(exif),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _components(frame: bytes, door: Door) -> list[tuple[int, int]]:
    """Horizontal and vertical sampling factor of each component (T.81 B.2.2)."""
    precision, count = frame[0], frame[5]
    if precision != 8:
        raise door.refusal("type_unsupported", f"is a JPEG with {precision} bits a sample; send one with 8.")
    if count not in (1, 3, 4) or len(frame) != 6 + 3 * count:
        raise door.damaged("its header is corrupt")
    factors = [(byte >> 4, byte & 15) for byte in frame[7 : 6 + 3 * count : 3]]
    if not all(1 <= factor <= 4 for pair in factors for factor in pair):
        raise door.damaged("its header is corrupt")
    return factors


def _least_bits(width: int, height: int, factors: list[tuple[int, int]], coding: int) -> int:
    """Bits that the shortest possible coding of a picture has, so that a small file cannot claim a large one.

    A block costs at least one bit for its mean and, unless progressive, one for "no more" (T.81 F.1.2, G.1.2).
    """
    most_across, most_down = (max(column) for column in zip(*factors, strict=True))
    blocks = sum(
        -(-(width * across) // (most_across * BLOCK)) * -(-(height * down) // (most_down * BLOCK))
        for across, down in factors
    )
    return blocks * (1 if coding == PROGRESSIVE else 2)


def _draw_cmyk(drawing: bytes, profile: bytes | None) -> Pixels:
    return np.array(cmyk_to_rgb(draw_with_pillow(drawing, "JPEG"), profile))
