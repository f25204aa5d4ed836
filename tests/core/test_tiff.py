"""TIFF: pixels, depth, alpha, profile and orientation of what other programs write, and a sentence for the rest."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from inpainting.core.codecs import decode_image
from inpainting.core.codecs.intake import DEFAULT_LIMITS, Intake, IntakeLimits
from inpainting.core.codecs.metadata.exif import apply_orientation
from inpainting.core.codecs.tiff.jpeg import shared_segments
from inpainting.core.errors import InvalidImage
from tests.core import hostile, tiffs
from tests.core.hostile_tiffs import HOSTILE, RAW_DATA
from tests.core.tiffs import by_tifffile, compressed_tiff, photo_tiff, tiff

Samples = NDArray[np.uint8] | NDArray[np.uint16]
RGB: NDArray[np.uint8] = data.astronaut()[100:231, 150:301]
"""151 x 131: odd sides, so that the last strips and tiles are not whole."""
RGB_16 = RGB.astype(np.uint16) * 257 + np.random.default_rng(5).integers(0, 256, RGB.shape).astype(np.uint16)
SOURCES: dict[str, Samples] = {
    "RGB 8": RGB,
    "RGB 16": RGB_16,
    "grey 8": RGB[:, :, :1],
    "grey 16": RGB_16[:, :, :1],
    "RGBA 8": np.dstack([RGB, RGB[:, :, 0]]),
    "RGBA 16": np.dstack([RGB_16, RGB_16[:, :, 0]]),
}
LAYOUTS: dict[str, dict[str, object]] = {
    "one strip": {},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (48, 64)},
    "planes": {"planarconfig": "separate"},
    "planes in strips": {"planarconfig": "separate", "rowsperstrip": 7},
    "planes in tiles": {"planarconfig": "separate", "tile": (48, 64)},
}


def decoded(file: bytes) -> Samples:
    found = decode_image(file)
    assert (found.format, found.warnings) == ("TIFF", ())
    return found.image.pixels


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", [None, "adobe_deflate", "deflate"])
def test_what_tifffile_writes_is_read_exactly(name: str, layout: str, compression: str | None) -> None:
    source = SOURCES[name]
    options = {**LAYOUTS[layout], "photometric": "rgb" if source.shape[2] > 2 else "minisblack"}
    if source.shape[2] == 1:
        options.pop("planarconfig", None)
    if "planarconfig" in options:
        source = cast(Samples, np.ascontiguousarray(source.transpose(2, 0, 1)))
    if source.shape[-1] == 4 or (source.shape[0] == 4):
        options["extrasamples"] = ["unassalpha"]
    for order in "<>":
        for big in (False, True):
            for predictor in (False, True) if compression else (False,):
                file = by_tifffile(
                    source if source.shape[-1] > 1 else source[:, :, 0],
                    byteorder=order,
                    bigtiff=big,
                    compression=compression,
                    predictor=predictor or None,
                    **options,
                )
                assert np.array_equal(decoded(file), SOURCES[name]), (order, big, predictor)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("compression", [tiffs.LZW, tiffs.PACKBITS])
@pytest.mark.parametrize("layout", [{}, {"rows": 7}, {"tile": (48, 64)}])
@pytest.mark.parametrize("order", ["<", ">"])
def test_lzw_and_packbits_are_read_exactly(name: str, compression: int, layout: dict[str, int], order: str) -> None:
    for predictor in (False, True) if compression == tiffs.LZW else (False,):
        file = compressed_tiff(SOURCES[name], compression, order=order, predictor=predictor, **layout)  # type: ignore[arg-type]
        assert np.array_equal(decoded(file), SOURCES[name])


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
def test_what_opencv_writes_is_read_exactly(name: str, compression: int) -> None:
    source = SOURCES[name]
    swapped = source if source.shape[2] == 1 else source[:, :, [2, 1, 0, 3][: source.shape[2]]]
    options = [cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 23]
    _, file = cv2.imencode(".tif", np.ascontiguousarray(swapped), options)
    assert np.array_equal(decoded(file.tobytes()), source)


@pytest.mark.parametrize("batch_bytes", [1, 5000, 50_000])
def test_more_than_one_batch_of_strips_is_read_exactly(batch_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.core.codecs.tiff.storage.BATCH_BYTES", batch_bytes)
    file = compressed_tiff(RGB, tiffs.LZW, rows=4)
    assert np.array_equal(decoded(file), RGB)


@pytest.mark.parametrize("batch_bytes", [1, 30_000, 2**23])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_further_channels_are_left_out_of_every_layout(
    batch_bytes: int, layout: str, compression: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inpainting.core.codecs.tiff.storage.BATCH_BYTES", batch_bytes)
    source = np.dstack([RGB_16, RGB_16[:, :, 1], RGB_16[:, :, 0], RGB_16[:, :, 2]])
    options: dict[str, object] = {**LAYOUTS[layout], "extrasamples": ["unspecified", "unassalpha", "unspecified"]}
    stored = np.ascontiguousarray(source.transpose(2, 0, 1)) if "planarconfig" in options else source
    file = by_tifffile(stored, photometric="rgb", byteorder=">", compression=compression, **options)
    assert np.array_equal(decode_image(file).image.pixels, source[:, :, [0, 1, 2, 4]])


@pytest.mark.parametrize("layout", ["tiles", "strips"])
def test_little_is_held_beside_the_result(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpainting.core.codecs.tiff.storage.BATCH_BYTES", 2**18)
    source = np.ones((1000, 1000, 8), np.uint16)
    extra = ["unassalpha", *["unspecified"] * 4]
    file = by_tifffile(source, photometric="rgb", byteorder=">", extrasamples=extra, **LAYOUTS[layout])
    tracemalloc.start()
    found = decode_image(file)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.image.mode == "RGBA"
    assert most < 1.3 * found.image.pixels.nbytes


def test_many_deep_channels_may_have_fewer_pixels() -> None:
    source = np.ones((10, 12, 8), np.uint16)
    file = by_tifffile(source, photometric="rgb", extrasamples=["unspecified"] * 5)
    assert decode_image(file, limits=IntakeLimits(max_pixels=240)).image.mode == "RGB"
    with pytest.raises(InvalidImage, match="is 12x10 with 8 channels of 16 bits; at most") as refusal:
        decode_image(file, limits=IntakeLimits(max_pixels=239))
    assert refusal.value.code == "image_dimensions"


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("tiled", [False, True])
def test_jpeg_compression_is_read_nearly(mode: str, tiled: bool) -> None:
    image = Image.fromarray(RGB).convert(mode)
    options = {"tile": True, "tiffinfo": {322: 64, 323: 64}} if tiled else {"tiffinfo": {278: 16}}
    file = hostile.saved(image, "TIFF", compression="jpeg", quality=95, **options)
    expected = np.asarray(image).reshape(131, 151, -1)
    assert np.abs(decoded(file).astype(int) - expected).mean() < 2


@pytest.mark.parametrize("planes", [False, True])
def test_jpeg_tiles_that_share_their_tables_are_read_nearly(planes: bool) -> None:
    source = data.astronaut()[:128, :192]
    parts = np.moveaxis(source, 2, 0) if planes else [source]
    tiles = [
        Image.fromarray(part[top : top + 64, left : left + 64])
        for part in parts
        for top in (0, 64)
        for left in (0, 64, 128)
    ]
    chunks = [hostile.saved(tile, "JPEG", streamtype=2) for tile in tiles]
    tables = hostile.saved(tiles[0], "JPEG", streamtype=1)
    tags: dict[int, tuple[int, tiffs.Value]] = {284: (3, 2), 262: (3, 2)} if planes else {262: (3, 6)}
    file = tiffs.jpeg_tiff((192, 128), chunks, side=64, tags={**tags, 277: (3, 3), 258: (3, [8] * 3)}, tables=tables)
    assert np.abs(decoded(file).astype(int) - source).mean() < 3


def test_only_tables_of_jpeg_tables_reach_the_decoder() -> None:
    tables = hostile.saved(hostile.rgb(), "JPEG", streamtype=1)
    with_more = hostile.with_segment(tables, 0xDD, b"\0\1")
    with_more = hostile.with_segment(hostile.with_segment(with_more, 0xE0, b"JFIF\0"), 0xFE, hostile.SCRIPT)
    found = shared_segments(with_more, 1, Intake("image", DEFAULT_LIMITS), is_ycbcr=False)
    assert found == tables[2:-2]


def test_few_bits_of_grey_and_a_palette_are_read() -> None:
    one_bit = Image.fromarray(RGB).convert("1")
    for compression in ("raw", "tiff_lzw"):
        found = decode_image(hostile.saved(one_bit, "TIFF", compression=compression))
        assert np.array_equal(found.image.pixels[:, :, 0], np.asarray(one_bit) * np.uint8(255))
        assert found.warnings == ("The image has 1 bit a pixel; it is kept with 8.",)
    packed = np.array([[0x0F, 0x80], [0x12, 0x30]], np.uint8)
    four_bits = tiff({**tiffs.image_tags(3, 2, samples=1, bits=4)}, packed.tobytes())
    assert decode_image(four_bits).image.pixels[:, :, 0].tolist() == [[0, 255, 136], [17, 34, 51]]
    palette = Image.fromarray(RGB).quantize(100)
    found = decode_image(hostile.saved(palette, "TIFF", compression="tiff_lzw"))
    assert np.array_equal(found.image.pixels, np.asarray(palette.convert("RGB")))
    assert found.warnings == ("The image has a palette; it is kept in true colour.",)


@pytest.mark.parametrize("source", [RGB[:, :, 0], RGB_16[:, :, 0]])
def test_white_is_zero_is_inverted(source: Samples) -> None:
    file = by_tifffile(source, photometric="miniswhite")
    assert np.array_equal(decoded(file)[:, :, 0], np.iinfo(source.dtype).max - source)


@pytest.mark.parametrize("depth", [8, 16])
def test_premultiplied_colours_are_divided_by_alpha(depth: int) -> None:
    source = (RGB if depth == 8 else RGB_16).astype(np.int64)
    full = 2**depth - 1
    alpha = np.maximum(source[:, :, :1], full // 4)
    multiplied = np.concatenate([(source * alpha + full // 2) // full, alpha], axis=2)
    found = decode_image(
        by_tifffile(multiplied.astype(f"u{depth // 8}"), photometric="rgb", extrasamples=["assocalpha"])
    )
    assert np.abs(found.image.pixels[:, :, :3].astype(int) - source).max() <= 2
    assert np.array_equal(found.image.pixels[:, :, 3], alpha[:, :, 0])
    assert found.warnings == ("The image's colours are multiplied with its transparency; they are kept divided by it.",)


def test_channels_that_are_no_alpha_are_left_out() -> None:
    samples = np.dstack([RGB, RGB[:, :, 2], RGB[:, :, 0]])
    found = decode_image(by_tifffile(samples, photometric="rgb", extrasamples=["unspecified", "unassalpha"]))
    assert np.array_equal(found.image.pixels, samples[:, :, [0, 1, 2, 4]])
    assert found.warnings == ("The image has further channels that are no transparency; they are left out.",)


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_cmyk_keeps_its_alpha(kind: str) -> None:
    inks = np.asarray(Image.fromarray(RGB).convert("CMYK"))
    alpha = np.maximum(RGB[:, :, 1:2], 128)
    stored = (inks.astype(int) * alpha + 127) // 255 if kind == "assocalpha" else inks
    file = by_tifffile(np.dstack([stored, alpha]).astype(np.uint8), photometric="separated", extrasamples=[kind])
    found = decode_image(file)
    assert np.array_equal(found.image.pixels[:, :, 3:], alpha)
    assert (
        np.abs(
            found.image.pixels[:, :, :3].astype(int) - np.asarray(Image.fromarray(inks, "CMYK").convert("RGB"))
        ).max()
        <= 4
    )
    assert ("colours are multiplied" in " ".join(found.warnings)) == (kind == "assocalpha")


@pytest.mark.parametrize("kind", [1, 2])
def test_a_palette_keeps_its_alpha(kind: int) -> None:
    palette = Image.fromarray(RGB).quantize(100)
    table = np.zeros((256, 3), int)
    table[:100] = np.array(palette.getpalette()).reshape(-1, 3)[:100]
    alpha = np.maximum(RGB[:, :, 1], 128)
    samples = np.dstack([np.asarray(palette), alpha])
    tags = {
        **tiffs.image_tags(151, 131, samples=2),
        262: (3, 3),
        338: (3, kind),
        320: (3, (table * 257).T.ravel().tolist()),
    }
    found = decode_image(tiff(tags, samples.tobytes()))
    colours = table[np.asarray(palette)]
    expected = colours if kind == 2 else np.minimum(np.rint(colours * 255 / alpha[:, :, np.newaxis]), 255)
    assert np.array_equal(found.image.pixels, np.dstack([expected, alpha]))
    assert ("colours are multiplied" in " ".join(found.warnings)) == (kind == 1)


@pytest.mark.parametrize("profile", [None, hostile.cmyk_profile()])
def test_cmyk_becomes_srgb(profile: bytes | None) -> None:
    image = Image.fromarray(RGB).convert("CMYK")
    found = decode_image(hostile.saved(image, "TIFF", compression="tiff_lzw", icc_profile=profile))
    assert (found.image.mode, found.image.icc_profile) == ("RGB", None)
    assert ("by its colour profile" if profile else "colours are approximate") in found.warnings[0]
    if profile is None:
        assert np.array_equal(found.image.pixels, np.asarray(image.convert("RGB")))


def test_sixteen_bits_of_cmyk_are_read_as_eight() -> None:
    inks = np.asarray(Image.fromarray(RGB).convert("CMYK"))
    file = by_tifffile(inks.astype(np.uint16) * 257, photometric="separated")
    expected = np.asarray(Image.fromarray(RGB).convert("CMYK").convert("RGB"))
    assert np.array_equal(decode_image(file).image.pixels, expected)


@pytest.mark.parametrize("name", ["RGB 16", "grey 8"])
def test_a_profile_is_kept(name: str) -> None:
    profile = hostile.srgb_profile() if name == "RGB 16" else hostile.grey_profile()
    source = SOURCES[name]
    options = {"photometric": "rgb"} if source.shape[2] == 3 else {"photometric": "minisblack"}
    found = decode_image(by_tifffile(source.squeeze(), iccprofile=profile, **options))
    assert (found.image.icc_profile, found.warnings) == (profile, ())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(orientation: int) -> None:
    file = photo_tiff({274: (3, orientation)})
    assert np.array_equal(decoded(file), apply_orientation(hostile.photo(), orientation))


def test_the_first_of_several_pages_is_read() -> None:
    found = decode_image(by_tifffile(np.stack([RGB, 255 - RGB]), photometric="rgb"))
    assert np.array_equal(found.image.pixels, RGB)
    assert found.warnings == ("The image file holds several pages; the first is used.",)


def test_a_directory_that_names_itself_as_the_next_is_read_once() -> None:
    file = bytearray(photo_tiff())
    place = int.from_bytes(file[4:8], "little")
    end = place + 2 + 12 * len(tiffs.image_tags())
    file[end : end + 4] = place.to_bytes(4, "little")
    assert decode_image(bytes(file)).warnings == ("The image file holds several pages; the first is used.",)


RAW: dict[str, Callable[[], bytes]] = {
    "DNG": lambda: photo_tiff({50706: (1, b"\1\4\0\0")}),
    "CR2": lambda: b"II*\0\x10\0\0\0CR\2\0" + bytes(40),
    "NEF and ARW": lambda: raw_with_sub_directory(),
    "PEF": lambda: photo_tiff({262: (3, 32803)}),
}


def raw_with_sub_directory() -> bytes:
    """A small preview as the first page, and the sensor's data in a directory below it, which lies at byte 16."""
    sensor = (1).to_bytes(2, "little") + bytes.fromhex("0601 0300 01000000 2380 0000".replace(" ", "")) + bytes(4)
    tags = {**tiffs.image_tags(), 330: (4, 16), 273: (4, 16 + len(sensor))}
    return tiff(tags, sensor + RAW_DATA)


