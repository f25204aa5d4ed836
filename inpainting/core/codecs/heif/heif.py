"""Parses the structure of an AVIF or HEIC, and copies out the coded images that the first frame is decoded from.

ISO/IEC 23008-12 (HEIF) and https://aomediacodec.github.io/av1-avif/. Crop, rotation and mirroring are taken out of the
file and applied here, so that no decoder's habits matter. Exif orientation is ignored, as HEIF (annex A.2) requires.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import cast

import numpy as np

from inpainting.core.codecs.colour import divide_by_alpha
from inpainting.core.codecs.decoders import decode_with_libheif, decode_with_opencv, decode_with_pillow
from inpainting.core.codecs.heif.alpha import find_alpha
from inpainting.core.codecs.heif.bitstreams import BitstreamSizes
from inpainting.core.codecs.heif.items import Item, Items, Property, auxiliary_kind, read_items
from inpainting.core.codecs.heif.writing import WrittenItem, write_heif
from inpainting.core.codecs.intake import Intake
from inpainting.core.codecs.metadata.exif import apply_orientation, read_tags
from inpainting.core.codecs.metadata.xmp import read_rights
from inpainting.core.codecs.parsed_file import DecodingFailed, ParsedFile
from inpainting.core.geometry import Size
from inpainting.core.image import Pixels
from inpainting.core.metadata import ImageMetadata
from inpainting.core.sentences import sentence

AV1, HEVC = b"av01", b"hvc1"
CONFIGURATIONS = {AV1: b"av1C", HEVC: b"hvcC"}
KEPT_PROPERTIES = (b"ispe", b"pixi", b"av1C", b"hvcC", b"auxC")
"""What a decoder gets; and of the boxes colr those that say how colours are coded, which are no profiles."""
TURNS = (b"clap", b"irot", b"imir")
KNOWN_PROPERTIES = (*KEPT_PROPERTIES, *TURNS, b"colr", b"pasp", b"a1lx", b"clli", b"mdcv")
GAIN_MAPS = (b"urn:com:apple:photo:2020:aux:hdrgainmap",)
TONE_MAPPED = b"tmap"
SRGB_PRIMARIES, HDR_TRANSFERS = (1, 2), {16: "PQ", 18: "HLG"}
"""ITU-T H.273, tables 2 and 3: BT.709 and unspecified; SMPTE ST 2084 and ARIB STD-B67."""
MAX_PADDING = 128
"""Pixels a side by which coded images may exceed their size: encoders fill up blocks of at most 64."""
BAND_ROWS = 256


@dataclass(frozen=True, slots=True)
class _Coded:
    """What all coded images of one image have in common."""

    kind: bytes
    bits: int  # of a sample, 8, 10 or 12
    is_grey: bool


def parse_heif(data: bytes, intake: Intake) -> ParsedFile:
    """Parse an AVIF or HEIC. Raises InvalidImage."""
    items, sizes = read_items(data, intake), BitstreamSizes(intake)
    primary = items.primary
    tiles, alpha = items.tiles(primary), find_alpha(items, primary)
    coded, size = _examine(items, primary, tiles, sizes)
    written = _collect(items, primary, tiles)
    if alpha is not None:
        alpha_coded, alpha_size = _examine(items, alpha.item, alpha.tiles, sizes)
        if alpha_size != size or alpha_coded.kind != coded.kind:
            raise intake.damage_error("its sizes contradict each other")
        written += _collect(items, alpha.item, alpha.tiles, offset=len(written), alpha_of=0)
    left, top, cropped = _crop(primary, size, intake)
    is_premultiplied = alpha is not None and alpha.is_premultiplied
    colours = [body for item in (primary, *tiles[:1]) for body in item.properties_of(b"colr")]
    profile = next((body[4:] for body in colours if body[:4] in (b"prof", b"rICC")), None)
    if profile is not None and len(profile) > intake.limits.max_profile_bytes:
        raise intake.damage_error(
            sentence(
                "it contains an oversized colour profile (over {most} bytes)", most=intake.limits.max_profile_bytes
            )
        )
    brand = b"avif" if coded.kind == AV1 else b"heic"
    return ParsedFile(
        size=cropped,
        decode=partial(_decode, write_heif(brand, written), coded, size, (left, top), cropped, is_premultiplied),
        profile_space="GRAY" if coded.is_grey else "RGB ",
        icc_profile=profile,
        orientation=_orientation(primary),
        warnings=_warnings(items, coded, colours, is_premultiplied=is_premultiplied, has_profile=profile is not None),
        metadata=_metadata(items),
    )


def _metadata(items: Items) -> ImageMetadata:
    """Return what the first items of Exif and XMP say that describe the image (ISO/IEC 23008-12, annex A.2 and A.3).

    Damaged ones, and those in several pieces, which could repeat the file many times, are left out.
    """
    described_by = items.referring(b"cdsc", items.primary)

    def first(kind: bytes) -> bytes:
        item = next((item for item in described_by if item.kind == kind), None)
        return b"" if item is None or len(item.extents) != 1 else items.body(item)

    exif = first(b"Exif")
    return ImageMetadata(tags=read_tags(exif[4 + int.from_bytes(exif[:4]) :]), rights=read_rights(first(b"mime")))


def _examine(items: Items, item: Item, tiles: list[Item], sizes: BitstreamSizes) -> tuple[_Coded, Size]:
    """Return how an image is coded, and its size; that of all its coded images is checked against their own
    bitstreams."""
    intake = items.intake
    items.check_bodies([item, *tiles])
    coded = [_examine_coded(items, tile, sizes) for tile in tiles or [item]]
    if any(item_coded != coded[0] for item_coded in coded):
        raise intake.damage_error("its parts contradict each other")
    kind, size = coded[0]
    if not tiles:
        return kind, size
    body = items.body(item)
    layout = ">BBBBII" if body[1:2] == b"\1" else ">BBBBHH"
    try:
        _, _, last_row, last_column, width, height = struct.unpack_from(layout, body)
    except struct.error as error:
        raise intake.damage_error("its items are corrupt") from error
    whole = _check_size(width, height, kind, intake)
    if (last_row + 1) * (last_column + 1) != len(tiles) or not (
        last_column * size.width < width <= (last_column + 1) * size.width
        and last_row * size.height < height <= (last_row + 1) * size.height
    ):
        raise intake.damage_error("its sizes contradict each other")
    return kind, whole


def _examine_coded(items: Items, item: Item, sizes: BitstreamSizes) -> tuple[_Coded, Size]:
    intake = items.intake
    if item.kind not in CONFIGURATIONS:
        raise intake.refusal(
            "type_unsupported",
            "The {noun} file holds an image of the kind {kind!r}, which is not read; export it as TIFF, PNG or JPEG.",
            kind=item.kind.decode("latin-1"),
        )
    configurations, extents = item.properties_of(CONFIGURATIONS[item.kind]), item.properties_of(b"ispe")
    if len(configurations) != 1 or len(extents) != 1 or len(extents[0]) != 12:
        raise intake.damage_error("its items are corrupt")
    unknown = next((prop for prop in item.properties if prop.is_essential and prop.kind not in KNOWN_PROPERTIES), None)
    if unknown is not None:
        raise intake.refusal(
            "type_unsupported",
            "The {noun} file needs the feature {kind!r}, which is not read; export it as TIFF, PNG or JPEG.",
            kind=unknown.kind.decode("latin-1"),
        )
    coded = _read_coded(item.kind, configurations[0], intake)
    width, height = struct.unpack_from(">II", extents[0], 4)
    size = _check_size(width, height, coded, intake)
    read_sizes = sizes.av1 if item.kind == AV1 else sizes.hevc
    for own_width, own_height in read_sizes(configurations[0], items.body(item)):
        if not (0 <= own_width - width <= MAX_PADDING and 0 <= own_height - height <= MAX_PADDING):
            raise intake.damage_error("its sizes contradict each other")
    return coded, size


def _read_coded(kind: bytes, configuration: bytes, intake: Intake) -> _Coded:
    if len(configuration) < (4 if kind == AV1 else 23):
        raise intake.damage_error("its items are corrupt")
    if kind == AV1:  # https://aomediacodec.github.io/av1-isobmff/#av1codecconfigurationbox
        flags = configuration[2]
        bits = 12 if flags & 0x20 else 10 if flags & 0x40 else 8
        is_grey = bool(flags & 0x10)
    else:  # ISO/IEC 14496-15, section 8.3.3.1.2: chroma_format_idc and bit_depth_luma_minus8
        bits, is_grey = 8 + (configuration[17] & 7), not configuration[16] & 3
    if bits not in (8, 10, 12):
        raise intake.refusal(
            "type_unsupported", "The {noun} has {bits} bits a channel; export it as TIFF, PNG or JPEG.", bits=bits
        )
    return _Coded(kind, bits, is_grey)


def _check_size(width: int, height: int, coded: _Coded, intake: Intake) -> Size:
    if coded.bits == 8:
        return intake.check_size(width, height)
    max_pixels = intake.limits.max_pixels_16_bit
    return intake.check_size(
        width, height, max_pixels=max_pixels, kind=sentence(" with {bits} bits a channel", bits=coded.bits)
    )


def _collect(
    items: Items, item: Item, tiles: list[Item], *, offset: int = 0, alpha_of: int | None = None
) -> list[WrittenItem]:
    """Return the image and, if it is a grid, its tiles; `offset` is the place of the image in the list of written
    items."""
    places = tuple(range(offset + 1, offset + 1 + len(tiles)))
    first = WrittenItem(item.kind, items.body(item), _kept_properties(item), places, alpha_of)
    return [first, *(WrittenItem(tile.kind, items.body(tile), _kept_properties(tile)) for tile in tiles)]


def _kept_properties(item: Item) -> tuple[Property, ...]:
    return tuple(
        prop
        for prop in item.properties
        if prop.kind in KEPT_PROPERTIES or (prop.kind == b"colr" and prop.body[:4] == b"nclx" and len(prop.body) <= 16)
    )


def _crop(item: Item, size: Size, intake: Intake) -> tuple[int, int, Size]:
    """Return left, top and size of the clean aperture (ISO/IEC 14496-12, section 12.1.4); everything without one."""
    apertures = item.properties_of(b"clap")
    if not apertures:
        return 0, 0, size
    try:
        numbers = struct.unpack(">IIIIiIiI", apertures[0])
        width, height, across, down = (Fraction(*numbers[at : at + 2]) for at in (0, 2, 4, 6))
    except (struct.error, ZeroDivisionError) as error:
        raise intake.damage_error("its crop is corrupt") from error
    left, top = across + (size.width - width) / 2, down + (size.height - height) / 2
    if any(fraction.denominator != 1 or fraction < 0 for fraction in (width, height, left, top)):
        raise intake.damage_error("its crop is corrupt")
    if left + width > size.width or top + height > size.height:
        raise intake.damage_error("its sizes contradict each other")
    return int(left), int(top), intake.check_size(int(width), int(height))


def _orientation(item: Item) -> int:
    """Return rotation and mirroring, in the order of the file, as an EXIF orientation.

    irot: quarter turns anticlockwise (ISO/IEC 23008-12, section 6.5.10); imir: axis 0 exchanges top and bottom, 1 left
    and right (section 6.5.12).
    """
    marked = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    turned = marked
    for prop in item.properties:
        value = prop.body[0] if prop.body else 0
        if prop.kind == b"irot":
            turned = np.rot90(turned, value & 3)
        elif prop.kind == b"imir":
            turned = turned[:, ::-1] if value & 1 else turned[::-1]
    return next(number for number in range(1, 9) if np.array_equal(apply_orientation(marked, number), turned))


def _warnings(
    items: Items, coded: _Coded, colours: list[bytes], *, is_premultiplied: bool, has_profile: bool
) -> tuple[str, ...]:
    noun, found = items.intake.noun, []
    if items.has_movie:
        found.append(sentence("The {noun} is animated; its first frame is used.", noun=noun))
    if coded.bits > 8:
        found.append(sentence("The {noun} has {bits} bits a channel; it is kept with 16.", noun=noun, bits=coded.bits))
    gain_maps = any(auxiliary_kind(item).startswith(GAIN_MAPS) for item in items.referring(b"auxl", items.primary))
    if gain_maps or any(item.kind == TONE_MAPPED for item in items.by_number.values()):
        found.append(sentence("The {noun} has a gain map for HDR screens; it is left out.", noun=noun))
    if is_premultiplied:
        found.append(
            sentence(
                "The {noun}'s colours are multiplied with its transparency; they are kept divided by it.", noun=noun
            )
        )
    code_points = next((body for body in colours if body[:4] == b"nclx" and len(body) >= 10), None)
    if code_points is not None and not has_profile:
        primaries, transfer = struct.unpack_from(">HH", code_points, 4)
        if transfer in HDR_TRANSFERS:
            found.append(
                sentence(
                    "The {noun} is an HDR image ({transfer}); its values are kept as if sRGB.",
                    noun=noun,
                    transfer=HDR_TRANSFERS[transfer],
                )
            )
        elif primaries not in SRGB_PRIMARIES:
            found.append(
                sentence(
                    "The {noun} has other primary colours than sRGB and no profile; its values are kept as sRGB.",
                    noun=noun,
                )
            )
    return tuple(found)


def _decode(
    data: bytes, coded: _Coded, size: Size, corner: tuple[int, int], cropped: Size, is_premultiplied: bool
) -> Pixels:
    if coded.kind == HEVC:
        pixels = decode_with_libheif(data)
    elif coded.bits == 8:  # OpenCV takes twice the memory
        image = decode_with_pillow(data, "AVIF")
        if coded.is_grey:  # in three equal channels
            image = image.convert("LA" if image.mode == "RGBA" else "L")
        pixels = np.asarray(image).reshape(image.height, image.width, -1)
    else:
        pixels = decode_with_opencv(data)
    if pixels.shape[:2] != (size.height, size.width) or pixels.dtype != (np.uint8 if coded.bits == 8 else np.uint16):
        raise DecodingFailed(sentence("its sizes contradict each other"))
    left, top = corner
    part = pixels[top : top + cropped.height, left : left + cropped.width]
    pixels = cast(Pixels, np.ascontiguousarray(part))
    if is_premultiplied and not pixels.flags.writeable:  # Pillow's own memory
        pixels = pixels.copy()
    if coded.bits > 8:
        full = 2**coded.bits - 1
        for row in range(0, len(pixels), BAND_ROWS):
            band = pixels[row : row + BAND_ROWS]
            band[:] = (np.minimum(band, full).astype(np.uint32) * 65_535 + full // 2) // full
    if is_premultiplied:
        divide_by_alpha(pixels)
    return pixels
