"""Parses the structure of a TIFF: checks the tags of its first page and finds the strips or tiles of its pixels.

TIFF 6.0 (https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf). Section numbers in this module are its.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from inpainting.core.codecs.colour import profile_matches
from inpainting.core.codecs.intake import MEBI, Intake
from inpainting.core.codecs.metadata.exif import UPRIGHT, read_tags
from inpainting.core.codecs.metadata.xmp import MAX_PACKET_BYTES, read_rights
from inpainting.core.codecs.parsed_file import ParsedFile
from inpainting.core.codecs.tiff.directory import (
    CLASSIC,
    TiffDirectory,
    read_directory,
    read_first_directory,
    unreadable,
)
from inpainting.core.codecs.tiff.jpeg import MAX_TABLE_BYTES, max_jpeg_chunks, shared_segments
from inpainting.core.codecs.tiff.pixels import Layout, decode_pixels
from inpainting.core.codecs.tiff.storage import DEFLATE, JPEG, LIBTIFF, LZW, UNCOMPRESSED, Storage
from inpainting.core.errors import InvalidImage
from inpainting.core.geometry import Size
from inpainting.core.metadata import ImageMetadata
from inpainting.core.sentences import Sentence, sentence

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_A_STRIP, STRIP_BYTES, PLANAR = 273, 274, 277, 278, 279, 284
PREDICTOR, PALETTE_TAG, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 317, 320, 322, 323, 324, 325
SUB_DIRECTORIES, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, ICC_PROFILE = 330, 332, 338, 339, 347, 34675
XMP, DNG_VERSION = 700, 50706
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6
COLOUR_SAMPLES = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, SEPARATED: 4, YCBCR: 3}
DEPTHS = {
    WHITE_IS_ZERO: (1, 2, 4, 8, 16),
    BLACK_IS_ZERO: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    SEPARATED: (8, 16),
    YCBCR: (8,),
}
UNREADABLE_COLOURS = {
    4: sentence("a transparency mask"),
    8: sentence("{space} colours", space="CIE L*a*b*"),
    9: sentence("{space} colours", space="ICC L*a*b*"),
    10: sentence("{space} colours", space="ITU L*a*b*"),
}
RAW_PHOTOMETRICS = (32803, 34892)
"""Colour filter array and LinearRaw, of cameras' raw files (DNG 1.7, chapter 3)."""
MAX_SUB_DIRECTORIES = 16
COMPRESSIONS = {UNCOMPRESSED, JPEG, *DEFLATE, *LIBTIFF}
UNREADABLE_COMPRESSIONS = {
    number: sentence("{name} compression", name=name)
    for number, name in {
        2: "CCITT fax",
        3: "CCITT fax",
        4: "CCITT fax",
        6: "old-style JPEG",
        34712: "JPEG 2000",
        34925: "LZMA",
        50000: "Zstandard",
        50001: "WebP",
        52546: "JPEG XL",
    }.items()
}
ASSOCIATED, UNASSOCIATED = 1, 2
"""Kinds of extra samples that are alpha: multiplied into the colours, or not (section 18)."""
MAX_SAMPLES = 8
MAX_PIXEL_BITS = 64
"""Four channels of 16 bits."""
MAX_LIBTIFF_BYTES = 170 * MEBI
"""A strip or tile is decompressed whole by libtiff, twice in memory, and Pillow refuses more than 170.6 MiB."""
MAX_PADDING_PIXELS = 2**23
"""The limit beside an eighth of the image: as many as in a row of 8192 pixels in tiles of 1024."""


