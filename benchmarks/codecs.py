"""Decoding and encoding: time and size beside Pillow's defaults, and the cost of the worst accepted files.

    python -m benchmarks.codecs            prints two markdown tables; about two minutes on 2 cores
    python -m benchmarks.codecs speed      the first alone

The first table: one photograph with mild noise at three sizes, the best of three runs, everything in this process.
The second: files at the limits of `IntakeLimits`, each decoded in a process of its own; seconds of processor time
and the most memory that process held. The limits are chosen for at most 3 s and 700 MB.
"""

from __future__ import annotations

import io
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
import skimage.data
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from inpainting.core.codecs import decode_image, encode_png
from inpainting.core.errors import InvalidImage
from inpainting.core.image import CanonicalImage

SIZES = (512, 1024, 2048)
WIDTH, HEIGHT = 8192, 4882  # just under 40 megapixels
HALF_HEIGHT = 2441  # just under 20: the most with 16 bits, or in CMYK
BYTES = 32 * 2**20
ALLOWED_SECONDS, ALLOWED_MB = 3, 700


def of_all_colours(scan: bytes) -> bool:
    return scan[4] > 1


def of_one_colour(scan: bytes) -> bool:
    return scan[4] == 1


def main(part: str) -> None:
    if part != "worst":
        speed()
    if part != "speed":
        worst()


# The first table


def speed() -> None:
    print("| what | size | ours | Pillow | ratio | ours kB | Pillow kB |\n|---|---|---|---|---|---|---|")
    for side in SIZES:
        for name, ours, theirs in contests(side):
            our_seconds, our_bytes = best(ours)
            their_seconds, their_bytes = best(theirs)
            print(
                f"| {name} | {side} | {our_seconds * 1e3:.1f} ms | {their_seconds * 1e3:.1f} ms "
                f"| {their_seconds / our_seconds:.1f}x | {our_bytes} | {their_bytes} |",
                flush=True,
            )
    print()


def contests(side: int) -> Iterator[tuple[str, Callable[[], Any], Callable[[], Any]]]:
    pixels = noisy_photo(side)
    image, canonical = Image.fromarray(pixels), CanonicalImage(pixels)
    yield "encode PNG RGB", lambda: encode_png(canonical), lambda: saved(image, "PNG")
    clear = np.dstack([pixels, pixels[:, :, 1]])
    yield (
        "encode PNG RGBA",
        lambda: encode_png(CanonicalImage(clear)),
        lambda: saved(Image.fromarray(clear), "PNG"),
    )
    grey = pixels[:, :, :1].astype(np.uint16) * 257
    yield (
        "encode PNG L, 16 bits",
        lambda: encode_png(CanonicalImage(grey)),
        lambda: saved(Image.fromarray(grey[:, :, 0]), "PNG"),
    )
    for name, data in (
        ("decode PNG RGB", encode_png(canonical)),
        ("decode PNG RGB by Pillow", saved(image, "PNG")),
        ("decode JPEG", saved(image, "JPEG", quality=90)),
        ("decode WebP", saved(image, "WEBP", quality=90, method=0)),
    ):
        yield name, partial(decode_image, data), partial(decoded_by_pillow, data)


