"""Parses the structure of a WebP: walks its RIFF chunks and copies out the first frame.

https://developers.google.com/speed/webp/docs/riff_container; the sizes inside the bitstreams: RFC 6386 section 9.1
(VP8) and RFC 9649 section 3.4 (VP8L).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial

import numpy as np

from inpainting.core.codecs.decoders import decode_with_opencv
from inpainting.core.codecs.intake import Intake
from inpainting.core.codecs.metadata.exif import read_orientation, read_tags
from inpainting.core.codecs.metadata.xmp import read_rights
from inpainting.core.codecs.parsed_file import DecodingFailed, ParsedFile
from inpainting.core.geometry import Size
from inpainting.core.image import Pixels
from inpainting.core.metadata import ImageMetadata
from inpainting.core.sentences import sentence

ALPHA_FLAG = 0x10
FRAME_HEADER_BYTES = 16


def chunks(data: bytes, intake: Intake) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and body of each chunk; raises InvalidImage where one reaches past the end or there are too many."""
    position, count = 0, 0
    while position < len(data):
        count += 1
        if count > intake.limits.max_webp_chunks:
            raise intake.too_complex("chunks", limit=intake.limits.max_webp_chunks)
        kind, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        end = position + 8 + length
        if position + 8 > len(data) or end > len(data):
            raise intake.damage_error("it ends early")
        yield kind, data[position + 8 : end]
        position = end + length % 2  # bodies are padded to an even length


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def parse_webp(data: bytes, intake: Intake) -> ParsedFile:
    """Parse a WebP. Raises InvalidImage."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise intake.damage_error("it ends early")
    found: dict[bytes, bytes] = {}  # the first of each kind
    frames = 0
    for kind, body in chunks(data[12:end], intake):
        found.setdefault(kind, body)
        frames += kind == b"ANMF"
    canvas, left, top, image = None, 0, 0, found
    if b"VP8X" in found:
        if len(found[b"VP8X"]) < 10:
            raise intake.damage_error("its header is corrupt")
        canvas = intake.check_size(_three_bytes(found[b"VP8X"], 4) + 1, _three_bytes(found[b"VP8X"], 7) + 1)
    if frames:
        frame = found[b"ANMF"]
        left, top = 2 * _three_bytes(frame, 0), 2 * _three_bytes(frame, 3)
        image = dict(chunks(frame[FRAME_HEADER_BYTES:], intake))
    size, data = _first_frame(image, intake)
    exif = found.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
    canvas = canvas or size
    if left + size.width > canvas.width or top + size.height > canvas.height or (not frames and canvas != size):
        raise intake.damage_error("its sizes contradict each other")
    return ParsedFile(
        size=canvas,
        decode=partial(_decode, data, canvas, left, top),
        profile_space="RGB ",
        icc_profile=found.get(b"ICCP"),
        orientation=read_orientation(exif),
        warnings=(sentence("The {noun} is animated; its first frame is used.", noun=intake.noun),)
        if frames > 1
        else (),
        metadata=ImageMetadata(tags=read_tags(exif), rights=read_rights(found.get(b"XMP ", b""))),
    )


def _first_frame(image: dict[bytes, bytes], intake: Intake) -> tuple[Size, bytes]:
    """Return the size of one frame, and a WebP file of that frame alone."""
    lossy, lossless = image.get(b"VP8 ", b""), image.get(b"VP8L", b"")
    if lossy[3:6] == b"\x9d\x01\x2a" and len(lossy) >= 10:
        across, down = struct.unpack_from("<HH", lossy, 6)
        size = intake.check_size(across & 0x3FFF, down & 0x3FFF)
        parts = chunk(b"VP8 ", lossy)
        if b"ALPH" in image:
            sides = (size.width - 1).to_bytes(3, "little") + (size.height - 1).to_bytes(3, "little")
            header = chunk(b"VP8X", bytes([ALPHA_FLAG, 0, 0, 0]) + sides)
            parts = header + chunk(b"ALPH", image[b"ALPH"]) + parts
    elif lossless[:1] == b"\x2f" and len(lossless) >= 5:
        bits = int.from_bytes(lossless[1:5], "little")
        size = intake.check_size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        parts = chunk(b"VP8L", lossless)
    else:
        raise intake.damage_error("it holds no image data")
    return size, b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WEBP" + parts


def _decode(data: bytes, canvas: Size, left: int, top: int) -> Pixels:
    frame = decode_with_opencv(data, size=canvas)
    height, width, channels = frame.shape
    if (width, height) == (canvas.width, canvas.height):
        return frame
    pixels = np.zeros((canvas.height, canvas.width, 4), np.uint8)
    part = pixels[top : top + height, left : left + width]
    if part.shape[:2] != (height, width):
        raise DecodingFailed(sentence("its sizes contradict each other"))
    part[:, :, :channels] = frame
    if channels == 3:
        part[:, :, 3] = 255
    return pixels


def _three_bytes(body: bytes, at: int) -> int:
    return int.from_bytes(body[at : at + 3], "little")
