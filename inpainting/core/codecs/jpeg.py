"""Parses the structure of a JPEG: checks its segments and scans, and copies the segments that a decoder needs.

ITU-T T.81 (https://www.w3.org/Graphics/JPEG/itu-t81.pdf), annex B: markers and segments.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from inpainting.core.codecs.colour import cmyk_to_rgb, profile_matches
from inpainting.core.codecs.decoders import decode_with_opencv, decode_with_pillow
from inpainting.core.codecs.intake import Intake
from inpainting.core.codecs.jpeg_quality import Table, estimate_quality, tables_in
from inpainting.core.codecs.metadata.exif import read_orientation, read_tags
from inpainting.core.codecs.metadata.xmp import JPEG_HEADER, read_rights
from inpainting.core.codecs.parsed_file import ParsedFile
from inpainting.core.geometry import Size
from inpainting.core.image import Pixels
from inpainting.core.metadata import ImageMetadata
from inpainting.core.sentences import sentence

SIGNATURE = b"\xff\xd8\xff"
SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
DQT, DHT, DRI = 0xDB, 0xC4, 0xDD
APP0, APP1, APP2, APP14 = 0xE0, 0xE1, 0xE2, 0xEE
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
FRAMES = (BASELINE, EXTENDED, PROGRESSIVE)
UNSUPPORTED_FRAMES = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
ESSENTIAL = frozenset({APP0, APP14, DQT, DHT, DRI, *FRAMES, SOS})
"""Markers of the segments that a decoder needs. APP0 (JFIF) and APP14 (Adobe) give the colour space."""
MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
"""A marker that begins a segment: neither a stuffed byte, nor a fill byte, nor a restart marker."""
BLOCK = 8
"""Side of a block, the square of samples that is coded together."""
MAX_PART_SEGMENTS = 64
"""The limit for a JPEG that is a part of another file. Encoders write 3 to 12: tables, a header and a scan of each
component."""


def parse_jpeg(data: bytes, intake: Intake) -> ParsedFile:
    """Parse a JPEG up to the end of its first image. Raises InvalidImage."""
    parser = _JpegParser(data, intake)
    parser.read()
    return parser.parsed()


@dataclass(frozen=True, slots=True)
class JpegPart:
    """A JPEG that is a part of another file's image: its size, the number of its components, and its decoder."""

    size: Size
    is_progressive: bool
    components: int
    decode: Callable[[], Pixels]


def parse_jpeg_part(data: bytes, shared: bytes, intake: Intake) -> JpegPart:
    """Parse a part, whose metadata is ignored.

    shared: segments for the decoder that all parts have in common.

    Raises InvalidImage, also for more scans than sequential coding needs.
    """
    limits = replace(intake.limits, max_jpeg_segments=MAX_PART_SEGMENTS)
    parser = _JpegParser(data, Intake(intake.field, limits))
    parser.essential.append(shared)
    parser.read()
    frame, factors = parser.checked_frame()
    is_progressive = frame.coding == PROGRESSIVE
    if parser.scans > len(factors) and not is_progressive:
        raise intake.damage_error("one of its JPEG parts has more scans than channels")
    parts = (*parser.essential, bytes([0xFF, EOI]))
    return JpegPart(frame.size, is_progressive, len(factors), partial(decode_with_opencv, *parts, size=frame.size))


