"""Hostile and damaged files: refused with the right code and a clear message, or decoded and harmless."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpainting.core.codecs import IntakeLimits, decode_image, encode_png
from inpainting.core.errors import InvalidImage
from tests.core import heifs, hostile, tiffs
from tests.support.strategies import examples

HEAD = b"\x89PNG\r\n\x1a\n"
TEXT = hostile.chunk(b"tEXt", b"comment\0" + hostile.SCRIPT)


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def with_riff_length(data: bytes, length: int) -> bytes:
    return data[:4] + struct.pack("<I", length) + data[8:]


REFUSED: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "no bytes": (lambda: b"", "empty", "is empty"),
    "one byte": (lambda: b"\x89", "type_unsupported", "is of an unknown format"),
    "HTML": (lambda: b"<!DOCTYPE html><html></html>", "type_unsupported", "is an HTML page"),
    "text": (lambda: "just some wörds".encode(), "type_unsupported", "is a text file"),
    "SVG with onload": (
        lambda: b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "type_unsupported",
        "is an SVG file; send PNG, JPEG, WebP, GIF, TIFF, BMP, AVIF or HEIC.",
    ),
    "SVG behind an XML head": (lambda: b'<?xml version="1.0"?>\n<svg/>', "type_unsupported", "is an SVG file"),
    "PDF": (lambda: b"%PDF-1.7\n", "type_unsupported", "a PDF file; export it as TIFF, PNG or JPEG."),
    "EPS": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", "type_unsupported", "is a PostScript file"),
    "PSD": (lambda: b"8BPS\0\1" + bytes(40), "type_unsupported", "a Photoshop file; export it as TIFF, PNG or JPEG."),
    "JPEG 2000": (
        lambda: hostile.saved(hostile.rgb(), "JPEG2000"),
        "type_unsupported",
        "is a JPEG 2000 file; export it",
    ),
    "CR3": (lambda: b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "type_unsupported", "is a camera's raw file; export it"),
    "RAF": (lambda: b"FUJIFILMCCD-RAW 0201" + bytes(80), "type_unsupported", "is a camera's raw file; export it"),
    "ORF": (lambda: b"IIRO\x08\0\0\0" + bytes(80), "type_unsupported", "is a camera's raw file; export it"),
    "RW2": (lambda: b"IIU\0\x18\0\0\0" + bytes(80), "type_unsupported", "is a camera's raw file; export it"),
    "video": (lambda: b"\0\0\0\x18ftypisom\0\0\2\0isommp42", "type_unsupported", "is a video file; send PNG"),
    "text that begins with BM": (lambda: b"BMW makes cars.", "type_unsupported", "is a text file"),
    "TIFF header only": (lambda: b"II*\0", "damaged", "ends early"),
    "BMP header only": (lambda: b"BM" + bytes(12) + b"\x28\0\0\0", "damaged", "ends early"),
    "HEIC header only": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "damaged", "ends early"),
    "AVIF header only": (lambda: b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "damaged", "ends early"),
    "ZIP": (hostile.zipped, "type_unsupported", "is a ZIP archive"),
    "RIFF that is sound": (lambda: b"RIFF\x24\0\0\0WAVEfmt ", "type_unsupported", "is of an unknown format"),
    "33 MiB": (
        lambda: hostile.tiny_png() + bytes(33 * 2**20),
        "too_large",
        "at most 33554432 are allowed",
    ),
    "50000x50000 of 1 bit": (
        lambda: hostile.claims(50_000, 50_000, 1, hostile.GREY),
        "dimensions",
        "is 50000x50000; at most 8192 a side and 40 megapixels are allowed.",
    ),
    "sides of 2^31-1": (lambda: hostile.claims(2**31 - 1, 2**31 - 1), "dimensions", "2147483647x2147483647"),
    "100000x16": (lambda: hostile.claims(100_000, 16), "dimensions", "100000x16"),
    "67 megapixels": (lambda: hostile.claims(8192, 8192), "dimensions", "8192x8192"),
    "21 megapixels of 16 bits": (
        lambda: hostile.claims(5000, 4200, 16),
        "dimensions",
        "is 5000x4200 with 16 bits a channel; at most 8192 a side and 20 megapixels are allowed.",
    ),
    "21 megapixels of CMYK": (
        lambda: hostile.sized_jpeg(hostile.cmyk_jpeg(), 5000, 4200),
        "dimensions",
        "is 5000x4200 in CMYK; at most 8192 a side and 20 megapixels are allowed.",
    ),
    "JPEG of 65500x65500": (lambda: hostile.jpeg_claiming(65_500, 65_500), "dimensions", "65500x65500"),
    "WebP canvas of 16384x16384": (
        lambda: hostile.webp_with(b"XMP ", b"").replace(b"\x27\0\0\x1d\0\0", b"\xff\x3f\0\xff\x3f\0", 1),
        "dimensions",
        "16384x16384",
    ),
    "GIF of 65535x65535": (lambda: hostile.gif()[:6] + b"\xff" * 4 + hostile.gif()[10:], "dimensions", "65535x65535"),
    "GIF frame of 65535x65535": (
        lambda: b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + b"," + b"\xff" * 8 + b"\0\2\2\x44\1\0;",
        "dimensions",
        "65535x65535",
    ),
    "0 wide": (lambda: hostile.claims(0, 16), "too_small", "is 0x16; at least 1x1 is needed."),
    "JPEG 0 high": (lambda: hostile.jpeg_claiming(16, 0), "too_small", "16x0"),
    "3,010 scans": (lambda: hostile.with_scans(3010), "too_complex", "has more than 64 scans"),
    "65 scans": (lambda: hostile.with_scans(65), "too_complex", "has more than 64 scans"),
    "5,000 JPEG comments": (
        lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 5000 + hostile.jpeg()[2:],
        "too_complex",
        "has more than 4096 segments",
    ),
    "100,000 text chunks": (
        lambda: hostile.tiny_png(hostile.chunk(b"tEXt", b"a\0b") * 100_000),
        "too_complex",
        "has more than 4096 chunks",
    ),
    "100,000 empty IDAT chunks": (
        lambda: hostile.tiny_png(hostile.chunk(b"IDAT", b"") * 100_000),
        "too_complex",
        "has more than 4096 chunks",
    ),
    "GIF of a million blocks": (
        lambda: hostile.gif_with_many_blocks(1_000_000),
        "too_complex",
        "has more than 262144 blocks",
    ),
    "WebP of 5,000 chunks": (
        lambda: with_riff_length(hostile.webp() + b"XMP \0\0\0\0" * 5000, len(hostile.webp()) + 40_000 - 8),
        "too_complex",
        "has more than 4096 chunks",
    ),
    "200 MB zTXt": (
        lambda: hostile.tiny_png(hostile.text_bomb(b"zTXt", 200_000_000)),
        "damaged",
        "contains an oversized text block",
    ),
    "200 MB iTXt": (
        lambda: hostile.tiny_png(hostile.text_bomb(b"iTXt", 200_000_000)),
        "damaged",
        "contains an oversized text block",
    ),
    "200 MB iCCP": (
        lambda: hostile.tiny_png(hostile.profile_chunk(bytes(200_000_000))),
        "damaged",
        "contains an oversized colour profile",
    ),
    "80 texts of 1 MiB": (
        lambda: hostile.tiny_png(hostile.text_bomb(b"zTXt", 2**20) * 80),
        "damaged",
        "contains an oversized text block",
    ),
    "half a PNG": (lambda: half(hostile.saved(hostile.rgb(), "PNG")), "damaged", "ends early"),
    "half a JPEG": (lambda: half(hostile.jpeg()), "damaged", "ends early"),
    "half a progressive JPEG": (lambda: half(hostile.jpeg(progressive=True)), "damaged", "ends early"),
    "half a WebP": (lambda: half(hostile.webp()), "damaged", "ends early"),
    "half a GIF": (lambda: half(hostile.gif()), "damaged", "ends early"),
    "a WebP a byte short": (lambda: hostile.webp()[:-2], "damaged", "ends early"),
    "WebP that claims to be longer": (
        lambda: with_riff_length(hostile.webp(), len(hostile.webp()) + 100),
        "damaged",
        "ends early",
    ),
    "WebP that claims to be shorter": (
        lambda: with_riff_length(hostile.webp(), len(hostile.webp()) - 50),
        "damaged",
        "ends early",
    ),
    "WebP whose chunk outgrows the file": (
        lambda: hostile.webp()[:16] + b"\xff\xff\xff\x7f" + hostile.webp()[20:],
        "damaged",
        "ends early",
    ),
    "PNG signature only": (lambda: HEAD, "damaged", "ends early"),
    "PNG header only": (lambda: HEAD + hostile.header(8, 8), "damaged", "ends early"),
    "PNG without image data": (lambda: HEAD + hostile.header(8, 8) + hostile.chunk(b"IEND", b""), "damaged", ""),
    "PNG with too little image data": (lambda: hostile.png_with(hostile.header(64, 64), bytes(2000)), "damaged", ""),
    "JPEG signature only": (lambda: b"\xff\xd8\xff", "damaged", "ends early"),
    "JPEG without image data": (lambda: b"\xff\xd8\xff\xe0\0\2\xff\xd9", "damaged", "no image data"),
    "GIF signature only": (lambda: b"GIF89a", "damaged", "ends early"),
    "GIF without image data": (lambda: b"GIF89a" + bytes(7) + b";", "damaged", "no image data"),
    "WebP signature only": (lambda: b"RIFF\4\0\0\0WEBP", "damaged", "no image data"),
    "bad CRC": (
        lambda: hostile.tiny_png().replace(hostile.header(8, 6), hostile.header(8, 6)[:-1] + b"\0"),
        "damaged",
        "a checksum in it is wrong",
    ),
    "a flipped bit in IDAT": (hostile.flipped_idat_bit, "damaged", "a checksum in it is wrong"),
    "PNG with a filter that does not exist": (
        lambda: hostile.png_with(hostile.header(8, 8), b"\x09" * 200),
        "damaged",
        "corrupt",
    ),
    "PNG with 3 bits a pixel": (lambda: hostile.claims(8, 8, 3), "damaged", "header is corrupt"),
    "PNG with a palette missing": (lambda: hostile.claims(8, 8, 8, hostile.PALETTE), "damaged", ""),
    "PNG with an unknown critical part": (lambda: hostile.tiny_png(hostile.chunk(b"CgBI", b"")), "damaged", ""),
    "JPEG that lies about its size": (
        lambda: hostile.jpeg_claiming(6000, 6000),
        "damaged",
        "far too little image data for its size",
    ),
    "lossless JPEG": (lambda: hostile.jpeg().replace(b"\xff\xc0", b"\xff\xc3", 1), "type_unsupported", "lossless"),
    "JPEG with 12 bits": (
        lambda: hostile.jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"),
        "type_unsupported",
        "12 bits",
    ),
    "two JPEG headers": (
        lambda: hostile.with_segment(hostile.jpeg(), 0xC0, b"\x08\0\x1e\0\x28\1\1\x11\0"),
        "damaged",
        "header is corrupt",
    ),
    "WebP whose sizes disagree": (
        lambda: hostile.webp_with(b"XMP ", b"").replace(b"\x27\0\0\x1d\0\0", b"\x28\0\0\x1d\0\0", 1),
        "damaged",
        "contradict",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses(name: str) -> None:
    build, code, words = REFUSED[name]
    with pytest.raises(InvalidImage) as refusal:
        decode_image(build())
    assert refusal.value.code == f"image_{code}"
    assert refusal.value.field == "image"
    assert words in refusal.value.message
    assert refusal.value.message.startswith("The image ")


@pytest.mark.parametrize("name", ["no bytes", "ZIP", "50000x50000 of 1 bit", "3,010 scans", "half a PNG"])
def test_a_refused_mask_is_called_a_mask(name: str) -> None:
    build, code, _ = REFUSED[name]
    with pytest.raises(InvalidImage) as refusal:
        decode_image(build(), field="mask")
    assert refusal.value.code == f"mask_{code}"
    assert refusal.value.field == "mask"
    assert refusal.value.message.startswith("The mask ")


def test_a_refusal_carries_the_limit_and_the_actual_value() -> None:
    with pytest.raises(InvalidImage) as size:
        decode_image(hostile.claims(50_000, 50_000))
    assert (size.value.limit, size.value.actual) == ("8192 a side and 40 megapixels", "50000x50000")
    with pytest.raises(InvalidImage) as weight:
        decode_image(hostile.tiny_png(), limits=IntakeLimits(max_bytes=100))
    assert (weight.value.limit, weight.value.actual) == (100, len(hostile.tiny_png()))


def test_samples_of_all_scans_are_limited_together() -> None:
    # Pillow's ten scans: two of three colours, eight of one; the repeated last is of one.
    limits = replace(IntakeLimits(), max_jpeg_scan_samples=40 * 30 * (2 * 3 + 8 + 10))
    assert decode_image(hostile.with_scans(20), limits=limits).format == "JPEG"
    with pytest.raises(InvalidImage, match="has 21 or more scans at 40x30") as refusal:
        decode_image(hostile.with_scans(21), limits=limits)
    assert refusal.value.code == "image_too_complex"


def test_sixty_four_scans_are_accepted() -> None:
    assert decode_image(hostile.with_scans(64)).image.mode == "RGB"


def test_a_file_at_the_byte_limit_is_accepted() -> None:
    data = hostile.tiny_png()
    assert decode_image(data, limits=IntakeLimits(max_bytes=len(data))).format == "PNG"


def test_a_bomb_of_image_data_takes_little_memory() -> None:
    bomb = hostile.png_with(hostile.header(64, 64), bytes(200_000_000))
    tracemalloc.start()
    decoded = decode_image(bomb)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(decoded.image.size) == "64x64"
    assert most < 2_000_000


ACCEPTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "APNG": (hostile.animated_png, "is animated; its first frame is used"),
    "animated WebP": (hostile.animated_webp, "is animated; its first frame is used"),
    "animated GIF": (hostile.animated_gif, "is animated; its first frame is used"),
    "phone photo of several images": (hostile.multi_image_jpeg, "holds several images; the first is used"),
    "PNG and ZIP": (lambda: hostile.saved(hostile.rgb(), "PNG") + hostile.zipped(), ""),
    "JPEG and HTML": (lambda: hostile.jpeg() + hostile.SCRIPT, ""),
    "script in a comment": (lambda: hostile.with_segment(hostile.jpeg(), 0xFE, hostile.SCRIPT), ""),
    "script in a text": (lambda: hostile.saved(hostile.rgb(), "PNG") + hostile.SCRIPT, ""),
    "GPS in JPEG": (lambda: hostile.jpeg_with_exif(hostile.exif(1, gps=True)), ""),
    "GPS in WebP": (lambda: hostile.webp_with(b"EXIF", hostile.exif(1, gps=True)), ""),
    "GPS in PNG": (
        lambda: hostile.png_of(
            hostile.photo(), 8, hostile.COLOUR, hostile.chunk(b"eXIf", hostile.exif(1, gps=True)) + TEXT
        ),
        "",
    ),
    "orientation 0": (lambda: hostile.jpeg_with_exif(hostile.exif(0)), ""),
    "orientation 9": (lambda: hostile.jpeg_with_exif(hostile.exif(9)), ""),
    "orientation 255": (lambda: hostile.jpeg_with_exif(hostile.exif(255)), ""),
    "EXIF that is garbage": (lambda: hostile.jpeg_with_exif(b"\xde\xad\xbe\xef" * 9), ""),
    "EXIF that points outside": (lambda: hostile.jpeg_with_exif(b"II*\0\xff\xff\xff\x7f"), ""),
    "EXIF of 65,535 entries": (lambda: hostile.jpeg_with_exif(b"II*\0\x08\0\0\0\xff\xff"), ""),
    "broken profile in PNG": (
        lambda: hostile.png_of(hostile.photo(), 8, hostile.COLOUR, hostile.chunk(b"iCCP", b"p\0\0not zlib")),
        "colour profile is damaged",
    ),
    "broken profile in JPEG": (
        lambda: hostile.with_segment(hostile.jpeg(), 0xE2, b"ICC_PROFILE\0\1\1" + b"x" * 200),
        "colour profile is damaged or does not fit",
    ),
    "half a profile": (
        lambda: hostile.saved(hostile.rgb(), "PNG", icc_profile=half(hostile.srgb_profile())),
        "colour profile is damaged or does not fit",
    ),
    "LAB profile on RGB": (
        lambda: hostile.saved(hostile.rgb(), "PNG", icc_profile=hostile.lab_profile()),
        "colour profile is damaged or does not fit",
    ),
    "grey profile on RGB": (
        lambda: hostile.saved(hostile.rgb(), "PNG", icc_profile=hostile.grey_profile()),
        "colour profile is damaged or does not fit",
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_decodes_and_drops_what_is_dangerous(name: str) -> None:
    build, warning = ACCEPTED[name]
    decoded = decode_image(build())
    palette = decoded.format == "GIF"
    difference = np.abs(decoded.image.pixels[:, :, :3].astype(int) - hostile.photo())
    assert difference.mean() < (10 if palette else 2)
    assert decoded.image.icc_profile is None
    assert any(warning in text for text in decoded.warnings) if warning else decoded.warnings == ()
    stored = encode_png(decoded.image)
    for secret in (hostile.GPS, hostile.SCRIPT, b"PK\x03\x04", b"Exif", b"eXIf"):
        assert secret not in stored


SMALL = {
    "PNG": hostile.tiny_png(hostile.chunk(b"tEXt", b"a\0b") + hostile.profile_chunk(hostile.srgb_profile())),
    "PNG 16": hostile.png_of(hostile.photo(8, 6).astype(np.uint16) * 257, 16, hostile.COLOUR),
    "PNG palette": hostile.saved(hostile.rgb().resize((8, 6)).quantize(8), "PNG", transparency=1),
    "JPEG": hostile.jpeg_with_exif(hostile.exif(6)),
    "JPEG with a profile": hostile.saved(hostile.rgb().resize((8, 6)), "JPEG", icc_profile=hostile.grey_profile()),
    "JPEG with a long profile": hostile.saved(hostile.rgb().resize((8, 6)), "JPEG", icc_profile=hostile.srgb_profile()),
    "JPEG progressive": hostile.jpeg(progressive=True),
    "JPEG CMYK": hostile.cmyk_jpeg(hostile.cmyk_profile()),
    "WebP": hostile.webp_with(b"EXIF", hostile.exif(3)),
    "WebP lossy with alpha": hostile.saved(hostile.rgb().convert("RGBA").rotate(30), "WEBP", quality=60),
    "WebP animated": hostile.animated_webp(),
    "GIF": hostile.gif(),
    "GIF animated": hostile.animated_gif(),
    "TIFF": tiffs.photo_tiff({34675: (7, hostile.srgb_profile())}),
    "TIFF in LZW": tiffs.compressed_tiff(hostile.photo(), tiffs.LZW, rows=7, predictor=True),
    "TIFF in tiles": tiffs.compressed_tiff(hostile.photo(), tiffs.DEFLATE, tile=(16, 16), order=">"),
    "TIFF of JPEGs": hostile.saved(hostile.rgb(), "TIFF", compression="jpeg"),
    "TIFF CMYK": hostile.saved(hostile.rgb().convert("CMYK"), "TIFF", compression="packbits"),
    "BigTIFF": tiffs.photo_tiff(big=True),
    "BMP": hostile.saved(hostile.rgb(), "BMP"),
    "BMP palette": hostile.saved(hostile.rgb().quantize(16), "BMP"),
    "AVIF": heifs.avif(np.dstack([hostile.photo(), hostile.photo()[:, :, 0]])),
    "HEIC": heifs.heic(np.dstack([hostile.photo(), hostile.photo()[:, :, 0]])),
    "HEIC of tiles": heifs.heic(hostile.photo(130, 70), tile_size=64),
}


def with_valid_checksums(data: bytes) -> bytes:
    """A PNG with its checksums recomputed, so that the damage reaches the decoder."""
    position, parts = 8, [data[:8]]
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if position + 12 + length > len(data):
            break
        end = position + 8 + length
        parts.append(data[position:end] + struct.pack(">I", zlib.crc32(data[position + 4 : end])))
        position = end + 4
    return b"".join(parts) + data[position:]


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=examples(100), deadline=None)
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=6))
def test_a_broken_file_is_refused_or_decoded(name: str, cut: float, flips: list[tuple[float, int]]) -> None:
    data = bytearray(SMALL[name])
    for where, bits in flips:
        data[round(where * (len(data) - 1))] ^= bits
    broken = bytes(data[: round(cut * len(data))] if cut > 0.3 else data)
    for candidate in (broken, with_valid_checksums(broken)) if name.startswith("PNG") else (broken,):
        try:
            decoded = decode_image(candidate)
        except InvalidImage:
            continue
        assert decoded.image.mode in ("L", "LA", "RGB", "RGBA")


@settings(max_examples=examples(200), deadline=None)
@given(
    start=st.sampled_from(
        [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x40\0\0\0WEBP", b"II*\0", b"MM\0+", b"BM", b""]
    ),
    rest=st.binary(max_size=200),
)
def test_noise_behind_a_good_signature_is_refused(start: bytes, rest: bytes) -> None:
    with pytest.raises(InvalidImage):
        decode_image(start + rest)