def parse_tiff(data: bytes, intake: Intake) -> ParsedFile:
    """Parse the first page of a TIFF or BigTIFF. Raises InvalidImage."""
    directory = read_first_directory(data, intake)
    if _is_raw(directory):
        raise intake.refusal(
            "type_unsupported", "The {noun} file is a camera's raw file; export it as TIFF, PNG or JPEG."
        )
    photometric, samples, bits = _colour_kind(directory)
    size = _size(directory, photometric, samples, bits)
    extra = directory.numbers(EXTRA_SAMPLES)[: samples - COLOUR_SAMPLES[photometric]]
    if EXTRA_SAMPLES not in directory and samples == COLOUR_SAMPLES[photometric] + 1:
        extra = np.array([UNASSOCIATED])  # the tag is required, but OpenCV leaves it out
    alphas = np.flatnonzero((extra == ASSOCIATED) | (extra == UNASSOCIATED))
    layout = Layout(
        size=size,
        bits=bits,
        colour_samples=COLOUR_SAMPLES[photometric],
        alpha=COLOUR_SAMPLES[photometric] + int(alphas[0]) if len(alphas) else None,
        is_premultiplied=bool(len(alphas)) and extra[alphas[0]] == ASSOCIATED,
        is_inverted=photometric == WHITE_IS_ZERO,
        palette=_palette(directory, bits) if photometric == PALETTE else None,
    )
    profile = directory.bytes_of(ICC_PROFILE, max_bytes=intake.limits.max_profile_bytes)
    cmyk_profile = profile if photometric == SEPARATED and profile_matches(profile, "CMYK") else None
    orientation = directory.number(ORIENTATION, UPRIGHT)
    return ParsedFile(
        size=size,
        decode=partial(decode_pixels, _storage(directory, size, samples, bits, photometric), layout, cmyk_profile),
        profile_space={1: "GRAY", 3: "RGB ", 4: ""}[layout.colour_samples if photometric != PALETTE else 3],
        icc_profile=None if photometric == SEPARATED else profile,
        orientation=orientation if 1 <= orientation <= 8 else UPRIGHT,
        warnings=_warnings(directory, layout, photometric, samples, has_profile=cmyk_profile is not None),
        # The tags of a TIFF are those of Exif, which has its structure; a BigTIFF has another one.
        metadata=ImageMetadata(tags=read_tags(data), rights=read_rights(_packet(directory))),
    )


def _packet(directory: TiffDirectory) -> bytes:
    """Return the XMP packet; empty where it is missing, damaged or too large."""
    try:
        return directory.bytes_of(XMP, max_bytes=MAX_PACKET_BYTES) or b""
    except InvalidImage:
        return b""


def _is_raw(directory: TiffDirectory) -> bool:
    """Return whether it is a camera's raw file, whose first page is mostly a small preview (CR2, DNG, NEF, ARW, PEF,
    SRW)."""
    data, intake = directory.data, directory.intake
    if DNG_VERSION in directory or (data.startswith(CLASSIC) and data[8:10] == b"CR"):
        return True
    try:
        offsets = directory.numbers(SUB_DIRECTORIES, max_count=MAX_SUB_DIRECTORIES)
        pages = [directory, *(read_directory(data, int(offset), intake) for offset in offsets if offset > 0)]
        return any(page.number(PHOTOMETRIC, RGB) in RAW_PHOTOMETRICS for page in pages)
    except InvalidImage:
        return False  # damaged further pages do not matter