def read_jpeg_tables(data: bytes, intake: Intake) -> bytes:
    """Return the DQT and DHT segments of a JPEG that holds only tables (T.81 B.5). Raises InvalidImage."""
    parser = _JpegParser(data, intake)
    parser.read()
    return b"".join(segment for segment in parser.essential if segment[1] in (DQT, DHT))


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame header (T.81 B.2.2)."""

    coding: int  # one of FRAMES
    size: Size
    body: bytes


class _JpegParser:
    """Reads one segment after another and collects what `parsed` returns."""

    def __init__(self, data: bytes, intake: Intake) -> None:
        self.data, self.intake = data, intake
        self.view = memoryview(data)  # Copies of the scans would take as much memory as the file.
        self.essential: list[bytes | memoryview] = [bytes([0xFF, SOI])]
        self.frame: _Frame | None = None
        self.exif = self.xmp = b""
        self.tables: dict[int, Table] = {}
        self.profile_parts: dict[int, bytes] = {}
        self.warnings: list[str] = []
        self.segments = self.scans = self.samples = self.coded_bytes = 0

    def read(self) -> None:
        """Read all segments of the first image. Raises InvalidImage."""
        position = len(self.essential[0])
        while True:
            begin = self._next_marker(position)
            marker = self.data[begin + 1]
            if marker == EOI:
                return
            end = self._segment_end(marker, begin + 2)
            position = self._read_segment(marker, self.data[begin + 4 : end], end)
            if marker in ESSENTIAL:
                self.essential.append(self.view[begin:position])

    def _next_marker(self, position: int) -> int:
        found = MARKER.search(self.data, position)
        if found is None:
            raise self.intake.damage_error("it ends early")
        return found.start()

    def _segment_end(self, marker: int, start: int) -> int:
        """Check and count the segment whose length field is at `start`; return the position after it."""
        length = int.from_bytes(self.data[start : start + 2])
        self.segments += 1
        if length < 2 or marker == SOI or start + length > len(self.data):
            raise self.intake.damage_error("its segments are corrupt, or it ends early")
        if self.segments > self.intake.limits.max_jpeg_segments:
            raise self.intake.too_complex("segments", limit=self.intake.limits.max_jpeg_segments)
        return start + length

    def _read_segment(self, marker: int, body: bytes, end: int) -> int:
        """Read a segment that ends at `end`; return the position after it, which for a scan is after its coded data."""
        if marker in UNSUPPORTED_FRAMES:
            raise self.intake.refusal(
                "type_unsupported",
                "The {noun} is a lossless, hierarchical or arithmetic-coded JPEG; send a baseline or progressive one.",
            )
        if marker in FRAMES:
            self._read_frame(marker, body)
        elif marker == SOS:
            return self._read_scan(body, end)
        elif marker == APP1 and body.startswith(b"Exif\0\0"):
            self.exif = self.exif or body[6:]
        elif marker == APP1 and body.startswith(JPEG_HEADER):
            self.xmp = self.xmp or body.removeprefix(JPEG_HEADER)
        elif marker == DQT:
            self.tables.update(tables_in(body))
        elif marker == APP2:
            self._read_app2(body)
        return end

    def _read_frame(self, coding: int, body: bytes) -> None:
        if self.frame is not None or len(body) < 6:
            raise self.intake.damage_error("its header is corrupt")
        width, height = int.from_bytes(body[3:5]), int.from_bytes(body[1:3])
        if body[5] == 4:
            max_pixels = self.intake.limits.max_pixels_cmyk
            size = self.intake.check_size(width, height, max_pixels=max_pixels, kind=sentence(" in CMYK"))
        else:
            size = self.intake.check_size(width, height)
        self.frame = _Frame(coding, size, body)

    def _read_scan(self, body: bytes, end: int) -> int:
        limits = self.intake.limits
        self.scans += 1
        if self.frame is None:
            raise self.intake.damage_error("it has no header before its image data")
        if self.scans > limits.max_jpeg_scans:
            raise self.intake.too_complex("scans", limit=limits.max_jpeg_scans)
        self.samples += self.frame.size.area * (body[0] if body else 0)  # components in this scan (T.81 B.2.3)
        if self.samples > limits.max_jpeg_scan_samples:
            raise self.intake.refusal(
                "too_complex",
                "The {noun} has {scans} or more scans at {size}, {millions:.0f} million samples to read; at most "
                "{most:g} million are allowed.",
                limit=limits.max_jpeg_scan_samples,
                actual=self.samples,
                scans=self.scans,
                size=self.frame.size,
                millions=self.samples / 1e6,
                most=limits.max_jpeg_scan_samples / 1e6,
            )
        after = self._next_marker(end)
        self.coded_bytes += after - end
        return after

    def _read_app2(self, body: bytes) -> None:
        """Read a part of the colour profile (ICC.1 annex B.4: number and count of parts, data) or an MPF index."""
        if body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            self.profile_parts[body[12]] = body[14:]
        elif body.startswith(b"MPF\0"):
            self.warnings.append(
                sentence("The {noun} file holds several images; the first is used.", noun=self.intake.noun)
            )

    def checked_frame(self) -> tuple[_Frame, list[tuple[int, int]]]:
        """Return the header, and the sampling factors of each component. Raises InvalidImage for too few or other
        data."""
        if self.frame is None or not self.scans:
            raise self.intake.damage_error("it holds no image data")
        factors = _sampling_factors(self.frame, self.intake)
        if self.coded_bytes * 8 < _min_coded_bits(self.frame, factors):
            raise self.intake.damage_error("it holds far too little image data for its size")
        return self.frame, factors

    def parsed(self) -> ParsedFile:
        """Return the image that was read. Raises InvalidImage."""
        frame, factors = self.checked_frame()
        profile = b"".join(self.profile_parts[number] for number in sorted(self.profile_parts)) or None
        parts = (*self.essential, bytes([0xFF, EOI]))
        decode = partial(decode_with_opencv, *parts, size=frame.size)
        if len(factors) == 4:
            usable = profile if profile_matches(profile, "CMYK") else None
            decode = partial(_decode_cmyk, b"".join(parts), usable)
            self.warnings.append(
                sentence(
                    "The {noun} is CMYK; it is kept as sRGB, converted by its colour profile.", noun=self.intake.noun
                )
                if usable
                else sentence(
                    "The {noun} is CMYK; it is kept as sRGB, converted without a colour profile, so colours are "
                    "approximate.",
                    noun=self.intake.noun,
                )
            )
            profile = None
        return ParsedFile(
            size=frame.size,
            decode=decode,
            profile_space={1: "GRAY", 3: "RGB ", 4: ""}[len(factors)],
            icc_profile=profile,
            orientation=read_orientation(self.exif),
            warnings=tuple(dict.fromkeys(self.warnings)),
            metadata=ImageMetadata(self._quality(), read_tags(self.exif), read_rights(self.xmp)),
        )

    def _quality(self) -> int | None:
        """Return the estimated quality; None without a table. The second component, of colour, has a table of its
        own."""
        numbers = [] if self.frame is None else list(self.frame.body[8 : 6 + 3 * self.frame.body[5] : 3])
        luminance, *others = [self.tables.get(number) for number in dict.fromkeys(numbers)]
        return None if luminance is None else estimate_quality(luminance, next(iter(others), None))


def _sampling_factors(frame: _Frame, intake: Intake) -> list[tuple[int, int]]:
    """Return horizontal and vertical sampling factor of each component (T.81 B.2.2)."""
    precision, count = frame.body[0], frame.body[5]
    if precision != 8:
        raise intake.refusal(
            "type_unsupported",
            "The {noun} is a JPEG with {precision} bits a sample; send one with 8.",
            precision=precision,
        )
    if count not in (1, 3, 4) or len(frame.body) != 6 + 3 * count:
        raise intake.damage_error("its header is corrupt")
    factors = [(byte >> 4, byte & 15) for byte in frame.body[7 : 6 + 3 * count : 3]]
    if not all(1 <= factor <= 4 for pair in factors for factor in pair):
        raise intake.damage_error("its header is corrupt")
    return factors


def _min_coded_bits(frame: _Frame, factors: list[tuple[int, int]]) -> int:
    """Return the fewest bits that can code a frame. A file with fewer only declares a large image, and is damaged.

    A block costs at least one bit for its DC value and, unless progressive, one for "end of block" (T.81 F.1.2, G.1.2).
    """
    max_across, max_down = (max(column) for column in zip(*factors, strict=True))
    blocks = sum(
        -(-(frame.size.width * across) // (max_across * BLOCK)) * -(-(frame.size.height * down) // (max_down * BLOCK))
        for across, down in factors
    )
    return blocks * (1 if frame.coding == PROGRESSIVE else 2)


def _decode_cmyk(data: bytes, profile: bytes | None) -> Pixels:
    return np.array(cmyk_to_rgb(profile)(decode_with_pillow(data, "JPEG")))
