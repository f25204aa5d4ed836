"""Encoding and decoding: depth, alpha, profile and texts survive; orientation and colour spaces are normalised."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from inpainting.core.codecs import decode_image, encode_png, read_png_texts, thumbnail_webp, to_rgb8
from inpainting.core.codecs.decoders import decode_with_opencv
from inpainting.core.codecs.intake import DEFAULT_LIMITS, Intake
from inpainting.core.codecs.png import png
from inpainting.core.errors import InvalidImage, InvalidRequest
from inpainting.core.geometry import Size
from inpainting.core.image import CanonicalImage, Pixels
from tests.core import hostile
from tests.support.strategies import examples

PROFILES = {1: (None, hostile.grey_profile()), 3: (None, hostile.srgb_profile(), hostile.swapped_profile())}

INTAKE = Intake("image", DEFAULT_LIMITS)
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""Left, top and steps of PNG's seven passes (section 8.1)."""


@st.composite
def images(draw: st.DrawFn) -> CanonicalImage:
    """Every mode, depth and small size; noise and flat; with and without a profile."""
    channels = draw(st.sampled_from([1, 2, 3, 4]))
    bits = draw(st.sampled_from([8, 16]))
    shape = (draw(st.integers(1, 40)), draw(st.integers(1, 40)), channels)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most = draw(st.sampled_from([0, 3, 2**bits - 1]))
    samples = generator.integers(0, most, shape, endpoint=True)
    return CanonicalImage(
        samples.astype(np.uint8) if bits == 8 else samples.astype(np.uint16),
        draw(st.sampled_from(PROFILES[1 if channels < 3 else 3])),
    )


keywords = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=79)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)


@settings(max_examples=examples(100), deadline=None)
@given(image=images(), embedded=st.dictionaries(keywords, texts, max_size=4))
def test_encoding_and_decoding_loses_nothing(image: CanonicalImage, embedded: dict[str, str]) -> None:
    data = encode_png(image, texts=embedded)
    decoded = decode_image(data)
    assert decoded.image.equals(image)
    assert decoded.image.mode == image.mode
    assert (decoded.format, decoded.warnings) == ("PNG", ())
    assert read_png_texts(data) == embedded


@settings(max_examples=50, deadline=None)
@given(canonical=images())
def test_opencv_and_pillow_read_our_png(canonical: CanonicalImage) -> None:
    image = Image.open(io.BytesIO(encode_png(canonical)))
    image.load()
    assert image.info.get("icc_profile") == canonical.icc_profile
    theirs = cv2.imdecode(np.frombuffer(encode_png(canonical), np.uint8), cv2.IMREAD_UNCHANGED)
    assert theirs is not None
    assert theirs.dtype == canonical.pixels.dtype
    ours = canonical.pixels
    if canonical.mode == "L":
        theirs = theirs[:, :, np.newaxis]
    elif canonical.mode == "LA":
        theirs = theirs[:, :, [0, 3]]
    else:
        theirs = theirs[:, :, [2, 1, 0, 3][: ours.shape[2]]]
    assert np.array_equal(theirs, ours)


@settings(max_examples=examples(60), deadline=None)
@given(image=images(), position=st.floats(0, 1, exclude_max=True), difference=st.integers(0, 255))
def test_a_png_decodes_as_by_the_decoders_own_decompression(
    image: CanonicalImage, position: float, difference: int
) -> None:
    """Also with a changed byte in its image data, under a matching checksum."""
    parts = [(kind, bytearray(body)) for kind, body in png.chunks(encode_png(image), INTAKE)]
    data = next(body for kind, body in parts if kind == b"IDAT")
    data[int(position * len(data))] ^= difference
    file = png.SIGNATURE + b"".join(png.chunk(kind, bytes(body)) for kind, body in parts)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(png, "MAX_STORED_BYTES", 0)
        expected = outcome(file)
    assert outcome(file) == expected


def outcome(file: bytes) -> object:
    """The decoded pixels, or the message of the refusal."""
    try:
        pixels = decode_image(file).image.pixels
    except InvalidImage as error:
        return str(error)
    return pixels.shape, pixels.tobytes()


