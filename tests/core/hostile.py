"""Image files for the codec tests, built in code: valid, unusual and hostile ones."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GPS = b"N52E013"
SCRIPT = b"<script>alert(1)</script>"
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}


def photo(width: int = 40, height: int = 30) -> NDArray[np.uint8]:
    """A smooth RGB image with four different corners, so that every rotation and flip shows."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([40 + 200 * across, 20 + 180 * down, 220 - 150 * across * down], axis=2).astype(np.uint8)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def rgb() -> Image.Image:
    return Image.fromarray(photo())


# PNG, by hand


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int, height: int, depth: int = 8, colour_type: int = COLOUR, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace))


def png_of(samples: NDArray, depth: int, colour_type: int, extra: bytes = b"") -> bytes:
    """A PNG of [height, width, channels] samples of 8 or 16 bits, or [height, width, 1] of fewer bits."""
    height, width = samples.shape[:2]
    if depth == 16:
        rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    elif depth == 8:
        rows = samples.astype(np.uint8).reshape(height, -1)
    else:
        bits = np.unpackbits(samples.astype(np.uint8).reshape(height, width, 1), axis=2)[:, :, 8 - depth :]
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    return png_with(header(width, height, depth, colour_type) + extra, filtered.tobytes())


def png_with(head: bytes, raw: bytes = b"", tail: bytes = b"") -> bytes:
    return SIGNATURE + head + chunk(b"IDAT", zlib.compress(raw)) + tail + chunk(b"IEND", b"")


def tiny_png(extra: bytes = b"") -> bytes:
    return png_of(photo(8, 6), 8, COLOUR, extra)


def claims(width: int, height: int, depth: int = 8, colour_type: int = COLOUR) -> bytes:
    """A PNG whose header claims this size, with next to no image data."""
    return png_with(header(width, height, depth, colour_type), b"\0" * 64)


def text_bomb(kind: bytes, size: int) -> bytes:
    body = zlib.compress(b"\0" * size, 9)
    return chunk(kind, b"key\0" + (b"\0" if kind == b"zTXt" else b"\1\0\0\0") + body)


def profile_chunk(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"p\0\0" + zlib.compress(profile, 9))


def animated_png() -> bytes:
    return saved(rgb(), "PNG", save_all=True, append_images=[Image.new("RGB", (40, 30), "red")], duration=50)


def flipped_idat_bit() -> bytes:
    data = bytearray(saved(rgb(), "PNG"))
    data[data.index(b"IDAT") + 40] ^= 4
    return bytes(data)


# JPEG, by hand


def jpeg(**options: object) -> bytes:
    return saved(rgb(), "JPEG", quality=95, subsampling=0, **options)


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment behind its first marker."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def with_scans(count: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    scans = len(re.findall(rb"\xff\xda", data))
    return data[:-2] + data[last:-2] * (count - scans) + b"\xff\xd9"


def jpeg_claiming(width: int, height: int) -> bytes:
    return sized_jpeg(jpeg(), width, height)


def sized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """The same JPEG with another size in its header."""
    changed = bytearray(data)
    frame = re.search(rb"\xff[\xc0-\xc2]\x00[\x0b\x11\x14]\x08", data)
    assert frame is not None
    struct.pack_into(">HH", changed, frame.end(), height, width)
    return bytes(changed)


def exif(orientation: int | None = None, *, order: str = "<", gps: bool = False) -> bytes:
    """A TIFF header and directory; `gps` adds a text that must not survive."""
    entries = [] if orientation is None else [struct.pack(order + "HHIHH", 0x112, 3, 1, orientation, 0)]
    if gps:
        entries.append(struct.pack(order + "HHI", 0x8825, 2, len(GPS)) + b"\0\0\0\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries) + b"\0" * 4 + (GPS if gps else b"")


def jpeg_with_exif(body: bytes) -> bytes:
    return with_segment(jpeg(), 0xE1, b"Exif\0\0" + body)


def multi_image_jpeg() -> bytes:
    return saved(rgb(), "MPO", save_all=True, append_images=[Image.new("RGB", (40, 30), "red")], quality=95)


def cmyk_jpeg(profile: bytes | None = None) -> bytes:
    ink = np.zeros((30, 40, 4), np.uint8)
    ink[:, :, 0], ink[:, :, 3] = 200, 40
    return saved(Image.fromarray(ink, "CMYK"), "JPEG", quality=100, icc_profile=profile)


# WebP and GIF


def webp(**options: object) -> bytes:
    return saved(rgb(), "WEBP", lossless=True, **options)


def webp_with(kind: bytes, body: bytes) -> bytes:
    """A WebP in the extended layout with one more chunk behind its image."""
    parts = b"VP8X" + struct.pack("<I", 10) + b"\x2c\0\0\0" + (39).to_bytes(3, "little") + (29).to_bytes(3, "little")
    parts += webp()[12:] + kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WEBP" + parts


def animated_webp() -> bytes:
    return saved(rgb(), "WEBP", save_all=True, append_images=[Image.new("RGB", (40, 30), "red")], lossless=True)


def gif() -> bytes:
    return saved(rgb().quantize(64), "GIF")


def animated_gif() -> bytes:
    return saved(rgb().quantize(64), "GIF", save_all=True, append_images=[Image.new("P", (40, 30))], duration=50)


def gif_with_many_blocks(count: int) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + b"!\xfe" + b"\1x" * count + b"\0;"


# Colour profiles


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def lab_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def swapped_profile() -> bytes:
    """An RGB profile that swaps red and blue, so that a conversion by it shows."""
    profile = srgb_profile()
    return profile.replace(b"rXYZ", b"tXYZ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tXYZ", b"bXYZ", 1)


def grey_profile() -> bytes:
    """Grey, gamma 1 (ICC.1:2022: a header, a white point, a curve)."""
    curve = b"curv" + bytes(8)
    return _profile(b"mntr", b"GRAY", b"XYZ ", [(b"wtpt", _D50_TAG), (b"kTRC", curve)])


def cmyk_profile() -> bytes:
    """Every mix of inks is one colour, Lab (53, 80, 67): a red that no formula would give (lut8Type, section 10.11)."""
    red = bytes([round(53 * 2.55), 80 + 128, 67 + 128])
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + red * 16 + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", [(b"wtpt", _D50_TAG), (b"A2B0", table)])


_D50 = struct.pack(">3i", 63190, 65536, 54061)
_D50_TAG = b"XYZ " + bytes(4) + _D50


def _profile(device: bytes, space: bytes, connection: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    directory, bodies, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, body in tags:
        padded = body + bytes(-len(body) % 4)
        directory += name + struct.pack(">II", offset + len(bodies), len(body))
        bodies += padded
    size = 128 + len(directory) + len(bodies)
    head = struct.pack(">I4xI", size, 0x02400000) + device + space + connection + bytes(12) + b"acsp" + bytes(28) + _D50
    return head.ljust(128, b"\0") + directory + bodies


# Other kinds of files


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return file.getvalue()