def _colour_kind(directory: TiffDirectory) -> tuple[int, int, int]:
    """Return photometric interpretation, samples a pixel and bits a sample. Raises InvalidImage for those not read
    here."""
    intake = directory.intake
    photometric = directory.number(PHOTOMETRIC, -1)
    samples = directory.number(SAMPLES, 1)
    depths = set(directory.numbers(BITS).tolist()) or {1}
    formats = set(directory.numbers(SAMPLE_FORMAT).tolist()) or {1}
    compression = directory.number(COMPRESSION, UNCOMPRESSED)
    problem: Sentence | None = None
    if not formats <= {1, 4}:
        problem = sentence("samples that are floating-point numbers") if 3 in formats else sentence("signed samples")
    elif photometric not in COLOUR_SAMPLES:
        unnamed = sentence("colours of kind {kind}", kind=photometric)
        problem = UNREADABLE_COLOURS.get(photometric, unnamed)
    elif compression not in COMPRESSIONS:
        unnamed = sentence("kind {kind} of compression", kind=compression)
        problem = UNREADABLE_COMPRESSIONS.get(compression, unnamed)
    elif photometric == YCBCR and compression != JPEG:
        problem = sentence("YCbCr colours without JPEG compression")
    elif len(depths) > 1 or not depths <= set(DEPTHS[photometric]) or (compression == JPEG and depths != {8}):
        problem = sentence("{bits} bits a channel", bits="/".join(str(depth) for depth in sorted(depths)))
    elif not COLOUR_SAMPLES[photometric] <= samples <= MAX_SAMPLES or (min(depths) < 8 and samples > 1):
        problem = sentence("{samples} channels", samples=samples)
    elif compression == JPEG and samples not in (1, 3):
        problem = sentence("{samples} channels in JPEG compression", samples=samples)
    elif photometric == SEPARATED and directory.number(INK_SET, 1) != 1:
        problem = sentence("inks other than CMYK")
    elif directory.number(FILL_ORDER, 1) != 1:
        problem = sentence("its bits in reversed order")
    if problem:
        raise unreadable(intake, problem)
    return photometric, samples, min(depths)