@pytest.mark.parametrize("colour_type", [hostile.GREY, hostile.COLOUR, hostile.GREY_ALPHA, hostile.COLOUR_ALPHA])
@pytest.mark.parametrize("depth", [8, 16])
def test_the_decoder_gets_dense_image_data_decompressed(
    colour_type: int, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.random.default_rng(3).integers(0, 2**depth, (150, 233, hostile.CHANNELS[colour_type]))
    samples = samples.astype(np.uint8 if depth == 8 else np.uint16)
    file, read, decode = hostile.png_of(samples, depth, colour_type), list[bytes](), decode_with_opencv

    def follow(*data: bytes, size: Size) -> Pixels:
        read.append(b"".join(data))
        return decode(*data, size=size)

    monkeypatch.setattr(png, "decode_with_opencv", follow)
    assert np.array_equal(decode_image(file).image.pixels, samples)
    image_data = b"".join(body for kind, body in png.chunks(read[0], INTAKE) if kind == b"IDAT")
    rows_bytes = 150 * (1 + samples[0].nbytes)
    assert len(zlib.decompress(image_data)) == rows_bytes
    blocks = -(-rows_bytes // 65_535)
    assert len(image_data) == 2 + 5 * blocks + rows_bytes + 4, "stored blocks between the header and the checksum"


def test_a_image_of_several_compression_bands_survives() -> None:
    rows = np.random.default_rng(7).integers(0, 65536, (700, 900, 4), dtype=np.uint16)
    image = CanonicalImage(rows)
    assert decode_image(encode_png(image)).image.equals(image)


def test_a_strided_view_of_pixels_is_encoded_correctly() -> None:
    image = CanonicalImage(hostile.photo()[::2, ::-1])
    assert decode_image(encode_png(image)).image.equals(image)


@pytest.mark.parametrize("colour_type", [hostile.GREY, hostile.COLOUR, hostile.GREY_ALPHA, hostile.COLOUR_ALPHA])
@pytest.mark.parametrize("depth", [8, 16])
def test_png_values_survive_exactly(colour_type: int, depth: int) -> None:
    shape = (40, 33, hostile.CHANNELS[colour_type])
    samples = np.random.default_rng(3).integers(0, 2**depth, shape).astype(np.uint8 if depth == 8 else np.uint16)
    decoded = decode_image(hostile.png_of(samples, depth, colour_type))
    assert decoded.image.bits == depth
    assert np.array_equal(decoded.image.pixels, samples)
    assert decoded.warnings == ()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_of_few_bits_becomes_grey_of_eight(depth: int) -> None:
    samples = np.random.default_rng(3).integers(0, 2**depth, (9, 13, 1))
    decoded = decode_image(hostile.png_of(samples, depth, hostile.GREY))
    assert np.array_equal(decoded.image.pixels, samples * 255 // (2**depth - 1))
    assert decoded.warnings == (f"The image has {depth} bit{'s' * (depth > 1)} a pixel; it is kept with 8.",)


@pytest.mark.parametrize(
    ("colour_type", "depth"),
    [
        (hostile.GREY, 1),
        (hostile.GREY, 4),
        (hostile.GREY, 8),
        (hostile.GREY, 16),
        (hostile.COLOUR, 8),
        (hostile.COLOUR, 16),
    ],
)
def test_one_transparent_colour_becomes_alpha(colour_type: int, depth: int) -> None:
    channels = hostile.CHANNELS[colour_type]
    samples = np.random.default_rng(3).integers(0, 2**depth, (9, 13, channels))
    key = samples[4, 5].astype(">u2").tobytes()
    image = decode_image(hostile.png_of(samples, depth, colour_type, hostile.chunk(b"tRNS", key))).image
    most = 65535 if depth == 16 else 255
    assert image.alpha is not None
    assert np.array_equal(image.alpha, (samples != samples[4, 5]).any(axis=2) * most)
    assert np.array_equal(image.colour, samples * (255 // (2**depth - 1)) if depth < 8 else samples)


def test_a_palette_becomes_true_colour() -> None:
    image = hostile.rgb().quantize(16)
    decoded = decode_image(hostile.saved(image, "PNG"))
    assert np.array_equal(decoded.image.pixels, np.asarray(image.convert("RGB")))
    assert decoded.warnings == ("The image has a palette; it is kept in true colour.",)


def test_a_palette_with_transparency_keeps_it() -> None:
    data = hostile.saved(hostile.rgb().quantize(16), "PNG", transparency=bytes([0, 100, 200]))
    image = decode_image(data).image
    assert image.mode == "RGBA"
    assert np.array_equal(image.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")))


def test_an_interlaced_png_is_read() -> None:
    raw = b""
    for left, top, across, down in ADAM7:
        part = hostile.photo()[top::down, left::across]
        raw += b"".join(b"\0" + row.tobytes() for row in part)
    data = hostile.png_with(hostile.header(40, 30, interlace=1), raw)
    assert np.array_equal(decode_image(data).image.pixels, hostile.photo())


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_keeps_its_mode(mode: str) -> None:
    image = hostile.rgb().convert(mode)
    decoded = decode_image(hostile.saved(image, "JPEG", quality=98, subsampling=0))
    assert decoded.image.mode == mode
    difference = np.abs(decoded.image.pixels.squeeze().astype(int) - np.asarray(image))
    assert difference.max() <= 6


def test_a_lossless_webp_with_alpha_survives_exactly() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (30, 40, 4), dtype=np.uint8)
    data = hostile.saved(Image.fromarray(pixels), "WEBP", lossless=True, exact=True)
    assert np.array_equal(decode_image(data).image.pixels, pixels)


def test_a_lossy_webp_keeps_its_alpha() -> None:
    pixels = np.dstack([hostile.photo(), np.tile(np.arange(40, dtype=np.uint8) * 6, (30, 1))])
    image = decode_image(hostile.saved(Image.fromarray(pixels), "WEBP", quality=90, exact=True)).image
    assert np.array_equal(image.pixels[:, :, 3], pixels[:, :, 3])


def test_the_first_frame_of_an_animated_webp_is_placed_on_its_canvas() -> None:
    frame = hostile.webp()[12:]
    parts = b"VP8X\x0a\0\0\0\2\0\0\0" + (59).to_bytes(3, "little") + (49).to_bytes(3, "little")
    parts += b"ANIM\6\0\0\0" + bytes(6)
    place = (5).to_bytes(3, "little") + (7).to_bytes(3, "little")  # halves
    body = place + (39).to_bytes(3, "little") + (29).to_bytes(3, "little") + bytes(4) + frame
    parts += (b"ANMF" + len(body).to_bytes(4, "little") + body) * 2
    image = decode_image(b"RIFF" + (4 + len(parts)).to_bytes(4, "little") + b"WEBP" + parts).image
    assert (str(image.size), image.mode) == ("60x50", "RGBA")
    assert np.array_equal(image.pixels[14:44, 10:50, :3], hostile.photo())
    assert (image.pixels[14:44, 10:50, 3] == 255).all()
    assert int(image.pixels[:, :, 3].astype(int).sum()) == 255 * 40 * 30


def test_a_gif_with_a_transparent_colour_has_alpha() -> None:
    image = hostile.rgb().quantize(16)
    decoded = decode_image(hostile.saved(image, "GIF", transparency=0))
    assert decoded.image.mode == "RGBA"
    assert np.array_equal(decoded.image.pixels[:, :, 3] == 0, np.asarray(image) == 0)


def as_stored(upright: NDArray, orientation: int) -> NDArray:
    """The pixels a camera stores with this EXIF orientation (the standard's table: where row 0 and column 0 of the
    stored image lie)."""
    turns: dict[int, Callable[[NDArray], NDArray]] = {
        1: lambda p: p,  # top, left
        2: lambda p: p[:, ::-1],  # top, right
        3: lambda p: p[::-1, ::-1],  # bottom, right
        4: lambda p: p[::-1],  # bottom, left
        5: lambda p: p.swapaxes(0, 1),  # left, top
        6: lambda p: p[:, ::-1].swapaxes(0, 1),  # right, top
        7: lambda p: p[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: lambda p: p[::-1].swapaxes(0, 1),  # left, bottom
    }
    return np.ascontiguousarray(turns[orientation](upright))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(orientation: int, order: str) -> None:
    body = hostile.exif(orientation, order=order)
    for channels, colour_type in ((1, hostile.GREY), (3, hostile.COLOUR)):
        upright = hostile.photo()[:, :, :channels].astype(np.uint16) * 251
        data = hostile.png_of(as_stored(upright, orientation), 16, colour_type, hostile.chunk(b"eXIf", body))
        assert np.array_equal(decode_image(data).image.pixels, upright)
    stored = Image.fromarray(as_stored(hostile.photo(), orientation))
    jpeg = hostile.saved(stored, "JPEG", quality=98, subsampling=0)
    turned = decode_image(hostile.with_segment(jpeg, 0xE1, b"Exif\0\0" + body)).image.pixels
    assert np.abs(turned.astype(int) - hostile.photo()).max() <= 6
    webp = hostile.saved(stored, "WEBP", lossless=True, exif=body)
    assert np.array_equal(decode_image(webp).image.pixels, hostile.photo())


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_valid_profile_is_kept(format: str) -> None:
    profile = hostile.swapped_profile()
    decoded = decode_image(hostile.saved(hostile.rgb(), format, icc_profile=profile))
    assert decoded.image.icc_profile == profile
    assert decoded.warnings == ()


def test_a_profile_in_several_parts_is_joined_in_order() -> None:
    profile = hostile.srgb_profile()
    data = hostile.jpeg()
    for number, part in ((1, profile[:100]), (3, profile[300:]), (2, profile[100:300])):
        data = hostile.with_segment(data, 0xE2, b"ICC_PROFILE\0" + bytes([number, 3]) + part)
    assert decode_image(data).image.icc_profile == profile


def test_a_grey_profile_stays_on_grey() -> None:
    data = hostile.saved(hostile.rgb().convert("L"), "PNG", icc_profile=hostile.grey_profile())
    assert decode_image(data).image.icc_profile == hostile.grey_profile()


def test_cmyk_without_a_profile_has_nearly_the_right_colours() -> None:
    decoded = decode_image(hostile.cmyk_jpeg())
    share = 1 - 40 / 255
    expected = np.array([(1 - 200 / 255) * share, share, share]) * 255
    assert np.abs(decoded.image.pixels - expected).max() < 4
    assert decoded.image.mode == "RGB"
    assert "approximate" in decoded.warnings[0]


def test_cmyk_is_converted_by_its_profile() -> None:
    decoded = decode_image(hostile.cmyk_jpeg(hostile.cmyk_profile()))
    assert colour_difference(decoded.image.pixels[5, 5], (53, 80, 67)) < 3
    assert decoded.image.icc_profile is None
    assert decoded.warnings == ("The image is CMYK; it is kept as sRGB, converted by its colour profile.",)


def test_cmyk_with_a_foreign_profile_is_converted_without_it() -> None:
    decoded = decode_image(hostile.cmyk_jpeg(hostile.srgb_profile()))
    assert np.array_equal(decoded.image.pixels, decode_image(hostile.cmyk_jpeg()).image.pixels)


def colour_difference(pixel: NDArray[np.uint8], lab: tuple[float, float, float]) -> float:
    """CIE76 between an sRGB pixel and a Lab colour, both under D50."""
    image = Image.fromarray(pixel.reshape(1, 1, 3))
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lightness, a, b = to_lab.apply(image).tobytes()
    seen = np.array([lightness / 2.55, np.int8(np.uint8(a)), np.int8(np.uint8(b))], float)
    return float(np.linalg.norm(seen - lab))


def test_the_format_is_recognised_by_the_bytes() -> None:
    formats = [
        decode_image(data).format for data in (hostile.tiny_png(), hostile.jpeg(), hostile.webp(), hostile.gif())
    ]
    assert formats == ["PNG", "JPEG", "WEBP", "GIF"]


def test_metadata_does_not_survive() -> None:
    for data in (
        hostile.jpeg_with_exif(hostile.exif(6, gps=True)),
        hostile.tiny_png(
            hostile.chunk(b"eXIf", hostile.exif(1, gps=True)) + hostile.chunk(b"tEXt", b"GPS\0" + hostile.GPS)
        ),
        hostile.webp_with(b"EXIF", hostile.exif(1, gps=True)),
    ):
        assert hostile.GPS in data
        stored = encode_png(decode_image(data).image)
        assert hostile.GPS not in stored
        assert read_png_texts(stored) == {}


@pytest.mark.parametrize("keyword", ["", " led", "trailed ", "two  spaces", "k" * 80, "new\nline", "Ωmega"])
def test_a_keyword_that_png_cannot_hold_is_refused(keyword: str) -> None:
    with pytest.raises(ValueError, match="a PNG keyword is"):
        encode_png(CanonicalImage(hostile.photo()), texts={keyword: "text"})


def test_a_nul_in_a_text_is_refused() -> None:
    with pytest.raises(ValueError, match="holds a NUL"):
        encode_png(CanonicalImage(hostile.photo()), texts={"prompt": "a\0b"})


def test_texts_of_other_programs_are_read() -> None:
    texts = hostile.chunk(b"tEXt", b"parameters\0Steps: 20, caf\xe9") + hostile.chunk(
        b"zTXt", b"workflow\0\0" + zlib.compress(b"{}")
    )
    texts += hostile.chunk(b"iTXt", b"prompt\0\1\0de\0Vorgabe\0" + zlib.compress("grüne Wiese".encode()))
    assert read_png_texts(hostile.tiny_png(texts)) == {
        "parameters": "Steps: 20, café",
        "workflow": "{}",
        "prompt": "grüne Wiese",
    }


def test_other_files_have_no_texts_and_damaged_ones_are_refused() -> None:
    assert read_png_texts(hostile.jpeg()) == read_png_texts(b"") == {}
    with pytest.raises(InvalidImage):
        read_png_texts(hostile.tiny_png()[:40])


def test_sixteen_bits_are_rounded_to_the_nearest_of_eight() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    nearest = np.round(np.arange(65536) / 257).reshape(256, 256, 1)
    assert np.array_equal(to_rgb8(CanonicalImage(every)), np.repeat(nearest, 3, axis=2))


@settings(max_examples=50, deadline=None)
@given(image=images())
def test_an_engine_sees_8_bit_rgb_without_alpha(image: CanonicalImage) -> None:
    seen = to_rgb8(image)
    assert seen.shape == (*image.pixels.shape[:2], 3)
    assert seen.dtype == np.uint8
    assert not seen.flags.writeable
    expected = image.colour if image.bits == 8 else np.round(image.colour / 257)
    assert np.array_equal(seen, np.broadcast_to(expected, seen.shape))


@pytest.mark.parametrize("shape", [(90, 120, 3), (90, 120, 1), (300, 20, 4), (5, 7, 2)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_thumbnail_fits_and_keeps_its_shape(shape: tuple[int, int, int], kind: type) -> None:
    canonical = CanonicalImage(np.full(shape, np.iinfo(kind).max // 2, kind))
    image = Image.open(io.BytesIO(thumbnail_webp(canonical, side=64)))
    share = min(1, 64 / max(shape[:2]))
    assert image.size == (round(shape[1] * share), round(shape[0] * share))
    assert image.format == "WEBP"
    assert image.mode == ("RGBA" if canonical.has_alpha else "RGB")
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - 127).max() <= 2


def test_a_thumbnail_is_converted_by_the_profile() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[:, :, 0] = 255
    plain = decode_image(thumbnail_webp(CanonicalImage(red), side=16)).image.pixels[8, 8]
    swapped = decode_image(thumbnail_webp(CanonicalImage(red, hostile.swapped_profile()), side=16)).image.pixels[8, 8]
    assert plain.argmax() == 0
    assert swapped.argmax() == 2


def test_colours_of_transparent_pixels_do_not_bleed_into_a_thumbnail() -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, ::2] = (0, 200, 0, 255)
    pixels[:, 1::2] = (255, 0, 255, 0)
    seen = decode_image(thumbnail_webp(CanonicalImage(pixels), side=32)).image.pixels
    assert np.abs(seen[:, :, :3].astype(int) - (0, 200, 0)).max() < 12
    assert np.abs(seen[:, :, 3].astype(int) - 128).max() <= 1


def test_a_thumbnail_has_at_least_one_pixel() -> None:
    with pytest.raises(InvalidRequest):
        thumbnail_webp(CanonicalImage(hostile.photo()), side=0)
    assert Image.open(io.BytesIO(thumbnail_webp(CanonicalImage(hostile.photo(400, 2)), side=10))).size == (10, 1)