def best(run: Callable[[], Any], times: int = 3) -> tuple[float, str]:
    """Seconds of the fastest run, and kB where it gives bytes."""
    seconds, result = float("inf"), None
    for _ in range(times):
        start = time.perf_counter()
        result = run()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds, str(len(result) // 1024) if isinstance(result, bytes) else ""


def noisy_photo(side: int) -> NDArray[np.uint8]:
    scaled = cv2.resize(skimage.data.astronaut(), (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noise = np.random.default_rng(0).integers(-3, 4, scaled.shape, dtype=np.int16)
    noisy: NDArray[np.int16] = scaled + noise
    return noisy.clip(0, 255).astype(np.uint8)


def decoded_by_pillow(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


# The second table


def worst() -> None:
    print("| file | MB | outcome | seconds | MB of memory | kept |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in giants():
            path = Path(folder, "giant")
            path.write_bytes(data)
            child = subprocess.run(
                [sys.executable, "-m", "benchmarks.codecs", "--decode", path],
                capture_output=True,
                text=True,
                check=True,
            )
            outcome, seconds, megabytes = child.stdout.strip().split("|")
            kept = float(seconds) <= ALLOWED_SECONDS and float(megabytes) <= ALLOWED_MB
            weight = len(data) / 2**20
            print(
                f"| {name} | {weight:.1f} | {outcome} | {seconds} | {megabytes} | {'yes' if kept else 'NO'} |",
                flush=True,
            )


def decode(path: str) -> None:
    """In the child process: decode, and print what it cost."""
    data = Path(path).read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        image = decode_image(data).image
        outcome = f"{image.size} {image.mode} {image.bits} bits"
    except InvalidImage as refusal:
        outcome = refusal.message
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Not ru_maxrss: Linux lets a child inherit its parent's.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    print(f"{outcome}|{seconds:.2f}|{int(peak[1]) // 1024}")


def giants() -> Iterator[tuple[str, bytes]]:
    """The slowest and the largest files that are still accepted."""
    flat = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    yield "PNG RGBA, flat", encode_png(CanonicalImage(flat))
    yield "PNG RGBA, interlaced", interlaced(WIDTH, HEIGHT)
    yield "PNG RGBA 16 bits, flat", encode_png(CanonicalImage(flat[:HALF_HEIGHT].astype(np.uint16)))
    yield "PNG RGB 16 bits, one transparent colour", keyed_16_bit()
    yield "PNG palette with transparency, rotated by EXIF", palette_png()
    soft = smooth()
    yield "PNG RGB, 32 MiB of a noisy photograph", cropped_to_limit(soft)
    image = Image.fromarray(soft)
    yield "JPEG baseline 4:4:4", saved(image, "JPEG", quality=90, subsampling=0)
    progressive = saved(image, "JPEG", quality=60, subsampling=0, progressive=True)
    yield "JPEG progressive", progressive
    for kind, picks in (("all colours", of_all_colours), ("one colour", of_one_colour)):
        yield f"JPEG progressive, scans of {kind} repeated up to the limit", rescanned(progressive, picks, 25)
    yield "JPEG progressive, one scan more", rescanned(progressive, of_one_colour, 26)
    small = saved(Image.fromarray(soft[:1831]), "JPEG", quality=60, subsampling=0, progressive=True)
    yield "JPEG progressive, 60 scans, 15 megapixels", rescanned(small, of_one_colour, 64)
    rough = Image.fromarray(roughened(soft))
    yield "JPEG progressive, noise", saved(rough, "JPEG", quality=85, subsampling=0, progressive=True)
    rough_ink = rough.crop((0, 0, WIDTH, HALF_HEIGHT)).convert("CMYK")
    rich = saved(rough_ink, "JPEG", quality=92, progressive=True)
    yield "JPEG CMYK progressive, noise, profile", with_profile(rich, cmyk_profile())
    ink = saved(image.crop((0, 0, WIDTH, HALF_HEIGHT)).convert("CMYK"), "JPEG", quality=60, progressive=True)
    for kind, picks in (("all colours", of_all_colours), ("one colour", of_one_colour)):
        painted = rescanned(with_profile(ink, cmyk_profile()), picks, 50)
        yield f"JPEG CMYK progressive, profile, scans of {kind} repeated up to the limit", painted
    yield "JPEG progressive, rotated by EXIF", with_orientation(progressive)
    yield "GIF, noise", saved(Image.fromarray(noise_rows()), "GIF")
    yield "GIF, flat, transparent", saved(Image.new("P", (WIDTH, HEIGHT)), "GIF", transparency=0)
    clear = Image.fromarray(np.dstack([soft, soft[:, :, 0] & 0x80]))
    yield "WebP lossy with alpha", saved(clear, "WEBP", quality=30, method=0)
    yield (
        "WebP lossless RGBA",
        saved(Image.fromarray(np.asarray(clear) & 0xF0), "WEBP", lossless=True, quality=0, method=0),
    )
    yield from tiffs(soft)
    lengths = b"\xff\0" * (WIDTH // 255) + bytes([WIDTH % 255, 0]) + b"\0\0"
    yield "BMP of run lengths, flat", indexed_bmp(lengths * HEIGHT + b"\0\1")
    yield "AVIF 4:4:4, noise", saved(rough, "AVIF", quality=70, subsampling="4:4:4", speed=10)
    yield "AVIF with alpha", saved(clear, "AVIF", quality=70, speed=10)
    for name, tile_side in (("HEIC", 0), ("HEIC of tiles", 512)):
        file = io.BytesIO()
        encoded = pillow_heif.from_bytes("RGB", (WIDTH, HEIGHT), soft.tobytes())
        encoded.save(file, quality=50, chroma=420, tile_size=tile_side, enc_params={"preset": "ultrafast"})
        yield name, file.getvalue()


def tiffs(soft: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    flat = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    for name in ("tiff_lzw", "packbits", "tiff_adobe_deflate"):
        data = saved(Image.fromarray(flat), "TIFF", compression=name, strip_size=8 * BYTES)
        yield f"TIFF RGBA, flat, {name}, one strip", data
    deep = np.zeros((HALF_HEIGHT, WIDTH, 4), np.uint16)
    alpha: dict[str, Any] = {"photometric": "rgb", "extrasamples": ["assocalpha"], "compression": "deflate"}
    yield "TIFF RGBA, multiplied with alpha", tiff(flat, **alpha)
    yield (
        "TIFF RGBA 16 bits, multiplied, predictor, tiles of 16 pixels",
        tiff(deep, **alpha, predictor=True, tile=(16, 16), byteorder=">"),
    )
    yield "TIFF RGBA 16 bits, multiplied, planes", tiff(deep.transpose(2, 0, 1), **alpha, planarconfig="separate")
    ink = Image.fromarray(soft[:HALF_HEIGHT]).convert("CMYK")
    yield (
        "TIFF CMYK, profile, LZW",
        saved(
            ink.resize((WIDTH // 8, HALF_HEIGHT // 8)).resize(ink.size, Image.Resampling.NEAREST),
            "TIFF",
            compression="tiff_lzw",
            icc_profile=cmyk_profile(),
        ),
    )
    yield (
        "TIFF in JPEGs of 64 pixels",
        saved(Image.fromarray(soft), "TIFF", compression="jpeg", quality=60, tile=True, tiffinfo={322: 64, 323: 64}),
    )


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def indexed_bmp(body: bytes) -> bytes:
    """A BMP of run lengths (BI_RLE8) with a grey palette."""
    palette = bytes(value for level in range(256) for value in (level, level, level, 0))
    start = 54 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(body), 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + info + palette + body


def smooth() -> NDArray[np.uint8]:
    across, down = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    base = (np.sin(across / 97) + np.cos(down / 83)) * 60 + 128
    base += np.random.default_rng(0).normal(0, 3, base.shape).astype(np.float32)
    colours: NDArray[np.float32] = np.stack([base, base * 0.8 + 20, 255 - base], axis=2)
    return colours.clip(0, 255).astype(np.uint8)


def roughened(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Noise that a JPEG cannot leave out, a hundred rows at a time to stay small."""
    generator, rough = np.random.default_rng(1), pixels.copy()
    for top in range(0, len(rough), 100):
        band = rough[top : top + 100]
        band += generator.integers(0, 48, band.shape, dtype=np.uint8)
    return rough


def noise_rows() -> NDArray[np.uint8]:
    """As many rows of noise as a GIF of 32 MiB holds, the rest flat."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[:2600] = np.random.default_rng(0).integers(0, 256, (2600, WIDTH), dtype=np.uint8)
    return pixels


def cropped_to_limit(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG at the limit of bytes: rows of photograph until it is full, then flat ones."""
    rows = pixels.copy()
    share = BYTES / len(encode_png(CanonicalImage(pixels)))
    rows[int(HEIGHT * share * 0.97) :] = 0
    return encode_png(CanonicalImage(rows))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour_type: int, interlace: int, extra: bytes, raw_bytes: int) -> bytes:
    """A PNG of zeros."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace)
    body = zlib.compress(bytes(raw_bytes), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def interlaced(width: int, height: int) -> bytes:
    return png(width, height, 8, 6, 1, b"", width * height * 4 + 2 * height + 100)


def keyed_16_bit() -> bytes:
    return png(WIDTH, HALF_HEIGHT, 16, 2, 0, chunk(b"tRNS", bytes(6)), HALF_HEIGHT * (WIDTH * 6 + 1))


def palette_png() -> bytes:
    exif = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    extra = chunk(b"PLTE", bytes(range(256)) * 3) + chunk(b"tRNS", bytes(range(256))) + chunk(b"eXIf", exif)
    return png(WIDTH, HEIGHT, 8, 3, 0, extra, HEIGHT * (WIDTH + 1))


def rescanned(data: bytes, pick: Callable[[bytes], bool], colours: int) -> bytes:
    """A progressive JPEG whose largest scan of a kind is repeated until all scans together have so many components."""
    ends = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
    scans = []
    for found in re.finditer(rb"\xff\xda\0", data):
        after = ends.search(data, found.start() + 2)
        assert after is not None
        scans.append((found.start(), data[found.start() : after.start()]))
    start, chosen = max((scan for scan in scans if pick(scan[1])), key=lambda scan: len(scan[1]))
    room = (BYTES - len(data)) // len(chosen)
    missing = (colours - sum(scan[4] for _, scan in scans)) // chosen[4]
    return data[:start] + chosen * min(room, missing) + data[start:]


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_orientation(data: bytes) -> bytes:
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    return data[:2] + segment(0xE1, exif) + data[2:]


def with_profile(data: bytes, profile: bytes) -> bytes:
    return data[:2] + segment(0xE2, b"ICC_PROFILE\0\1\1" + profile) + data[2:]


def cmyk_profile() -> bytes:
    """A CMYK profile of one table, ICC.1:2022 section 10.11: as slow to apply as any."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    grid = 9
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    points = np.random.default_rng(0).integers(0, 256, grid**4 * 3, dtype=np.uint8).tobytes()
    ramp = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, grid, 0]) + identity + ramp * 4 + points + ramp * 3
    table += bytes(-len(table) % 4)
    directory = struct.pack(">I", 2) + b"wtpt" + struct.pack(">II", 156, 20)
    directory += b"A2B0" + struct.pack(">II", 176, len(table))
    header = struct.pack(">I", 176 + len(table)) + bytes(4) + lab[8:12] + b"prtrCMYKLab " + lab[24:128]
    return header + directory + white + table


if __name__ == "__main__":
    if sys.argv[1:2] == ["--decode"]:
        decode(sys.argv[2])
    else:
        main(sys.argv[1] if sys.argv[1:] else "all")