def _size(directory: TiffDirectory, photometric: int, samples: int, bits: int) -> Size:
    """Return the size, within the limits; more samples may not take more bytes than MAX_PIXEL_BITS at the limit of
    pixels."""
    limits, width, height = directory.intake.limits, directory.number(WIDTH, 0), directory.number(HEIGHT, 0)
    if samples * bits > MAX_PIXEL_BITS:
        kind = sentence(" with {samples} channels of {bits} bits", samples=samples, bits=bits)
        max_pixels = limits.max_pixels * MAX_PIXEL_BITS
        directory.intake.check_size(width, height, max_pixels=max_pixels // (samples * bits), kind=kind)
    if photometric == SEPARATED:
        return directory.intake.check_size(width, height, max_pixels=limits.max_pixels_cmyk, kind=sentence(" in CMYK"))
    if bits == 16:
        max_pixels = limits.max_pixels_16_bit
        return directory.intake.check_size(
            width, height, max_pixels=max_pixels, kind=sentence(" with 16 bits a channel")
        )
    return directory.intake.check_size(width, height)


def _palette(directory: TiffDirectory, bits: int) -> NDArray[np.uint8]:
    """Return [colours, 3]. The tag holds all reds, then all greens, then all blues, with 16 bits (section 5)."""
    values = directory.numbers(PALETTE_TAG)
    if len(values) != 3 * 2**bits:
        raise directory.intake.damage_error("its palette is corrupt")
    # Some programs write 8-bit values; libtiff tells them by the same rule.
    return (values >> 8 if values.max() > 255 else values).astype(np.uint8).reshape(3, -1).T


def _storage(directory: TiffDirectory, size: Size, samples: int, bits: int, photometric: int) -> Storage:
    """Return where the pixels are: every strip or tile within the file, in their number. Raises InvalidImage."""
    intake = directory.intake
    max_chunks, chunks = intake.limits.max_tiff_chunks, sentence("strips or tiles")
    compression = directory.number(COMPRESSION, UNCOMPRESSED)
    if compression == JPEG:
        max_chunks = min(max_chunks, max_jpeg_chunks(size))
        chunks = sentence("strips or tiles that are JPEGs at {size}", size=size)
    if TILE_OFFSETS in directory:
        width, height = directory.number(TILE_WIDTH, 0), directory.number(TILE_HEIGHT, 0)
        offsets, lengths = directory.numbers(TILE_OFFSETS, max_count=max_chunks, noun=chunks), TILE_BYTES
        if width < 1 or height < 1 or not _fits(Size(width, height), size):
            raise intake.damage_error("the size of its tiles is corrupt")
    else:
        width, height = size.width, directory.number(ROWS_A_STRIP, size.height)
        offsets, lengths = directory.numbers(STRIP_OFFSETS, max_count=max_chunks, noun=chunks), STRIP_BYTES
        if height < 1:
            raise intake.damage_error("the size of its strips is corrupt")
        height = min(height, size.height)
    planes = samples if directory.number(PLANAR, 1) == 2 else 1
    jpeg_segments = b""
    if compression == JPEG:
        tables = directory.bytes_of(JPEG_TABLES, max_bytes=MAX_TABLE_BYTES) or b""
        jpeg_segments = shared_segments(tables, samples // planes, intake, is_ycbcr=photometric == YCBCR)
    counts = directory.numbers(lengths, max_count=max_chunks)
    storage = Storage(
        data=directory.data,
        order=directory.order,
        offsets=offsets,
        lengths=counts,
        compression=compression,
        has_predictor=directory.number(PREDICTOR, 1) != 1 and compression in (LZW, *DEFLATE),
        is_tiled=TILE_OFFSETS in directory,
        chunk=Size(width, height),
        size=size,
        planes=planes,
        samples=samples // planes,
        bits=bits,
        jpeg_segments=jpeg_segments,
        intake=intake,
    )
    if storage.has_predictor and (directory.number(PREDICTOR, 1) != 2 or bits < 8):
        raise unreadable(intake, sentence("a predictor that is not read"))
    if compression in LIBTIFF and int(storage.chunk_bytes().max()) > MAX_LIBTIFF_BYTES:
        most = MAX_LIBTIFF_BYTES // MEBI
        raise unreadable(intake, sentence("a strip or tile of more than {most} MiB in this compression", most=most))
    if len(offsets) != planes * storage.across * storage.down or len(counts) != len(offsets):
        raise intake.damage_error("the number of its strips or tiles does not fit its size")
    if (offsets < 0).any() or (counts < 0).any() or (counts > len(directory.data) - offsets).any():
        raise intake.damage_error("it ends early")
    if int(counts.sum()) > len(directory.data):
        raise intake.damage_error("its strips or tiles overlap")
    if compression == UNCOMPRESSED and (counts < storage.chunk_bytes()).any():
        raise intake.damage_error("it holds too little image data for its size")
    return storage


def _fits(tile: Size, size: Size) -> bool:
    """Return whether tiles, which are all stored whole, have not many more pixels than the image."""
    across, down = -(-size.width // tile.width), -(-size.height // tile.height)
    return across * tile.width * down * tile.height <= size.area + size.area // 8 + MAX_PADDING_PIXELS


def _warnings(
    directory: TiffDirectory, layout: Layout, photometric: int, samples: int, *, has_profile: bool
) -> tuple[str, ...]:
    noun, found = directory.intake.noun, []
    if directory.next_offset:
        found.append(sentence("The {noun} file holds several pages; the first is used.", noun=noun))
    if photometric == PALETTE:
        found.append(sentence("The {noun} has a palette; it is kept in true colour.", noun=noun))
    elif layout.bits < 8:
        found.append(directory.intake.few_bits(layout.bits))
    if photometric == SEPARATED:
        found.append(
            sentence(
                "The {noun} is CMYK; it is kept as sRGB with 8 bits a channel, converted by its colour profile.",
                noun=noun,
            )
            if has_profile
            else sentence(
                "The {noun} is CMYK; it is kept as sRGB with 8 bits a channel, converted without a colour profile, "
                "so colours are approximate.",
                noun=noun,
            )
        )
    if layout.is_premultiplied:
        found.append(
            sentence(
                "The {noun}'s colours are multiplied with its transparency; they are kept divided by it.", noun=noun
            )
        )
    if samples > layout.colour_samples + (layout.alpha is not None):
        found.append(
            sentence("The {noun} has further channels that are no transparency; they are left out.", noun=noun)
        )
    return tuple(found)
