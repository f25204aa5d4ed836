"""TIFF files that lie about what they hold, each with the code of its refusal."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from tests.core import hostile, tiffs
from tests.core.tiffs import photo_tiff, tiff

RAW_DATA = hostile.photo().tobytes()


def chunk_count_bomb() -> bytes:
    """A file of 300,000 strips that all lie at the same place."""
    tags = {**tiffs.image_tags(), 273: (4, [16] * 300_000), 279: (4, [1] * 300_000), 278: (4, 1)}
    return tiff(tags, RAW_DATA)


def small_jpegs(side: int, count: int, *, tables: bytes = b"", scans: int = 1) -> bytes:
    """A square of `count` times `count` tiles in grey, each with this many scans."""
    chunk = hostile.saved(Image.new("L", (side, side), 90), "JPEG")
    last = chunk.rindex(b"\xff\xda")
    chunk = chunk[:-2] + chunk[last:-2] * (scans - 1) + chunk[-2:]
    return tiffs.jpeg_tiff((side * count, side * count), [chunk] * count**2, side=side, tables=tables)


COMMENTS = b"\xff\xd8" + b"\xff\xfe\0\2" * 2000 + b"\xff\xd9"
"""JPEGTables of 8 KB, all of which would have to be read for every tile."""
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "60000x60000": (lambda: photo_tiff({256: (4, 60_000), 257: (4, 60_000)}), "dimensions"),
    "sides of 2^32-1": (lambda: photo_tiff({256: (4, 2**32 - 1), 257: (4, 2**32 - 1)}), "dimensions"),
    "21 megapixels of 16 bits": (
        lambda: photo_tiff({256: (4, 5000), 257: (4, 4200), 258: (3, [16] * 3)}),
        "dimensions",
    ),
    "21 megapixels of CMYK": (
        lambda: photo_tiff({256: (4, 5000), 257: (4, 4200), 258: (3, [8] * 4), 277: (3, 4), 262: (3, 5)}),
        "dimensions",
    ),
    "0 wide": (lambda: photo_tiff({256: (4, 0)}), "too_small"),
    "no width": (lambda: tiffs.without(256), "too_small"),
    "no strips": (lambda: tiffs.without(273), "damaged"),
    "300,000 strips": (chunk_count_bomb, "too_complex"),
    "JPEG in 30,000 tiles": (
        lambda: tiff({**tiffs.image_tags(), 259: (3, 7), 322: (4, 1), 323: (4, 1), 324: (4, [16] * 30_000)}, RAW_DATA),
        "too_complex",
    ),
    "JPEG in 16,384 small tiles with long tables": (lambda: small_jpegs(16, 128, tables=COMMENTS), "too_complex"),
    "JPEG tables that are longer": (lambda: small_jpegs(16, 2, tables=COMMENTS[:-2] * 2), "damaged"),
    "JPEG tables that are corrupt": (lambda: small_jpegs(16, 2, tables=b"\xff\xd8\xff\xdb\xff\xff"), "damaged"),
    "JPEG tiles of 3 scans of one channel": (lambda: small_jpegs(16, 30, scans=3), "damaged"),
    "JPEG tiles of 70 scans": (lambda: small_jpegs(16, 30, scans=70), "too_complex"),
    "JPEG tiles of too many channels": (
        lambda: tiffs.jpeg_tiff((40, 30), [hostile.jpeg()], tags={322: (3, 40), 323: (3, 30)}),
        "damaged",
    ),
    "JPEG tiles of CMYK in RGB": (
        lambda: tiffs.jpeg_tiff(
            (40, 30),
            [hostile.cmyk_jpeg()],
            tags={322: (3, 40), 323: (3, 30), 262: (3, 2), 277: (3, 3), 258: (3, [8] * 3)},
        ),
        "damaged",
    ),
    "too few strips": (lambda: photo_tiff({278: (4, 10)}), "damaged"),
    "strips that overlap": (
        lambda: photo_tiff({273: (4, [16] * 30), 279: (4, [3600] * 30), 278: (4, 1)}),
        "damaged",
    ),
    "a strip beyond the end": (lambda: photo_tiff({273: (4, 10**6)}), "damaged"),
    "a strip that ends beyond the end": (lambda: photo_tiff({279: (4, 10**6)}), "damaged"),
    "a strip at 2^63": (lambda: photo_tiff({273: (16, 2**63)}, big=True), "damaged"),
    "a strip of 2^64-1 bytes": (lambda: photo_tiff({279: (16, 2**64 - 1)}, big=True), "damaged"),
    "too few bytes": (lambda: photo_tiff({279: (4, 100)}), "damaged"),
    "a tile of 0 pixels": (lambda: photo_tiff({322: (4, 0), 323: (4, 16), 324: (4, 16), 325: (4, 16)}), "damaged"),
    "a tile of 2^31 pixels": (
        lambda: photo_tiff({322: (4, 2**31), 323: (4, 2**31), 324: (4, 16), 325: (4, 16)}),
        "damaged",
    ),
    "a tile that is mostly padding": (
        lambda: photo_tiff({322: (4, 8000), 323: (4, 8000), 324: (4, 16), 325: (4, 3600)}),
        "damaged",
    ),
    "strips of one row that are JPEGs of 30": (
        lambda: (
            lambda body: tiff(
                {**tiffs.image_tags(), 259: (3, 7), 278: (4, 1)}
                | {273: (4, [16 + len(body) * row for row in range(30)]), 279: (4, [len(body)] * 30)},
                body * 30,
            )
        )(hostile.jpeg()),
        "damaged",
    ),
    "strips of 0 rows": (lambda: photo_tiff({278: (4, 0)}), "damaged"),
    "a palette of 3 colours": (
        lambda: photo_tiff({262: (3, 3), 277: (3, 1), 258: (3, 8), 320: (3, [1, 2, 3])}),
        "damaged",
    ),
    "a width that is a text": (lambda: photo_tiff({256: (2, b"forty")}), "damaged"),
    "a directory beyond the end": (lambda: b"II*\0\xff\xff\xff\x7f" + bytes(100), "damaged"),
    "a directory of 65,535 entries": (lambda: b"MM\0*\0\0\0\x08\xff\xff" + bytes(100), "too_complex"),
    "a big directory at 2^64-1": (lambda: b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(100), "damaged"),
    "a profile of 5 MiB": (lambda: photo_tiff({34675: (7, bytes(5 * 2**20))}), "damaged"),
    "corrupt LZW": (lambda: photo_tiff({259: (3, 5)}), "damaged"),
    "corrupt Deflate": (lambda: photo_tiff({259: (3, 8)}), "damaged"),
    "corrupt JPEG": (lambda: photo_tiff({259: (3, 7)}), "damaged"),
    "JPEG of another size": (
        lambda: (lambda body: tiff({**tiffs.image_tags(50, 30), 259: (3, 7), 279: (4, len(body))}, body))(
            hostile.jpeg()
        ),
        "damaged",
    ),
}