@pytest.mark.parametrize("name", RAW)
def test_raw_files_are_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(InvalidImage) as refusal:
        decode_image(RAW[name]())
    assert refusal.value.code == "image_type_unsupported"
    assert refusal.value.message == "The image file is a camera's raw file; export it as TIFF, PNG or JPEG."


UNREADABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "floating point": (lambda: by_tifffile(RGB.astype(np.float32), photometric="rgb"), "floating-point numbers"),
    "signed": (lambda: by_tifffile(RGB[:, :, 0].astype(np.int16), photometric="minisblack"), "signed samples"),
    "32 bits": (lambda: by_tifffile(RGB.astype(np.uint32), photometric="rgb"), "32 bits a channel"),
    "L*a*b*": (lambda: hostile.saved(Image.fromarray(RGB).convert("LAB"), "TIFF"), "L*a*b* colours"),
    "YCbCr": (lambda: hostile.saved(Image.fromarray(RGB).convert("YCbCr"), "TIFF"), "YCbCr colours without JPEG"),
    "fax": (lambda: hostile.saved(Image.fromarray(RGB).convert("1"), "TIFF", compression="group4"), "CCITT fax"),
    "Zstandard": (lambda: hostile.saved(Image.fromarray(RGB), "TIFF", compression="zstd"), "Zstandard compression"),
    "old JPEG": (lambda: photo_tiff({259: (3, 6)}), "old-style JPEG compression"),
    "unknown compression": (lambda: photo_tiff({259: (3, 999)}), "kind 999 of compression"),
    "mixed depths": (lambda: photo_tiff({258: (3, [5, 6, 5])}), "5/6 bits a channel"),
    "reversed bits": (lambda: photo_tiff({266: (3, 2)}), "bits in reversed order"),
    "predictor 3": (lambda: photo_tiff({259: (3, 8), 317: (3, 3)}), "a predictor that is not read"),
    "progressive JPEGs": (
        lambda: tiffs.jpeg_tiff(
            (40, 30),
            [hostile.jpeg(progressive=True)],
            tags={277: (3, 3), 258: (3, [8] * 3), 262: (3, 6), 322: (3, 40), 323: (3, 30)},
        ),
        "with progressive JPEG compression",
    ),
    "9 channels": (lambda: photo_tiff({277: (3, 9), 258: (3, [8] * 9)}), "9 channels"),
    "a strip of 320 MB in LZW": (
        lambda: photo_tiff(
            {256: (3, 5000), 257: (3, 4000), 259: (3, 5), 277: (3, 8), 258: (3, [16] * 8), 278: (3, 4000)}
        ),
        "a strip or tile of more than 170 MiB",
    ),
    "other inks": (lambda: photo_tiff({262: (3, 5), 277: (3, 4), 258: (3, [8] * 4), 332: (3, 2)}), "other than CMYK"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_kinds_that_are_not_read_are_refused_with_a_sentence(name: str) -> None:
    build, words = UNREADABLE[name]
    with pytest.raises(InvalidImage) as refusal:
        decode_image(build())
    assert refusal.value.code == "image_type_unsupported"
    assert words in refusal.value.message
    assert refusal.value.message.endswith("as PNG or as JPEG.")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name: str) -> None:
    build, code = HOSTILE[name]
    with pytest.raises(InvalidImage) as refusal:
        decode_image(build())
    assert refusal.value.code == f"image_{code}", refusal.value.message


@pytest.mark.parametrize("name", ["RGB 8", "grey 16"])
@pytest.mark.parametrize("compression", [tiffs.LZW, tiffs.DEFLATE])
def test_a_file_cut_at_any_byte_is_refused(name: str, compression: int) -> None:
    file = compressed_tiff(SOURCES[name][:20, :20], compression, rows=6)
    for end in range(len(file)):
        with pytest.raises(InvalidImage):
            decode_image(file[:end])
